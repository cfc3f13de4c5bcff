/** In the place of the image that the published template 1.3.0 names: its environment and nothing else, and it works. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type AppProcess, appCommand, startListening } from "../../scripts/app-process.ts";
import { loadConfig } from "../config/load.ts";
import {
  type Balancer,
  type SentinelCluster,
  startBalancer,
  startSentinelCluster,
  until,
} from "../support/redis.ts";
import { startTarget, type TestTarget } from "../support/target.ts";

const REDIS_PASSWORD = "redis-secret";
const SENTINEL_PASSWORD = "sentinel-secret";
const ADMIN_KEY = "admin-secret";
const SETTLED_MS = 20_000;
const LIMIT_MS = 60_000;

/** What 1.3.0 gives both roles; only the port is a free one here. */
function shared(sentinelAddress: string) {
  return {
    PORT: "0",
    REDIS_MASTER_NAME: "mymaster",
    REDIS_SENTINEL_ADDR: sentinelAddress,
    REDIS_PASSWORD,
    REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD,
    LOG_LEVEL: "info",
    REDIS_CONNECT_RETRIES: "30",
    REDIS_RETRY_INTERVAL_SEC: "2",
  };
}

function ofApi(sentinelAddress: string) {
  return { MODE: "api", ...shared(sentinelAddress), ADMIN_API_KEY: ADMIN_KEY };
}

function ofWorker(sentinelAddress: string, allowPrivateUrls: boolean) {
  return {
    MODE: "worker",
    ...shared(sentinelAddress),
    WORKER_CONCURRENCY: "10",
    TASK_TIMEOUT_SEC: "1800",
    MAX_RETRY: "5",
    ALLOW_PRIVATE_URLS: String(allowPrivateUrls),
    CB_FAILURE_THRESHOLD: "5",
    CB_TIMEOUT_SEC: "30",
  };
}

/** Starts the program without a single argument. */
function start(env: Readonly<Record<string, string>>): Promise<AppProcess> {
  return startListening(appCommand(), env);
}

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(SETTLED_MS) });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

describe("with exactly the environment of the published template 1.3.0 and no arguments", () => {
  let cluster: SentinelCluster;
  /** One name for all Sentinels, as a workload has. */
  let sentinels: Balancer;
  let target: TestTarget;
  let api: AppProcess;
  let worker: AppProcess;

  beforeAll(async () => {
    target = await startTarget();
    cluster = await startSentinelCluster({
      password: REDIS_PASSWORD,
      sentinelPassword: SENTINEL_PASSWORD,
      announceHost: "localhost",
    });
    sentinels = await startBalancer(cluster.sentinels);
    const address = `localhost:${sentinels.port}`;
    [api, worker] = await Promise.all([start(ofApi(address)), start(ofWorker(address, true))]);
  }, LIMIT_MS);
  afterAll(async () => {
    const statuses = await Promise.all([api?.stop(), worker?.stop()]);
    await sentinels?.stop();
    await cluster?.stop();
    await target?.stop();
    expect(statuses).toEqual([0, 0]);
  }, LIMIT_MS);

  function enqueue(path: string): Promise<Answer> {
    const body = JSON.stringify({
      client_id: "my-service",
      queue: "default",
      task: {
        url: `${target.url}${path}`,
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"event": "user.created"}',
      },
    });
    const headers = { "content-type": "application/json" };
    return ask(`${api.url}/v1/enqueue`, { method: "POST", headers, body });
  }

  async function delivered(path: string, answer: Answer): Promise<void> {
    const id = String(answer.body.task_id);
    await until(`task ${id} succeeds`, SETTLED_MS, async () => {
      const { body } = await ask(`${api.url}/v1/tasks/${id}`);
      return body.state === "succeeded";
    });
    // By id: an enqueue that was answered with 503, as no replica had it in time, may have been kept and delivered too.
    const requests = target.requests.filter((request) => request.taskId === id);
    expect(requests.map((request) => [request.path, request.method, request.text])).toEqual([
      [path, "POST", '{"event": "user.created"}'],
    ]);
  }

  test("the Sentinels announce host names", async () => {
    const [sentinel] = cluster.sentinels;
    const announced = await sentinel?.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster");
    expect(announced).toEqual(["localhost", String((await cluster.primary()).port)]);
  });

  test("each role answers its probes and says which one it is", async () => {
    for (const [app, role] of [
      [api, "serve"],
      [worker, "work"],
    ] as const) {
      await until("readiness", SETTLED_MS, async () => (await ask(`${app.url}/health/ready`)).status === 200);
      expect((await ask(`${app.url}/health/live`)).status).toBe(200);
      expect((await ask(`${app.url}/health/detailed`)).body).toMatchObject({ role, store: "redis" });
    }
  });

  test("a task is handed in, delivered and read", async () => {
    const answer = await until("an enqueue is accepted", SETTLED_MS, async () => {
      const tried = await enqueue("/hook");
      return tried.status === 202 && tried;
    });
    expect(answer.body).toMatchObject({ status: "enqueued", durability: "replicated" });
    await delivered("/hook", answer);
  });

  test("administration asks for the key", async () => {
    expect((await ask(`${api.url}/admin/clients`)).status).toBe(401);
    const { status, body } = await ask(`${api.url}/admin/clients`, { headers: { "X-Admin-Key": ADMIN_KEY } });
    expect([status, body.clients]).toEqual([200, [expect.objectContaining({ client_id: "my-service" })]]);
  });

  test(
    "after a failover, to a primary that is announced by its host name too, tasks are delivered as before",
    async () => {
      const primary = await cluster.primary();
      await primary.kill();
      await cluster.waitForFailover(primary, SETTLED_MS);
      const answer = await until("an enqueue is accepted again", SETTLED_MS, async () => {
        const tried = await enqueue("/after-failover");
        return tried.status === 202 && tried;
      });
      await delivered("/after-failover", answer);
    },
    LIMIT_MS,
  );

  test("no password and no key is logged", () => {
    for (const app of [api, worker]) {
      for (const secret of [REDIS_PASSWORD, SENTINEL_PASSWORD, ADMIN_KEY]) {
        expect(app.output()).not.toContain(secret);
      }
    }
  });
});

test("every variable of the template is one that counts, and nothing is warned of", () => {
  for (const env of [ofApi("prod-sentinel.apps.cpln.local:26379"), ofWorker("prod-sentinel:26379", false)]) {
    const { problems, warnings, sources } = loadConfig({ ...env, PORT: "8080" });
    expect([problems, warnings]).toEqual([[], []]);
    for (const name of Object.keys(env)) {
      expect([name, (sources as Record<string, string>)[name]]).toEqual([name, "environment"]);
    }
  }
});
