/** docs/troubleshooting.md quotes what the program says: each error is provoked, and its words are looked for in the page. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { appCommand, inheritedEnv, PROJECT_DIR, startApp } from "../../scripts/app-process.ts";
import { WrongKeys } from "../../src/api/wrong-keys.ts";
import { LateStore } from "../../src/app/late-store.ts";
import { type ErrorCode, TaskRunnerError } from "../../src/core/errors.ts";
import { EnqueueGroup, GROUP_LIMITS } from "../../src/service/enqueue-group.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type StandaloneRedis, startRedis, until } from "../support/redis.ts";
import { startTarget, type TestTarget } from "../support/target.ts";
import { newTasks } from "../support/tasks.ts";
import { pageText, sectionOf } from "./page.ts";
import { ADMIN_API_KEY, type Answer, DocumentedServer } from "./server.ts";
import { isQuoted, spansAbout, spansOf } from "./wording.ts";

const PAGE = "docs/troubleshooting.md";
const LIMIT_MS = 60_000;
const SETTLED_MS = 20_000;

let dir = "";
let target: TestTarget;
let server: DocumentedServer;

/** Holds words to what the page says of their code. */
function expectQuoted(code: string, words: unknown): void {
  const spans = spansAbout(PAGE, code);
  if (!isQuoted(String(words), spans)) expect(spans).toContain(String(words));
}

function expectIn(heading: string, words: string): void {
  const spans = spansOf(sectionOf(PAGE, heading));
  if (!isQuoted(words, spans)) expect(spans).toContain(words);
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-troubles-"));
  target = await startTarget();
  const app = await startApp({
    command: "all",
    env: {
      DATA_DIR: join(dir, "data"),
      ADMIN_API_KEY,
      CLIENT_AUTH: "optional",
      QUEUE_AUTO_CREATE: "false",
      MAX_PAYLOAD_BYTES: "2000",
      EGRESS_ALLOW_CIDRS: "127.0.0.1",
    },
  });
  server = new DocumentedServer(app);
  await server.admin("tiers/set", { tier: "free", requests_per_minute: null, max_concurrent: null });
}, LIMIT_MS);

afterAll(async () => {
  await server?.app.stop();
  await target?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** How each refusal is brought about on the server above: code, status, what to do. */
const REFUSALS: ReadonlyArray<readonly [ErrorCode, number, () => Promise<Answer>]> = [
  ["validation_failed", 400, () => server.ask("POST", "/v1/enqueue", { task: { url: 5 }, colour: "red" })],
  ["malformed_json", 400, () => server.ask("POST", "/v1/enqueue", "{")],
  [
    "unsupported_media_type",
    415,
    () => server.ask("POST", "/v1/enqueue", "{}", { "content-type": "text/plain" }),
  ],
  ["unauthorized", 401, () => server.ask("GET", "/admin/clients")],
  ["unauthorized", 401, () => server.ask("GET", "/admin/clients", undefined, { "x-admin-key": "no" })],
  ["unauthorized", 401, () => server.ask("GET", "/v1/tasks")],
  ["unauthorized", 401, () => server.enqueue(toTarget(), { "x-api-key": "trk.shop.no" })],
  [
    "forbidden",
    403,
    async () => {
      const { key } = await server.admin("clients/keys/create", { client_id: "billing" });
      return server.enqueue(toTarget(), { "x-api-key": String(key) });
    },
  ],
  [
    "forbidden",
    403,
    async () => {
      await server.admin("clients/set", { client_id: "partner", allowed_hosts: ["*.example.com"] });
      return server.enqueue({ ...toTarget(), client_id: "partner" });
    },
  ],
  [
    "client_disabled",
    403,
    async () => {
      await server.admin("clients/set", { client_id: "off", enabled: false });
      return server.enqueue({ ...toTarget(), client_id: "off" });
    },
  ],
  [
    "queue_disabled",
    409,
    async () => {
      await server.admin("queues/set", { queue: "closed", enabled: false });
      return server.enqueue({ ...toTarget(), queue: "closed" });
    },
  ],
  ["queue_not_found", 404, () => server.enqueue({ ...toTarget(), queue: "none" })],
  [
    "client_not_found",
    404,
    () => server.ask("GET", "/admin/clients/get?client_id=none", undefined, { "x-admin-key": ADMIN_API_KEY }),
  ],
  [
    "tier_not_found",
    404,
    () => server.ask("POST", "/admin/tiers/delete", { tier: "none" }, { "x-admin-key": ADMIN_API_KEY }),
  ],
  ["task_not_found", 404, () => server.ask("GET", "/v1/tasks/01KAQ6M1T2X5RZ0W9V7B3C4D8E")],
  ["not_found", 404, () => server.ask("GET", "/nothing")],
  ["method_not_allowed", 405, () => server.ask("PUT", "/v1/enqueue", {})],
  [
    "conflict",
    409,
    async () => {
      const id = await server.handIn(toTarget());
      await server.untilState(id, "succeeded");
      return server.ask("DELETE", `/v1/tasks/${id}`, undefined, { "x-admin-key": ADMIN_API_KEY });
    },
  ],
  [
    "conflict",
    409,
    async () => {
      await server.admin("queues/set", { queue: "busy", paused: true });
      await server.admin("queues/pause", { queue: "busy" });
      await server.handIn({ ...toTarget(), queue: "busy" });
      return server.ask("POST", "/admin/queues/delete", { queue: "busy" }, { "x-admin-key": ADMIN_API_KEY });
    },
  ],
  ["payload_too_large", 413, () => server.enqueue({ task: { url: target.url, body: "x".repeat(3_000) } })],
  ["target_forbidden", 422, () => server.enqueue({ task: { url: "http://10.0.0.1/" } })],
  [
    "rate_limited",
    429,
    async () => {
      await server.admin("clients/set", { client_id: "slow", overrides: { requests_per_minute: 1 } });
      await server.handIn({ ...toTarget(), client_id: "slow" });
      return server.enqueue({ ...toTarget(), client_id: "slow" });
    },
  ],
];

function toTarget() {
  return { task: { url: `${target.url}/ok` } };
}

describe("of what callers are answered, the page quotes", () => {
  const named = REFUSALS.map(
    ([code, status, provoke], index) => [`${code} (${index + 1})`, code, status, provoke] as const,
  );
  test.each(named)(
    "%s",
    async (_name, code, status, provoke) => {
      const answer = await provoke();
      expect([answer.status, answer.body.code]).toEqual([status, code]);
      expectQuoted(code, answer.body.detail);
    },
    LIMIT_MS,
  );

  test("too_many_attempts and overloaded, which take thousands of callers", async () => {
    const wrongKeys = new WrongKeys({
      clock: new ManualClock(),
      logger: createLogger({ level: "info", role: "test", destination: { write: () => {} } }),
      addressOf: () => "192.0.2.1",
    });
    const attempt = () => wrongKeys.slowDown(new Request("http://x/"));
    // The clock stands still, so that all but the first few go on waiting for their answer.
    for (let held = 0; held < 1_005; held++) void attempt();
    const slowed = await problemOf(attempt());
    expect(slowed.code).toBe("too_many_attempts");
    expectQuoted(slowed.code, slowed.message);

    const group = new EnqueueGroup({ enqueue: () => new Promise(() => {}) });
    for (let waiting = 0; waiting <= GROUP_LIMITS.maxTasksWaiting; waiting += GROUP_LIMITS.maxTasksPerCall) {
      group.add(newTasks(GROUP_LIMITS.maxTasksPerCall)).catch(() => {});
    }
    const refused = await problemOf(group.add(newTasks(GROUP_LIMITS.maxTasksPerCall)));
    expect(refused.code).toBe("overloaded");
    expectQuoted(refused.code, refused.message);
  });

  test("store_unavailable of a server that waits for its store, which its readiness says too", async () => {
    const late = new LateStore();
    late.tellTrouble("127.0.0.1:6379: connect ECONNREFUSED 127.0.0.1:6379");
    const refused = await problemOf(late.get("any"));
    expect(refused.code).toBe("store_unavailable");
    expectQuoted(refused.code, refused.message);
    expectIn("A process is not ready", (await problemOf(late.check())).message);
  });

  test(
    "store_full of a file that is at its bound",
    async () => {
      const env = { DATA_DIR: join(dir, "small"), STORE_MAX_BYTES: "1000", ALLOW_PRIVATE_URLS: "true" };
      const app = await startApp({ command: "serve", env });
      const { status, body } = await new DocumentedServer(app).enqueue(toTarget());
      await app.stop();
      expect([status, body.code]).toEqual([503, "store_full"]);
      expectQuoted("store_full", body.detail);
    },
    LIMIT_MS,
  );

  test(
    "store_unavailable of a file that another program holds",
    async () => {
      const app = await startApp({
        command: "serve",
        env: { DATA_DIR: join(dir, "held"), ALLOW_PRIVATE_URLS: "true" },
      });
      const db = new DatabaseSync(join(dir, "held/task-runner.db"));
      db.exec("BEGIN IMMEDIATE");
      const { status, body } = await new DocumentedServer(app).enqueue(toTarget());
      db.close();
      await app.stop();
      expect([status, body.code]).toEqual([503, "store_unavailable"]);
      expectQuoted("store_unavailable", body.detail);
    },
    LIMIT_MS,
  );
});

describe("of a Redis in trouble, the page quotes", () => {
  let redis: StandaloneRedis;
  let onRedis: DocumentedServer;

  beforeAll(async () => {
    redis = await startRedis();
    const env = {
      REDIS_ADDR: `127.0.0.1:${redis.port}`,
      DURABILITY: "replicated",
      REDIS_ACK_TIMEOUT_MS: "100",
    };
    onRedis = new DocumentedServer(
      await startApp({ command: "serve", env: { ...env, ALLOW_PRIVATE_URLS: "true" } }),
    );
    await until(
      "it is ready",
      SETTLED_MS,
      async () => (await onRedis.ask("GET", "/health/ready")).status === 200,
    );
  }, LIMIT_MS);
  afterAll(async () => {
    await onRedis?.app.stop();
    await redis?.stop();
  });

  test("durability_unavailable", async () => {
    const { status, body } = await onRedis.enqueue(toTarget());
    expect([status, body.code]).toEqual([503, "durability_unavailable"]);
    expectQuoted("durability_unavailable", body.detail);
  });

  test("internal_error, which is logged under the request's id", async () => {
    await redis.process.command("RENAME", "{task-runner}:tasks", "{task-runner}:kept");
    await redis.process.command("SET", "{task-runner}:tasks", "not ours");
    const { status, body } = await onRedis.enqueue(toTarget());
    await redis.process.command("RENAME", "{task-runner}:kept", "{task-runner}:tasks");
    expect([status, body.code]).toEqual([500, "internal_error"]);
    expectQuoted("internal_error", body.detail);
    const [, requestId = "missing"] = /request id (.+)\.$/.exec(String(body.detail)) ?? [];
    await until("it is logged", SETTLED_MS, async () => onRedis.app.output().includes(requestId));
  });

  test("store_full", async () => {
    await redis.process.command("CONFIG", "SET", "maxmemory", "1mb");
    // How full it is, is looked at once a second.
    const { body } = await until("it is full", SETTLED_MS, async () => {
      const answer = await onRedis.enqueue(toTarget());
      return answer.body.code === "store_full" && answer;
    });
    await redis.process.command("CONFIG", "SET", "maxmemory", "0");
    expectQuoted("store_full", body.detail);
  });

  test(
    "store_unavailable, for callers and for probes",
    async () => {
      await redis.process.kill();
      const { status, body } = await onRedis.enqueue(toTarget());
      expect([status, body.code]).toEqual([503, "store_unavailable"]);
      expectQuoted("store_unavailable", body.detail);
      const probed = await onRedis.ask("GET", "/health/ready");
      expect(probed.status).toBe(503);
      expectIn("A process is not ready", String(probed.body.reason));
    },
    LIMIT_MS,
  );
});

describe("of what keeps a process from starting, the page quotes", () => {
  /** Starts it to its end, and gives the line it ends with, after the status. */
  async function lastLine(env: Readonly<Record<string, string>>): Promise<string> {
    const child = Bun.spawn([...appCommand(), "serve"], {
      cwd: PROJECT_DIR,
      env: { ...inheritedEnv(), HOST: "127.0.0.1", PORT: "0", REDIS_CONNECT_RETRIES: "1", ...env },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
      timeout: SETTLED_MS,
    });
    const [errors, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    return `${status} ${errors.trim().split("\n").at(-1)}`;
  }

  const other = () => join(dir, "other.db");

  async function edited(path: string, sql: string): Promise<void> {
    const db = new DatabaseSync(path);
    db.exec(sql);
    db.close();
  }

  const causes: ReadonlyArray<readonly [string, number, () => Promise<Readonly<Record<string, string>>>]> = [
    ["a wrong setting", 2, async () => ({ DATA_DIR: dir, MAX_RETRY: "often" })],
    ["a port that is taken", 1, async () => ({ DATA_DIR: join(dir, "taken"), PORT: String(target.port) })],
    [
      "a file of a newer version",
      1,
      async () => {
        const DATA_DIR = join(dir, "newer");
        await (await startApp({ command: "serve", env: { DATA_DIR } })).stop();
        await edited(join(DATA_DIR, "task-runner.db"), "PRAGMA user_version = 1000");
        return { DATA_DIR };
      },
    ],
    [
      "another program's file",
      1,
      async () => {
        await edited(other(), "CREATE TABLE theirs (x)");
        return { STORE_URL: `sqlite:${other()}` };
      },
    ],
    [
      "a file that is no database",
      1,
      async () => {
        await writeFile(join(dir, "text.db"), "This is a text and not a database. ".repeat(100));
        return { STORE_URL: `sqlite:${join(dir, "text.db")}` };
      },
    ],
    [
      "a damaged file",
      1,
      async () => {
        const DATA_DIR = join(dir, "damaged");
        await (await startApp({ command: "serve", env: { DATA_DIR } })).stop();
        const path = join(DATA_DIR, "task-runner.db");
        await edited(path, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE");
        const bytes = await readFile(path);
        bytes.fill(0xab, 8_192, bytes.length - 4_096);
        await writeFile(path, bytes);
        return { DATA_DIR };
      },
    ],
    ["a folder that is none", 1, async () => ({ STORE_URL: `sqlite:${dir}` })],
    ["a Redis that is not there", 1, async () => ({ REDIS_ADDR: "127.0.0.1:1" })],
    [
      "a tier that is not there",
      2,
      async () => ({ DATA_DIR: join(dir, "tier"), DEFAULT_CLIENT_TIER: "gold" }),
    ],
  ];
  test.each(causes)(
    "%s",
    async (_name, status, cause) => {
      const line = await lastLine(await cause());
      expect(line).toStartWith(`${status} error: `);
      expectIn("A process does not start", line.slice(2));
    },
    LIMIT_MS,
  );

  test(
    "data of another version in Redis",
    async () => {
      const redis = await startRedis();
      await redis.process.command("HSET", "{task-runner}:meta", "version", "1000");
      const line = await lastLine({ REDIS_ADDR: `127.0.0.1:${redis.port}` });
      await redis.stop();
      expect(line).toStartWith("1 error: ");
      expectIn("A process does not start", line.slice(2));
    },
    LIMIT_MS,
  );
});

test("every code of an error is in the page, and in operations.md", async () => {
  const source = await readFile(join(PROJECT_DIR, "src/core/errors.ts"), "utf8");
  const [, union = ""] = /export type ErrorCode =([^;]+);/.exec(source) ?? [];
  const codes = [...union.matchAll(/"(\w+)"/g)].map(([, code = ""]) => code);
  expect(codes.length).toBeGreaterThan(20);
  for (const path of [PAGE, "docs/operations.md"]) {
    const text = pageText(path);
    expect(codes.filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
  }
});

async function problemOf(rejected: Promise<unknown>): Promise<TaskRunnerError> {
  const thrown = await rejected.catch((error: unknown) => error);
  if (!(thrown instanceof TaskRunnerError)) throw new Error("it was not refused");
  return thrown;
}
