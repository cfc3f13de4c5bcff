/** Every setting in one schema: its form, default, unit, role and meaning; all else about settings is read from here. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { FIRST_TIER } from "../core/client.ts";
import { CIDRS_FORM, isCidrList, isProxyUrl, PROXY_FORM, wrongCidrsIn } from "./egress.ts";
import { allowedBy } from "./given.ts";
import { OTLP_ENDPOINT_FORM, shownEndpoint, tracesUrlOf } from "./otlp-endpoint.ts";
import { isStoreUrl, type RedisGrammar, reads, STORE_URL_FORMS } from "./store-url.ts";

/** What a process does: accept tasks, deliver them, or both. */
export type Role = "serve" | "work" | "all";

/** Values of MODE and the roles they stand for. */
export const MODES = { api: "serve", worker: "work", all: "all" } as const satisfies Record<string, Role>;

/** What is said of a setting besides its form. */
interface About {
  readonly description: string;
  /** Who reads it; `any` stands for every role. */
  readonly role: "any" | "serve" | "work";
  readonly unit?: string;
  /** The default in words, where it is not one value. */
  readonly defaultText?: string;
  /** What is allowed in words, where the form does not tell. */
  readonly allowed?: string;
  /** Never shown; may also come from the file that NAME_FILE names. */
  readonly secret?: boolean;
  /** Another name that it may be set by. */
  readonly alias?: string;
  /** Refuses texts that the form alone would let through. */
  readonly accepts?: (text: string, redis: RedisGrammar) => boolean;
  /** The wrong part of a text that is a list; messages then show this in place of the whole. */
  readonly wrongIn?: (text: string) => string;
}

const DAY_SEC = 86_400;
const YEAR_SEC = 366 * DAY_SEC;
/** Room for a name, short enough for a key. */
const LONGEST_PREFIX = 64;

function whole(fallback: number, minimum: number, maximum: number, about: About) {
  return Type.Integer({ default: fallback, minimum, maximum, ...about });
}

function password(description: string) {
  return Type.Optional(
    Type.String({
      pattern: "^[^\\x00-\\x1f\\x7f]+$",
      allowed: "text without line breaks and other control characters",
      defaultText: "none",
      secret: true,
      role: "any",
      description,
    } satisfies About & Record<string, unknown>),
  );
}

function cidrs(defaultText: string, description: string) {
  return Type.Optional(
    Type.String({
      accepts: isCidrList,
      wrongIn: wrongCidrsIn,
      allowed: CIDRS_FORM,
      defaultText,
      role: "work",
      description,
    } satisfies About & Record<string, unknown>),
  );
}

export const ConfigSchema = Type.Object(
  {
    MODE: Type.Optional(
      Type.Union([Type.Literal("api"), Type.Literal("worker"), Type.Literal("all")], {
        role: "any",
        defaultText: "none",
        description:
          "What to run when no subcommand is given: `api` is `serve`, `worker` is `work`, `all` is both in one process",
      } satisfies About),
    ),
    PORT: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      role: "any",
      defaultText: "8080 (serve, all), 8082 (work)",
      description:
        "Port to listen on; the worker's is for health and metrics; 0 takes a free one and logs it",
    } satisfies About & Record<string, unknown>),
    HOST: Type.String({
      default: "0.0.0.0",
      pattern: "^[A-Za-z0-9._:-]+$",
      allowed: "an IP address or a host name",
      role: "any",
      description: "Address to listen on",
    } satisfies About & Record<string, unknown>),
    LOG_LEVEL: Type.Union(
      [Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")],
      {
        default: "info",
        role: "any",
        description: "The least severe log lines to write",
      } satisfies About & Record<string, unknown>,
    ),
    STORE_URL: Type.String({
      accepts: isStoreUrl,
      allowed: STORE_URL_FORMS,
      defaultText: "what REDIS_SENTINEL_ADDR says, else REDIS_ADDR, else sqlite:DATA_DIR/task-runner.db",
      role: "any",
      description:
        "Where tasks are kept: a Redis, `sqlite:PATH` for a file, or `sqlite::memory:` for memory alone (lost when the process ends); its password is never shown",
    } satisfies About & Record<string, unknown>),
    DATA_DIR: Type.String({
      default: "./data",
      role: "any",
      description: "Directory of the embedded store, used when neither STORE_URL nor a Redis is set",
    } satisfies About & Record<string, unknown>),
    REDIS_SENTINEL_ADDR: Type.Optional(
      Type.String({
        accepts: (text, redis) => reads(redis.addresses, text),
        allowed: "host:port, or several with commas between them",
        defaultText: "none",
        alias: "REDIS_SENTINEL_ADDRS",
        role: "any",
        description:
          "Sentinels that know the Redis to keep tasks in; one address that stands for several will do (also `REDIS_SENTINEL_ADDRS`)",
      } satisfies About & Record<string, unknown>),
    ),
    REDIS_ADDR: Type.Optional(
      Type.String({
        accepts: (text, redis) => reads(redis.address, text),
        allowed: "host:port",
        defaultText: "none",
        role: "any",
        description: "A Redis without Sentinel to keep tasks in",
      } satisfies About & Record<string, unknown>),
    ),
    REDIS_MASTER_NAME: Type.String({
      default: "mymaster",
      pattern: "^[A-Za-z0-9._-]{1,256}$",
      allowed: "letters, digits, dots, dashes and underscores",
      role: "any",
      description: "Name by which the Sentinels know the primary",
    } satisfies About & Record<string, unknown>),
    REDIS_PASSWORD: password("Password of Redis, or of the user whom STORE_URL names, where it holds none"),
    REDIS_SENTINEL_PASSWORD: password("Password of the Sentinels"),
    REDIS_TLS: Type.Boolean({
      default: false,
      role: "any",
      description: "Whether to talk TLS to Redis and its Sentinels; a STORE_URL with `rediss` does so too",
    } satisfies About & Record<string, unknown>),
    REDIS_CONNECT_RETRIES: whole(30, 1, 1_000_000, {
      role: "any",
      unit: "tries",
      description: "Tries to connect to Redis at start, before giving up with exit status 1",
    }),
    REDIS_RETRY_INTERVAL_SEC: whole(2, 1, 3_600, {
      role: "any",
      unit: "s",
      description: "Time between two of these tries",
    }),
    KEY_PREFIX: Type.String({
      default: "task-runner",
      // No braces: all keys carry the prefix in braces, so that a cluster keeps them together.
      pattern: `^[A-Za-z0-9._:-]{1,${LONGEST_PREFIX}}$`,
      allowed: `1 to ${LONGEST_PREFIX} letters, digits, dots, colons, dashes and underscores`,
      role: "any",
      description: "Above every key in Redis: stores with different prefixes share one without touching",
    } satisfies About & Record<string, unknown>),
    DURABILITY: Type.Optional(
      Type.Union([Type.Literal("replicated"), Type.Literal("primary")], {
        role: "any",
        defaultText: "replicated under Sentinel, primary with any other Redis",
        description:
          "When Redis counts as having a task: once REDIS_MIN_REPLICA_ACKS replicas have it too, or the primary alone",
      } satisfies About),
    ),
    REDIS_MIN_REPLICA_ACKS: whole(1, 1, 100, {
      role: "any",
      unit: "replicas",
      description: "Replicas that must have a task before it is acknowledged, with DURABILITY=replicated",
    }),
    REDIS_ACK_TIMEOUT_MS: whole(1_000, 1, 60_000, {
      role: "any",
      unit: "ms",
      description: "How long to wait for the replicas before the answer is 503 durability_unavailable",
    }),
    FAILOVER_SPOOL_SEC: whole(60, 0, 600, {
      role: "serve",
      unit: "s",
      description:
        "How long a process remembers the tasks it has acknowledged, to hand in again those that a new Redis primary never had; 0 for not at all",
    }),
    ADMIN_API_KEY: Type.Optional(
      Type.String({
        // What an HTTP header can carry unchanged: anything else could never be matched by a request.
        pattern: "^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$",
        maxLength: 1_024,
        allowed: "up to 1024 printable ASCII characters without a space or a line break at either end",
        defaultText: "none: administration is open",
        secret: true,
        role: "serve",
        description:
          "Key that the header X-Admin-Key must carry to look after clients, tiers and queues, and to list and change every task",
      } satisfies About & Record<string, unknown>),
    ),
    CLIENT_AUTH: Type.Union([Type.Literal("off"), Type.Literal("optional"), Type.Literal("required")], {
      default: "off",
      role: "serve",
      description:
        "Whether clients must present an API key: `off`: none is looked at; `optional`: a client that has keys must use one; `required`: every client must. With a key a client reaches its own tasks only",
    } satisfies About & Record<string, unknown>),
    SECRETS_KEY: Type.Optional(
      Type.String({
        pattern: "^(?:[0-9A-Fa-f]{64}|[A-Za-z0-9+/]{43}=)$",
        allowed: "32 bytes as base64, as `openssl rand -base64 32` prints them, or as 64 hexadecimal digits",
        defaultText: "none: no signing secret can be made or used",
        secret: true,
        role: "any",
        description:
          "Key that signing secrets are kept encrypted with; the same for every process that serves or works",
      } satisfies About & Record<string, unknown>),
    ),
    DEFAULT_CLIENT_TIER: Type.String({
      default: FIRST_TIER,
      pattern: "^[A-Za-z0-9_-]{1,64}$",
      allowed: "the name of a tier: 1 to 64 letters, digits, dashes and underscores",
      role: "any",
      description: "Tier of clients that are not known yet, or whose tier is gone; it must be there at start",
    } satisfies About & Record<string, unknown>),
    QUEUE_AUTO_CREATE: Type.Boolean({
      default: true,
      role: "any",
      description:
        "Whether a queue is made by its first task; if not, a task for an unknown queue is refused",
    } satisfies About & Record<string, unknown>),
    OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
      Type.String({
        accepts: (text) => tracesUrlOf(text) !== null,
        wrongIn: shownEndpoint,
        allowed: OTLP_ENDPOINT_FORM,
        defaultText: "none: nothing is traced",
        role: "any",
        description:
          "Collector that traces are sent to, by OTLP over HTTP, e.g. `tracing:4318`. See [observability](observability.md)",
      } satisfies About & Record<string, unknown>),
    ),
    TRACES_PER_SEC: whole(200, 1, 1_000_000, {
      role: "any",
      unit: "traces/s",
      description:
        "The tasks taken in, and the attempts, that one process traces in a second at most, on average; five times as many in a burst. Those past it are not recorded",
    }),
    METRICS_CLIENT_LABELS: Type.Boolean({
      default: false,
      role: "any",
      description: "Whether `/metrics` tells of each client by its id; of the first 200, the others together",
    } satisfies About & Record<string, unknown>),
    WORKER_CONCURRENCY: whole(10, 1, 1_000, {
      role: "work",
      unit: "tasks",
      description: "Tasks delivered at once by one worker",
    }),
    TASK_TIMEOUT_SEC: whole(1_800, 1, DAY_SEC, {
      role: "work",
      unit: "s",
      description: "Longest time one delivery may take",
    }),
    MAX_RETRY: whole(5, 0, 1_000, {
      role: "any",
      unit: "retries",
      description:
        "Retries after the first attempt of a task that says nothing of its own; of pull queues it is serve's that counts",
    }),
    ALLOW_PRIVATE_URLS: Type.Optional(
      Type.Boolean({
        role: "work",
        defaultText: "false; on serve, what the workers say",
        description: "Whether tasks may call loopback, private and link-local addresses",
      } satisfies About),
    ),
    EGRESS_ALLOW_CIDRS: cidrs(
      "none; on serve, what the workers say",
      "Addresses that tasks may call though they are not public, with ALLOW_PRIVATE_URLS=false too",
    ),
    EGRESS_DENY_CIDRS: cidrs("none", "Addresses that tasks may not call, whatever else allows them"),
    EGRESS_PROXY_URL: Type.Optional(
      Type.String({
        accepts: isProxyUrl,
        allowed: PROXY_FORM,
        defaultText: "none: deliveries go straight to their targets",
        secret: true,
        role: "work",
        description:
          "HTTP proxy that every delivery leaves by; `http_proxy` and its kin are never followed. It resolves the names: see [delivery](delivery.md)",
      } satisfies About & Record<string, unknown>),
    ),
    CB_FAILURE_THRESHOLD: whole(5, 1, 1_000, {
      role: "work",
      unit: "failures",
      description: "Consecutive failures of a target's origin that open its circuit breaker",
    }),
    CB_TIMEOUT_SEC: whole(30, 1, DAY_SEC, {
      role: "work",
      unit: "s",
      description: "How long an open circuit breaker holds tasks back before it lets one probe through",
    }),
    CB_RETRY_AFTER: Type.Boolean({
      default: false,
      role: "work",
      description:
        "Whether a 429 or 503 with `Retry-After` holds back all tasks of the target's origin for that time, an hour at most, and not just its own",
    } satisfies About & Record<string, unknown>),
    LEASE_SEC: whole(30, 1, 3_600, {
      role: "work",
      unit: "s",
      description: "How long a worker holds a task without renewing; a crash is noticed after this time",
    }),
    PLUGINS: Type.Optional(
      Type.String({
        pattern: "^[^\\x00-\\x1f\\x7f]*$",
        accepts: (text) => pluginNamesIn(text).every((name) => name !== ""),
        allowed: "paths of files or names of packages, with commas between them",
        defaultText: "none",
        role: "any",
        description:
          "Plugins to load, each with transports of its own; alike on every process that serves or works. They run with all the rights of this process",
      } satisfies About & Record<string, unknown>),
    ),
    PATH_PREFIX: Type.Optional(
      Type.String({
        pattern: "^(?:/[A-Za-z0-9._~-]+)+$",
        maxLength: 200,
        allowed:
          "a path such as /tasks: parts of letters, digits, dots, dashes, tildes and underscores, each after a slash",
        defaultText: "none",
        role: "serve",
        description:
          "Path that the whole API is under, for a proxy that sends only this path here; /health and what is below it answer without it too",
      } satisfies About & Record<string, unknown>),
    ),
    SHUTDOWN_DELAY_SEC: whole(0, 0, 3_600, {
      role: "serve",
      unit: "s",
      description:
        "Time to go on serving after SIGTERM, unready, before the grace begins: for load balancers that are slow to send nothing more",
    }),
    SHUTDOWN_GRACE_SEC: whole(25, 0, 3_600, {
      role: "any",
      unit: "s",
      description: "Time for running deliveries and requests to finish after SIGTERM",
    }),
    MAX_PAYLOAD_BYTES: whole(1_048_576, 1, 104_857_600, {
      role: "serve",
      unit: "bytes",
      description: "Largest task accepted",
    }),
    DEDUP_WINDOW_SEC: whole(3_600, 0, YEAR_SEC, {
      role: "any",
      unit: "s",
      description: "How long a task's name or idempotency key stays taken after the task ended",
    }),
    RETENTION_SUCCEEDED_SEC: whole(3_600, 0, YEAR_SEC, {
      role: "any",
      unit: "s",
      description: "How long a succeeded or cancelled task stays readable; 0 drops it at once",
    }),
    RETENTION_DEAD_SEC: whole(604_800, 0, YEAR_SEC, {
      role: "any",
      unit: "s",
      description: "How long a dead task stays readable; 0 drops it at once",
    }),
    STORE_MAX_BYTES: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      role: "any",
      unit: "bytes",
      defaultText: "10737418240; with Redis 0, its maxmemory being the bound",
      description:
        "Size of the store past which finished tasks go early and new ones are refused; 0 for no bound of ours",
    } satisfies About & Record<string, unknown>),
  },
  { additionalProperties: false },
);

/** The settings in force, under the names of the environment: one name a concept, from the docs to the code. */
export type Config = Readonly<Static<typeof ConfigSchema>>;
export type SettingName = keyof Config;

export const SETTING_NAMES = Object.keys(ConfigSchema.properties) as readonly SettingName[];

/** A setting as the documentation and the messages need it. */
export interface Setting extends About {
  readonly name: SettingName;
  readonly schema: TSchema;
  /** What is allowed, in words. */
  readonly allowed: string;
  /** The default, in words. */
  readonly defaultText: string;
  readonly secret: boolean;
  readonly accepts: (text: string, redis: RedisGrammar) => boolean;
}

/** Everything the schema says of one setting. */
export function settingOf(name: SettingName): Setting {
  const schema: TSchema & Partial<About> = ConfigSchema.properties[name];
  return {
    name,
    schema,
    description: schema.description ?? "",
    role: schema.role ?? "any",
    allowed: schema.allowed ?? allowedBy(schema),
    defaultText: schema.defaultText ?? String(schema.default),
    secret: schema.secret ?? false,
    accepts: schema.accepts ?? (() => true),
    ...(schema.unit === undefined ? {} : { unit: schema.unit }),
    ...(schema.alias === undefined ? {} : { alias: schema.alias }),
    ...(schema.wrongIn === undefined ? {} : { wrongIn: schema.wrongIn }),
  };
}

/** The plugins that a value of PLUGINS names, in its order. */
export function pluginNamesIn(text: string): readonly string[] {
  return text.split(",").map((name) => name.trim());
}

/** The role that a MODE stands for. */
export function roleOf(mode: keyof typeof MODES): Role {
  return MODES[mode];
}
