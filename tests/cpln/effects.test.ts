/** Every value of the chart has its effect: each is changed alone, and what changes in the rendering is what it stands for. */

import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CHART_DIR, helms, only, prepareChart, type Rendered, type Values } from "./chart.ts";
import { envOf, OWN_PASSWORDS, PUBLIC, workload } from "./values.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());

/** `a.b.c` set to a value, over others. */
function withValue(base: Values, path: string, value: unknown): Values {
  const [head = "", ...rest] = path.split(".");
  if (rest.length === 0) return { ...base, [head]: value };
  return { ...base, [head]: withValue((base[head] ?? {}) as Values, rest.join("."), value) };
}

type Role = "api" | "worker";
type Look = (rendered: Rendered) => unknown;
const env = (role: Role, name: string) => (rendered: Rendered) => envOf(rendered, role)[name];
const container = (role: Role, key: "image" | "cpu" | "memory") => (rendered: Rendered) =>
  workload(rendered, role).spec.containers[0][key];
const scaling = (role: Role, key: string) => (rendered: Rendered) =>
  workload(rendered, role).spec.defaultOptions.autoscaling[key];
const roles = (rendered: Rendered) =>
  (["api", "worker"] as const).filter((role) => rendered.resources.some(({ name }) => name.endsWith(role)));
const secret = (key: string) => (rendered: Rendered) =>
  (only(rendered.resources, "secret").data as Record<string, string>)[key];
const targets = (rendered: Rendered) => only(rendered.resources, "policy").targetLinks;
const external = (role: Role) => (rendered: Rendered) =>
  workload(rendered, role).spec.firewallConfig.external;

interface Effect {
  readonly path: string;
  readonly value: unknown;
  readonly look: Look;
  readonly before: unknown;
  readonly after: unknown;
  /** What else must be set for it to be of use. */
  readonly over?: Values;
}

const effect = (
  path: string,
  value: unknown,
  look: Look,
  before: unknown,
  after: unknown,
  over?: Values,
): Effect =>
  over === undefined ? { path, value, look, before, after } : { path, value, look, before, after, over };

const OWN_SECRETS: Values = {
  createSecret: false,
  redis: {
    redis: { auth: { fromSecret: { name: "own-redis" } } },
    sentinel: { auth: { fromSecret: { name: "own-sentinel" } } },
  },
};
const ANYWHERE = ["0.0.0.0/0"];
const MADE = "cpln://secret/prod-task-runner-secrets";

const EFFECTS: readonly Effect[] = [
  effect("image", "//image/mine:1", container("api", "image"), "//image/task-runner:0.1.0", "//image/mine:1"),
  effect(
    "image",
    "//image/mine:1",
    container("worker", "image"),
    "//image/task-runner:0.1.0",
    "//image/mine:1",
  ),
  effect("api.enabled", false, roles, ["api", "worker"], ["worker"]),
  effect("api.replicas.min", 2, scaling("api", "minScale"), 1, 2),
  effect("api.replicas.max", 9, scaling("api", "maxScale"), 3, 9),
  effect("api.port", 8000, env("api", "PORT"), "8080", "8000"),
  effect(
    "api.public.enabled",
    true,
    external("api"),
    { inboundAllowCIDR: [], outboundAllowCIDR: [] },
    { inboundAllowCIDR: ANYWHERE, outboundAllowCIDR: ANYWHERE },
    { ...OWN_PASSWORDS, api: { admin: { apiKeySecretName: "admin-key" } } },
  ),
  effect(
    "api.public.inboundAllowCIDR",
    ["192.0.2.0/24"],
    external("api"),
    { inboundAllowCIDR: ANYWHERE, outboundAllowCIDR: ANYWHERE },
    { inboundAllowCIDR: ["192.0.2.0/24"], outboundAllowCIDR: ANYWHERE },
    PUBLIC,
  ),
  effect("api.public.pathPrefix", "/tasks", env("api", "PATH_PREFIX"), undefined, "/tasks"),
  effect(
    "api.admin.apiKeySecretName",
    "adm",
    env("api", "ADMIN_API_KEY"),
    undefined,
    "cpln://secret/adm.payload",
  ),
  effect("api.resources.cpu", 2, container("api", "cpu"), "500m", "2"),
  effect("api.resources.memory", "1Gi", container("api", "memory"), "512Mi", "1Gi"),
  effect("api.timeoutSeconds", 120, (r) => workload(r, "api").spec.defaultOptions.timeoutSeconds, 90, 120),
  effect("api.env.logLevel", "debug", env("api", "LOG_LEVEL"), "info", "debug"),
  effect("api.env.adminApiKey", "k", env("api", "ADMIN_API_KEY"), undefined, `${MADE}.admin-api-key`),
  effect("api.env.adminApiKey", "k", secret("admin-api-key"), undefined, "k"),
  effect("api.env.clientAuth", "optional", env("api", "CLIENT_AUTH"), "off", "optional"),
  effect("api.env.clientAuth", "optional", env("api", "CLIENT_AUTH"), "required", "optional", PUBLIC),
  effect(
    "api.env.otelEndpoint",
    "otel:4318",
    env("api", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    undefined,
    "otel:4318",
  ),
  effect("api.env.connectRetries", 9, env("api", "REDIS_CONNECT_RETRIES"), "150", "9"),
  effect("api.env.retryIntervalSec", 3, env("api", "REDIS_RETRY_INTERVAL_SEC"), "2", "3"),
  effect("api.env.shutdownDelaySec", 0, env("api", "SHUTDOWN_DELAY_SEC"), "10", "0"),
  effect("api.env.shutdownGraceSec", 50, env("api", "SHUTDOWN_GRACE_SEC"), "25", "50"),
  effect(
    "api.extraEnv",
    { DEFAULT_CLIENT_TIER: "basic" },
    env("api", "DEFAULT_CLIENT_TIER"),
    undefined,
    "basic",
  ),
  effect("worker.enabled", false, roles, ["api", "worker"], ["api"]),
  effect("worker.replicas.min", 2, scaling("worker", "minScale"), 1, 2),
  effect("worker.replicas.max", 9, scaling("worker", "maxScale"), 5, 9),
  effect("worker.autoscaling.metric", "memory", scaling("worker", "metric"), "cpu", "memory"),
  effect("worker.autoscaling.metric", "disabled", scaling("worker", "maxScale"), 5, 1),
  effect("worker.autoscaling.target", 50, scaling("worker", "target"), 70, 50),
  effect("worker.port", 8083, env("worker", "PORT"), "8082", "8083"),
  effect("worker.resources.cpu", "250m", container("worker", "cpu"), "1", "250m"),
  effect("worker.resources.memory", "2Gi", container("worker", "memory"), "1Gi", "2Gi"),
  effect("worker.env.logLevel", "warn", env("worker", "LOG_LEVEL"), "info", "warn"),
  effect("worker.env.concurrency", 50, env("worker", "WORKER_CONCURRENCY"), "10", "50"),
  effect("worker.env.taskTimeoutSec", 60, env("worker", "TASK_TIMEOUT_SEC"), "1800", "60"),
  effect("worker.env.maxRetry", 0, env("worker", "MAX_RETRY"), "5", "0"),
  effect("worker.env.maxRetry", 0, env("api", "MAX_RETRY"), "5", "0"),
  effect("worker.env.allowPrivateUrls", true, env("worker", "ALLOW_PRIVATE_URLS"), "false", "true"),
  effect("worker.env.cbFailureThreshold", 7, env("worker", "CB_FAILURE_THRESHOLD"), "5", "7"),
  effect("worker.env.cbTimeoutSec", 8, env("worker", "CB_TIMEOUT_SEC"), "30", "8"),
  effect("worker.env.connectRetries", 9, env("worker", "REDIS_CONNECT_RETRIES"), "150", "9"),
  effect("worker.env.retryIntervalSec", 3, env("worker", "REDIS_RETRY_INTERVAL_SEC"), "2", "3"),
  effect(
    "worker.env.otelEndpoint",
    "otel:4318",
    env("worker", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    undefined,
    "otel:4318",
  ),
  effect("worker.env.shutdownGraceSec", 300, env("worker", "SHUTDOWN_GRACE_SEC"), "60", "300"),
  effect("worker.extraEnv", { LEASE_SEC: 60 }, env("worker", "LEASE_SEC"), undefined, "60"),
  effect("secretsKeySecretName", "sign", env("api", "SECRETS_KEY"), undefined, "cpln://secret/sign.payload"),
  effect(
    "secretsKeySecretName",
    "sign",
    env("worker", "SECRETS_KEY"),
    undefined,
    "cpln://secret/sign.payload",
  ),
  effect(
    "createSecret",
    false,
    ({ resources }) => resources.filter(({ kind }) => kind === "secret").map(({ name }) => name),
    ["own"],
    [],
    {
      secretName: "own",
      redis: {
        redis: { auth: { fromSecret: { name: "own" } } },
        sentinel: { auth: { fromSecret: { name: "own" } } },
      },
    },
  ),
  effect("secretName", "kept", targets, ["//secret/prod-task-runner-secrets"], ["//secret/kept"]),
  effect(
    "secretName",
    "kept",
    (r) => r.seenByRedis.redis?.auth.fromSecret.name,
    "prod-task-runner-secrets",
    "kept",
  ),
  effect(
    "secretName",
    "kept",
    (r) => r.seenByRedis.sentinel?.auth.fromSecret.name,
    "prod-task-runner-secrets",
    "kept",
  ),
  effect("redis.redisPassword", "r", secret("redis-password"), "change-me-cpln-task-runner-redis", "r"),
  effect(
    "redis.sentinelPassword",
    "s",
    secret("redis-sentinel-password"),
    "change-me-cpln-task-runner-sentinel",
    "s",
  ),
  effect(
    "redis.admin.fromSecret.name",
    "adm",
    env("api", "ADMIN_API_KEY"),
    undefined,
    "cpln://secret/adm.admin-api-key",
  ),
  effect("redis.admin.fromSecret.apiKeyKey", "key", secret("key"), undefined, "k", {
    api: { env: { adminApiKey: "k" } },
  }),
  effect(
    "redis.redis.auth.fromSecret.enabled",
    false,
    env("worker", "REDIS_PASSWORD"),
    `${MADE}.redis-password`,
    undefined,
  ),
  effect(
    "redis.redis.auth.fromSecret.enabled",
    false,
    (r) => r.seenByRedis.redis?.auth.fromSecret.enabled,
    true,
    false,
  ),
  effect(
    "redis.redis.auth.fromSecret.name",
    "other",
    env("api", "REDIS_PASSWORD"),
    "cpln://secret/own-redis.redis-password",
    "cpln://secret/other.redis-password",
    OWN_SECRETS,
  ),
  effect(
    "redis.redis.auth.fromSecret.passwordKey",
    "pw",
    env("api", "REDIS_PASSWORD"),
    `${MADE}.redis-password`,
    `${MADE}.pw`,
  ),
  effect(
    "redis.redis.auth.fromSecret.passwordKey",
    "pw",
    secret("pw"),
    undefined,
    "change-me-cpln-task-runner-redis",
  ),
  effect(
    "redis.redis.persistence.enabled",
    false,
    (r) => r.seenByRedis.redis?.persistence.enabled,
    true,
    false,
  ),
  effect("redis.redis.replicas", 5, (r) => r.seenByRedis.redis?.replicas, 3, 5),
  effect(
    "redis.sentinel.auth.fromSecret.enabled",
    false,
    env("api", "REDIS_SENTINEL_PASSWORD"),
    `${MADE}.redis-sentinel-password`,
    undefined,
  ),
  effect(
    "redis.sentinel.auth.fromSecret.name",
    "other",
    env("worker", "REDIS_SENTINEL_PASSWORD"),
    "cpln://secret/own-sentinel.redis-sentinel-password",
    "cpln://secret/other.redis-sentinel-password",
    OWN_SECRETS,
  ),
  effect(
    "redis.sentinel.auth.fromSecret.passwordKey",
    "pw",
    env("worker", "REDIS_SENTINEL_PASSWORD"),
    `${MADE}.redis-sentinel-password`,
    `${MADE}.pw`,
  ),
  effect(
    "redis.sentinel.persistence.enabled",
    false,
    (r) => r.seenByRedis.sentinel?.persistence.enabled,
    true,
    false,
  ),
];

// With one Helm: that all render the same is seen to in resources.test.ts.
const [{ path: helm } = { path: "" }] = helms().slice(-1);

describe("a value of its own", () => {
  test.each(EFFECTS.map((each) => [each.path, each.value, each] as const))(
    "%s=%p",
    async (_path, _value, each) => {
      const over = each.over ?? {};
      const before = await chart.render(helm, over);
      const after = await chart.render(helm, withValue(over, each.path, each.value));
      expect([before.stderr, after.stderr]).toEqual(["", ""]);
      expect([each.look(before), each.look(after)]).toEqual([each.before, each.after]);
    },
  );
});

/** The paths of all values that hold no others, with their defaults. */
function leaves(values: unknown, path = ""): (readonly [path: string, value: unknown])[] {
  const isMap = typeof values === "object" && values !== null && !Array.isArray(values);
  const entries = isMap ? Object.entries(values) : [];
  if (entries.length === 0) return [[path, values]];
  return entries.flatMap(([key, inner]) => leaves(inner, path === "" ? key : `${path}.${key}`));
}

/** How the README begins to tell a default. */
function defaultText(value: unknown): string {
  if (value === "") return "empty";
  if (value === null) return "the secret made here";
  if (Array.isArray(value)) return `\`[${value.join(", ")}]\``;
  return typeof value === "object" ? "`{}`" : `\`${String(value)}\``;
}

describe("every value", () => {
  const values = leaves(Bun.YAML.parse(readFileSync(join(CHART_DIR, "values.yaml"), "utf8")));
  const readme = readFileSync(join(CHART_DIR, "README.md"), "utf8").split("\n");

  test.each(values)("%s is shown to have its effect", (path) => {
    expect(EFFECTS.some((each) => each.path === path)).toBe(true);
  });

  test.each(values)("%s is in the README, with its default", (path, value) => {
    const [row] = readme.filter((line) => line.startsWith(`| \`${path}\` | `));
    expect(row).toStartWith(`| \`${path}\` | ${defaultText(value)}`);
  });

  test.each(values)("%s is in the schema of the values", (path) => {
    interface Schema {
      readonly properties?: Readonly<Record<string, Schema>>;
    }
    let at: Schema | undefined = JSON.parse(readFileSync(join(CHART_DIR, "values.schema.json"), "utf8"));
    for (const key of path.split(".")) at = at?.properties?.[key];
    expect(at).toBeDefined();
  });
});
