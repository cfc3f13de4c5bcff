/** Roles as real processes on real Redis and Sentinel: as the published template sets them up, and when things go wrong. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { type Program, program, ranProgram } from "../cli/harness.ts";
import { liftLimits } from "../support/limits.ts";
import {
  type SentinelCluster,
  type StandaloneRedis,
  startRedis,
  startSentinelCluster,
  until,
} from "../support/redis.ts";
import { startTarget, type TestTarget } from "../support/target.ts";

const PASSWORD = "redis-secret";
const SENTINEL_PASSWORD = "sentinel-secret";
const WRONG_PASSWORD = "wrong-secret";
/** What no answer may take, whatever Redis does. */
const LONGEST_ANSWER_MS = 3_000;
const SETTLED_MS = 15_000;
const LIMIT_MS = 30_000;

let target: TestTarget;
const apps: AppProcess[] = [];
const programs: Program[] = [];

beforeAll(async () => {
  target = await startTarget();
});
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
  for (const started of programs.splice(0)) {
    started.kill("SIGKILL");
    await started.exited;
  }
});
afterAll(() => target.stop());

async function start(...args: Parameters<typeof startApp>): Promise<AppProcess> {
  const app = await startApp(...args);
  apps.push(app);
  return app;
}

/** Starts a role and resolves as soon as it can be asked, open store or not. */
async function startEarly(
  role: string,
  env: Record<string, string>,
): Promise<Program & { readonly url: string }> {
  const started = program([role], { PORT: "0", ...env });
  programs.push(started);
  const { url } = JSON.parse(await started.line((line) => line.includes("opening the store")));
  return { ...started, url };
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly tookMs: number;
  readonly body: Readonly<Record<string, string>>;
}

async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const askedAt = performance.now();
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(LIMIT_MS) });
  const body = (await response.json()) as Answer["body"];
  const tookMs = performance.now() - askedAt;
  return { status: response.status, retryAfter: response.headers.get("retry-after"), tookMs, body };
}

function enqueue(api: { readonly url: string }, path: string, more: object = {}): Promise<Answer> {
  const task = { url: `${target.url}${path}`, method: "POST" };
  const body = JSON.stringify({ client_id: "e2e", task, ...more });
  return ask(`${api.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
}

/** Enqueues once there is someone to ask and someone who delivers. */
function enqueued(api: { readonly url: string }, path: string, more: object = {}): Promise<Answer> {
  return until("an enqueue is accepted", SETTLED_MS, async () => {
    const answer = await enqueue(api, path, more);
    return answer.status === 202 && answer;
  });
}

async function succeeded(api: { readonly url: string }, id: string | undefined): Promise<void> {
  await until(`task ${id} succeeds`, SETTLED_MS, async () => {
    const { body } = await ask(`${api.url}/v1/tasks/${id}`);
    return body.state === "succeeded";
  });
}

const health = async (app: { readonly url: string }, of: "live" | "ready") => {
  const { status, body } = await ask(`${app.url}/health/${of}`);
  return { status, reason: body.reason };
};
const ready = (app: { readonly url: string }) =>
  until("readiness", SETTLED_MS, async () => (await health(app, "ready")).status === 200);

const requestsTo = (path: string) => target.requests.filter((request) => request.path === path);

describe("under Sentinel, set up as the published template does", () => {
  let cluster: SentinelCluster;
  let api: AppProcess;
  let worker: AppProcess;

  beforeAll(async () => {
    cluster = await startSentinelCluster({ password: PASSWORD, sentinelPassword: SENTINEL_PASSWORD });
    const common = {
      LOG_LEVEL: "info",
      REDIS_SENTINEL_ADDR: cluster.sentinels.map((each) => each.address).join(","),
      REDIS_MASTER_NAME: cluster.masterName,
      REDIS_PASSWORD: PASSWORD,
      REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD,
      REDIS_CONNECT_RETRIES: "30",
      REDIS_RETRY_INTERVAL_SEC: "2",
      OTEL_EXPORTER_OTLP_ENDPOINT: "",
    };
    worker = await startApp({
      command: "work",
      env: {
        ...common,
        MODE: "worker",
        WORKER_CONCURRENCY: "10",
        TASK_TIMEOUT_SEC: "1800",
        MAX_RETRY: "5",
        ALLOW_PRIVATE_URLS: "true",
        CB_FAILURE_THRESHOLD: "5",
        CB_TIMEOUT_SEC: "30",
      },
    });
    api = await startApp({
      command: "serve",
      env: { ...common, MODE: "api", ADMIN_API_KEY: "admin-secret" },
    });
  }, LIMIT_MS);
  afterAll(async () => {
    const statuses = await Promise.all([api.stop(), worker.stop()]);
    await cluster.stop();
    expect(statuses).toEqual([0, 0]);
    for (const app of [api, worker]) {
      expect(app.output()).not.toContain(PASSWORD);
      expect(app.output()).not.toContain(SENTINEL_PASSWORD);
    }
  });

  test("a task is kept by a replica too, delivered, and read back", async () => {
    const { body } = await enqueued(api, "/template");
    expect(body).toMatchObject({ status: "enqueued", state: "ready", durability: "replicated" });
    await succeeded(api, body.task_id);
    expect(requestsTo("/template").map((request) => request.taskId)).toEqual([body.task_id ?? ""]);
    expect(api.output()).toContain("Redis master mymaster of Sentinel at 127.0.0.1:");
  });

  test(
    "without replicas an enqueue is refused with 503, and repeated by its name once they are back it is one task",
    async () => {
      await enqueued(api, "/before");
      const replicas = await cluster.replicas();
      for (const replica of replicas) await replica.freeze();
      try {
        const refused = await enqueue(api, "/unconfirmed", { name: "once" });
        expect(refused.status).toBe(503);
        expect(refused.body.code).toBe("durability_unavailable");
        expect(Number(refused.retryAfter)).toBeGreaterThan(0);
        expect(refused.tookMs).toBeLessThan(LONGEST_ANSWER_MS);
        expect((await health(api, "live")).status).toBe(200);
      } finally {
        for (const replica of replicas) replica.thaw();
      }
      const answers: Answer[] = [];
      await until("it is confirmed", SETTLED_MS, async () => {
        const answer = await enqueue(api, "/unconfirmed", { name: "once" });
        answers.push(answer);
        return answer.status < 300;
      });
      const [id] = answers.flatMap(({ status, body }) => (status < 300 ? [body.task_id] : []));
      await succeeded(api, id);
      const again = await enqueue(api, "/unconfirmed", { name: "once" });
      expect(again).toMatchObject({ status: 200, body: { status: "duplicate", task_id: id } });
      expect(requestsTo("/unconfirmed").map((request) => request.taskId)).toEqual([id ?? ""]);
    },
    LIMIT_MS,
  );
});

describe("on one Redis", () => {
  let redis: StandaloneRedis;
  let env: Record<string, string>;

  beforeAll(async () => {
    redis = await startRedis({ password: PASSWORD });
    env = { REDIS_ADDR: redis.process.address, REDIS_PASSWORD: PASSWORD };
  });
  afterAll(() => redis.stop());

  test(
    "stores of different prefixes do not see each other",
    async () => {
      const [one, other] = await Promise.all([
        start({ command: "serve", env: { ...env, KEY_PREFIX: "one" } }),
        start({
          command: "all",
          env: { STORE_URL: redis.url, KEY_PREFIX: "other", ALLOW_PRIVATE_URLS: "true" },
        }),
      ]);
      // A public target, for nobody at this prefix delivers; it is not called.
      const body = JSON.stringify({
        client_id: "e2e",
        name: "same",
        delay: 3_600,
        task: { url: "https://example.com" },
      });
      const init = { method: "POST", headers: { "content-type": "application/json" }, body };
      const first = await ask(`${one.url}/v1/enqueue`, init);
      const second = await ask(`${other.url}/v1/enqueue`, init);
      expect([first, second]).toMatchObject([
        { status: 202, body: { durability: "primary" } },
        { status: 202, body: { durability: "primary" } },
      ]);
      expect((await ask(`${other.url}/v1/tasks/${first.body.task_id}`)).status).toBe(404);
      const { body: listed } = await ask(`${one.url}/v1/tasks`);
      expect(listed.tasks).toMatchObject([{ task_id: first.body.task_id }]);
    },
    LIMIT_MS,
  );

  test("a user without a password in STORE_URL logs in with REDIS_PASSWORD, and is that user", async () => {
    const secret = "acl-secret";
    await redis.process.command("ACL", "SETUSER", "app", "on", `>${secret}`, "~*", "+@all", "&*");
    const app = await start({
      command: "all",
      env: {
        STORE_URL: `redis://app@${env.REDIS_ADDR}/0`,
        REDIS_PASSWORD: secret,
        KEY_PREFIX: "acl",
        ALLOW_PRIVATE_URLS: "true",
      },
    });
    const { body } = await enqueued(app, "/acl");
    await succeeded(app, body.task_id);
    expect(String(await redis.process.command("CLIENT", "LIST"))).toMatch(/name=task-runner:all .*user=app /);
    expect(app.output()).not.toContain(secret);
    const { status, stderr } = await ranProgram(["all"], { STORE_URL: `redis://app@${env.REDIS_ADDR}/0` });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error: STORE_URL names a user without a password: .*\n$/);
  });

  test("a store of a version that is not known refuses the start, with one line that says so", async () => {
    await redis.process.command("HSET", "{newer}:meta", "version", 99);
    const { status, stdout, stderr } = await ranProgram(["serve"], {
      ...env,
      PORT: "0",
      KEY_PREFIX: "newer",
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*schema version 99.*\n$/);
    expect(stdout).not.toContain("is listening");
  });

  test.each(["REDIS_PASSWORD", "STORE_URL"])(
    "a wrong password in %s ends the start at once with 1 and one line without it",
    async (name) => {
      const wrong = name === "STORE_URL" ? `redis://:${WRONG_PASSWORD}@${env.REDIS_ADDR}` : WRONG_PASSWORD;
      const startedAt = performance.now();
      const { status, stdout, stderr } = await ranProgram(["serve"], { ...env, PORT: "0", [name]: wrong });
      expect(status).toBe(1);
      expect(stderr).toMatch(/^error: cannot connect to Redis at .*the password, or the user, is wrong\n$/);
      expect(stdout + stderr).not.toContain(WRONG_PASSWORD);
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    },
  );

  test(
    "the same sources run on Deno: accepted by one process, delivered by the other",
    async () => {
      const runtime = ["deno", "run", "--quiet", "-A"];
      const shared = { ...env, KEY_PREFIX: "deno" };
      await start({ runtime, command: "work", env: { ...shared, ALLOW_PRIVATE_URLS: "true" } });
      const api = await start({ runtime, command: "serve", env: shared });
      const { body } = await enqueued(api, "/deno");
      await succeeded(api, body.task_id);
      expect(requestsTo("/deno")).toHaveLength(1);
      expect(await Promise.all(apps.splice(0).map((app) => app.stop()))).toEqual([0, 0]);
    },
    LIMIT_MS,
  );
});

describe("a Redis that is away", () => {
  let redis: StandaloneRedis;
  let env: Record<string, string>;

  beforeAll(async () => {
    // What it acknowledged it still has when it comes back.
    redis = await startRedis({ password: PASSWORD, appendonly: true, config: ["appendfsync always"] });
    env = { REDIS_ADDR: redis.process.address, REDIS_PASSWORD: PASSWORD };
  });
  afterAll(() => redis.stop());

  test(
    "at start is waited for: alive, not ready and why, enqueues come back later; then it all works",
    async () => {
      await redis.process.kill();
      const retries = { REDIS_RETRY_INTERVAL_SEC: "1" };
      const worker = await startEarly("work", { ...env, ...retries, ALLOW_PRIVATE_URLS: "true" });
      const api = await startEarly("serve", { ...env, ...retries, ADMIN_API_KEY: "admin-secret" });
      await api.line((line) => line.includes("cannot connect to Redis") && line.includes('"try":1,"of":30'));
      for (const app of [api, worker]) {
        expect(await health(app, "live")).toEqual({ status: 200, reason: undefined });
        const { status, reason } = await health(app, "ready");
        expect(status).toBe(503);
        expect(reason).toContain("the store is not open yet");
        await until("the reason is told", SETTLED_MS, async () =>
          (await health(app, "ready")).reason?.includes("ECONNREFUSED"),
        );
      }
      const refused = await enqueue(api, "/early", { name: "early" });
      expect(refused).toMatchObject({ status: 503, retryAfter: "2", body: { code: "store_unavailable" } });
      expect((await ask(`${api.url}/v1/tasks`)).status).toBe(401);
      await redis.process.start();
      await Promise.all([ready(api), ready(worker)]);
      const { body } = await enqueued(api, "/early", { name: "early" });
      await succeeded(api, body.task_id);
      expect(requestsTo("/early")).toHaveLength(1);
    },
    LIMIT_MS,
  );

  test("at start ends it with 1 and the reason when the tries are used up, a line for each", async () => {
    const retries = { REDIS_CONNECT_RETRIES: "2", REDIS_RETRY_INTERVAL_SEC: "1" };
    const nowhere = { REDIS_ADDR: "127.0.0.1:1", REDIS_PASSWORD: PASSWORD };
    const { status, stdout, stderr } = await ranProgram(["all"], { PORT: "0", ...nowhere, ...retries });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: cannot connect to Redis at 127\.0\.0\.1:1: .*ECONNREFUSED.*\n$/);
    expect(stdout.match(/cannot connect to Redis/g)).toHaveLength(2);
    expect(stdout + stderr).not.toContain(PASSWORD);
  });

  test("at start is not waited for any longer when SIGTERM comes", async () => {
    const app = await startEarly("all", { REDIS_ADDR: "127.0.0.1:1", REDIS_RETRY_INTERVAL_SEC: "3600" });
    await app.line((line) => line.includes("cannot connect to Redis"));
    const toldAt = performance.now();
    app.kill("SIGTERM");
    expect(await app.exited).toBe(0);
    expect(performance.now() - toldAt).toBeLessThan(2_000);
  });

  test.each(["dies", "stands still"])(
    "and %s later: every enqueue is answered in time, nobody is killed for it, and all goes on by itself",
    async (how) => {
      const KEY_PREFIX = how.replace(" ", "-");
      const path = `/${KEY_PREFIX}`;
      const worker = await start({
        command: "work",
        env: { ...env, KEY_PREFIX, ALLOW_PRIVATE_URLS: "true" },
      });
      const api = await start({ command: "serve", env: { ...env, KEY_PREFIX } });
      await liftLimits(api.url);
      const waiting = await enqueued(api, path, { delay: 1 });

      await (how === "dies" ? redis.process.kill() : redis.process.freeze());
      const names = Array.from({ length: 10 }, (_, index) => `${path}-${index}`);
      const refused = await Promise.all(names.map((name) => enqueue(api, path, { name: name.slice(1) })));
      for (const { status, retryAfter, tookMs, body } of refused) {
        expect({ status, code: body.code }).toEqual({ status: 503, code: "store_unavailable" });
        expect(Number(retryAfter)).toBeGreaterThan(0);
        expect(tookMs).toBeLessThan(LONGEST_ANSWER_MS);
      }
      for (const app of [api, worker]) {
        await until("it is not ready", SETTLED_MS, async () => (await health(app, "ready")).status === 503);
        expect((await health(app, "ready")).reason).toContain("the store cannot be reached");
        expect((await health(app, "live")).status).toBe(200);
      }

      if (how === "dies") await redis.process.start();
      else redis.process.thaw();
      await Promise.all([ready(api), ready(worker)]);
      for (const name of names) await enqueued(api, path, { name: `${name.slice(1)}-again` });
      await succeeded(api, waiting.body.task_id);
      await until("all of them are delivered", SETTLED_MS, () => requestsTo(path).length >= names.length + 1);
      expect(requestsTo(path).filter(({ taskId }) => taskId === waiting.body.task_id)).toHaveLength(1);
    },
    LIMIT_MS,
  );
});
