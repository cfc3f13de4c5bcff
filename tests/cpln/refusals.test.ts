/** What the chart refuses to render, each with what to do about it; and what it looks like but is let through. */

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CHART_DIR, helms, prepareChart, type Values } from "./chart.ts";
import { MATRIX, OWN_PASSWORDS, PUBLIC } from "./values.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());

const ADMIN = { admin: { apiKeySecretName: "admin-key" } };
const OPEN = { public: { enabled: true } };
const sameKey = { auth: { fromSecret: { passwordKey: "password" } } };
const noAuth = { auth: { fromSecret: { enabled: false } } };
const itsOwn = (value: string) => ({
  auth: { fromSecret: { enabled: false }, password: { enabled: true, value } },
});
const LONG_RELEASE = "a-release-name-of-31-characters";

interface Refusal {
  readonly what: string;
  readonly values: Values;
  readonly message: RegExp;
  readonly at?: { readonly release?: string; readonly gvc?: string | null };
}

const REFUSALS: readonly Refusal[] = [
  { what: "no GVC", values: {}, at: { gvc: null }, message: /global\.cpln\.gvc is empty: name the GVC/ },
  {
    what: "a release name that makes a workload's too long",
    values: {},
    at: { release: LONG_RELEASE },
    message: /is too long: .*-task-runner-worker would have more than the 49 characters .*Use at most 30\./,
  },
  {
    what: "a reserved port",
    values: { api: { port: 8012 } },
    message: /api\.port is 8012, which Control Plane keeps/,
  },
  {
    what: "a reserved port of the worker",
    values: { worker: { port: 41_000 } },
    message: /worker\.port is 41000/,
  },
  {
    what: "more replicas at least than at most",
    values: { worker: { replicas: { min: 6 } } },
    message: /worker\.replicas\.min is 6, more than worker\.replicas\.max, which is 5/,
  },
  {
    what: "a name that the platform keeps",
    values: { api: { extraEnv: { CPLN_TOKEN: "x" } } },
    message: /api\.extraEnv\.CPLN_TOKEN: Control Plane keeps names/,
  },
  {
    what: "a setting that another value sets",
    values: { worker: { extraEnv: { WORKER_CONCURRENCY: 5 } } },
    message: /worker\.extraEnv\.WORKER_CONCURRENCY: the chart sets this itself/,
  },
  {
    what: "an API that takes longer to end than it is given",
    values: { api: { env: { shutdownDelaySec: 30, shutdownGraceSec: 31 } } },
    message: /come to 61 s: .*60 at most/,
  },
  {
    what: "no secret made and none named for Redis",
    values: { createSecret: false, redis: { sentinel: noAuth } },
    message:
      /createSecret is false and redis\.redis\.auth\.fromSecret\.name is empty: .*under redis-password/,
  },
  {
    what: "no secret made and none named for Sentinel",
    values: { createSecret: false, redis: { redis: noAuth } },
    message: /redis\.sentinel\.auth\.fromSecret\.name is empty: .*under redis-sentinel-password/,
  },
  {
    what: "Redis told of another secret than the one made",
    values: { redis: { redis: { auth: { fromSecret: { name: "task-runner-secrets" } } } } },
    message: /name is task-runner-secrets, but the chart makes the secret prod-task-runner-secrets/,
  },
  {
    what: "two passwords under one key",
    values: { redis: { redis: sameKey, sentinel: sameKey } },
    message: /are the same: one secret cannot hold two passwords/,
  },
  { what: "no password", values: { redis: { redisPassword: "" } }, message: /redis\.redisPassword is empty/ },
  {
    what: "no password of Sentinel",
    values: { redis: { sentinelPassword: null } },
    message: /redis\.sentinelPassword is empty/,
  },
  {
    what: "two admin keys",
    values: { api: { ...ADMIN, env: { adminApiKey: "k" } } },
    message: /api\.admin\.apiKeySecretName and api\.env\.adminApiKey are both set/,
  },
  {
    what: "an admin key and no secret to keep it in",
    values: {
      createSecret: false,
      api: { env: { adminApiKey: "k" } },
      redis: { redis: noAuth, sentinel: noAuth },
    },
    message: /api\.env\.adminApiKey is set and createSecret is false/,
  },
  {
    what: "public without an admin key",
    values: { ...OWN_PASSWORDS, api: OPEN },
    message: /there is no admin key/,
  },
  {
    what: "public to nobody",
    values: { ...OWN_PASSWORDS, api: { ...ADMIN, public: { enabled: true, inboundAllowCIDR: [] } } },
    message: /api\.public\.inboundAllowCIDR is empty: nobody could call it/,
  },
  {
    what: "public with Redis' published password",
    values: { api: { ...OPEN, ...ADMIN }, redis: { sentinelPassword: "own" } },
    message: /redis\.redisPassword is a password that was published/,
  },
  {
    what: "public with Sentinel's published password",
    values: { api: { ...OPEN, ...ADMIN }, redis: { redisPassword: "own" } },
    message: /redis\.sentinelPassword is a password that was published/,
  },
  {
    what: "public with the password of older versions",
    values: { api: { ...OPEN, ...ADMIN }, redis: { redisPassword: "mypassword", sentinelPassword: "own" } },
    message: /redis\.redisPassword is a password that was published/,
  },
  {
    what: "public with the published password of Redis' own chart",
    values: {
      api: { ...OPEN, ...ADMIN },
      redis: { redis: itsOwn("your-password"), sentinel: itsOwn("own") },
    },
    message: /redis\.redis\.auth\.password\.value is a password that was published/,
  },
];

describe.each(helms().map(({ version, path }) => [version, path] as const))("Helm %s", (_, helm) => {
  test.each(REFUSALS.map((each) => [each.what, each] as const))("refuses %s", async (_what, refusal) => {
    const { status, stdout, stderr } = await chart.render(helm, refusal.values, refusal.at);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(refusal.message);
  });

  test("a release name as long as it may be is taken", async () => {
    expect((await chart.render(helm, {}, { release: LONG_RELEASE.slice(0, -1) })).stderr).toBe("");
  });

  test.each([
    ["an unknown value", { workers: {} }, "workers"],
    ["an unknown value of a role", { api: { prot: 80 } }, "prot"],
    ["a text for a number", { worker: { env: { concurrency: "ten" } } }, "concurrency"],
    ["a number out of bounds", { api: { port: 79 } }, "port"],
    [
      "a metric that a worker cannot scale by",
      { worker: { autoscaling: { metric: "concurrency" } } },
      "metric",
    ],
    ["a path without its slash", { api: { public: { pathPrefix: "tasks" } } }, "pathPrefix"],
    ["a path that ends with a slash", { api: { public: { pathPrefix: "/tasks/" } } }, "pathPrefix"],
    ["a worker that scales to zero", { worker: { replicas: { min: 0 } } }, "min"],
    [
      "a grace that the platform does not give",
      { worker: { env: { shutdownGraceSec: 871 } } },
      "shutdownGraceSec",
    ],
    ["an environment name that is none", { api: { extraEnv: { "log-level": "x" } } }, "log-level"],
    ["a name that no secret can have", { secretName: "My_Secret" }, "secretName"],
    ["a wrong log level", { api: { env: { logLevel: "verbose" } } }, "logLevel"],
  ])("the schema of the values refuses %s", async (_what, values, place) => {
    const { status, stderr } = await chart.render(helm, values);
    expect(status).toBe(1);
    expect(stderr).toMatch(/values don't meet the specifications of the schema/);
    expect(stderr).toContain(place);
  });
});

test("every refusal in the templates is one of these", async () => {
  const templates = join(CHART_DIR, "templates");
  const source = readdirSync(templates)
    .filter((name) => name.endsWith(".tpl") || name.endsWith(".yaml"))
    .map((name) => readFileSync(join(templates, name), "utf8"))
    .join("\n");
  const messages = [...source.matchAll(/\{- fail (?:\(printf )?"([^"]+)"/g)].map(
    ([, message = ""]) => message,
  );
  expect(messages.length).toBeGreaterThan(10);
  expect(messages.length).toBe(source.match(/\{-? *fail\b/g)?.length ?? 0);
  const [{ path: helm } = { path: "" }] = helms().slice(-1);
  const told: string[] = [];
  for (const { values, at } of REFUSALS) told.push((await chart.render(helm, values, at)).stderr);
  const asPattern = (message: string) =>
    new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/%[sdq]/g, ".*"));
  expect(messages.filter((message) => !told.some((text) => asPattern(message).test(text)))).toEqual([]);
});

test("what is public and safe is rendered", async () => {
  for (const { path } of helms()) {
    for (const values of [PUBLIC, MATRIX["all of 1.3.0"] ?? {}]) {
      expect((await chart.render(path, values)).stderr).toBe("");
    }
  }
});
