/** Redis over TLS, from real processes: whom they trust, whom they do not, and that a stranger learns no password. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { ranProgram } from "../cli/harness.ts";
import {
  type CertificateAuthority,
  createAuthority,
  type StandaloneRedis,
  startRedis,
  startSentinelCluster,
} from "../support/redis.ts";

const PASSWORD = "redis-secret";
const SENTINEL_PASSWORD = "sentinel-secret";
const LIMIT_MS = 15_000;
/** Far less than the tries that a start has by default take. */
const AT_ONCE_MS = 5_000;

let authority: CertificateAuthority;
let redis: StandaloneRedis;
const apps: AppProcess[] = [];

beforeAll(async () => {
  authority = await createAuthority();
  const tls = await authority.issue(["DNS:localhost", "IP:127.0.0.1"]);
  redis = await startRedis({ password: PASSWORD, tls });
});
afterEach(async () => {
  for (const app of apps.splice(0)) {
    expect(await app.stop()).toBe(0);
    expect(app.output()).not.toContain(PASSWORD);
    expect(app.output()).not.toContain(SENTINEL_PASSWORD);
  }
});
afterAll(async () => {
  await redis.stop();
  await authority.remove();
});

/** Starts a process on that Redis, and hands it a task that it then tells of. */
async function keepsTask(env: Record<string, string>, runtime?: readonly string[]): Promise<void> {
  const app = await startApp({
    command: "all",
    env,
    ...(runtime === undefined ? {} : { runtime }),
  });
  apps.push(app);
  // Not due, so that nobody calls it.
  const task = { client_id: "tls", delay: 3_600, task: { url: "https://example.com" } };
  const enqueued = await fetch(`${app.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(task),
  });
  expect(enqueued.status).toBe(202);
  const { task_id: id } = (await enqueued.json()) as { task_id: string };
  const read = await fetch(`${app.url}/v1/tasks/${id}`);
  expect(await read.json()).toMatchObject({ task_id: id, state: "scheduled" });
}

/** What a start is refused with: its one line, come at once and without a secret. */
async function refusal(env: Record<string, string>): Promise<string> {
  const beganAt = performance.now();
  const { status, stdout, stderr } = await ranProgram(["all"], { PORT: "0", ...env });
  expect(performance.now() - beganAt).toBeLessThan(AT_ONCE_MS);
  expect({ status, lines: stderr.split("\n").length }).toEqual({ status: 1, lines: 2 });
  expect(stdout + stderr).not.toContain(PASSWORD);
  return stderr.trimEnd();
}

/** How many commands the server takes while something is done, a login being one. */
async function commandsDuring(server: StandaloneRedis, work: () => Promise<void>): Promise<number> {
  const count = async () =>
    Number((await server.process.info("stats")).get("total_commands_processed") ?? Number.NaN);
  const first = await count();
  const before = await count();
  await work();
  // Asking takes some of them itself, always as many.
  return (await count()) - before - (before - first);
}

describe("a Redis whose certificate is of an authority that is trusted", () => {
  test("is reached by its name in a rediss URL, and keeps tasks", async () => {
    const STORE_URL = `rediss://:${PASSWORD}@localhost:${redis.port}/0`;
    await keepsTask({ STORE_URL, NODE_EXTRA_CA_CERTS: authority.caFile });
  });

  test("is reached by its address in REDIS_ADDR with REDIS_TLS", async () => {
    await keepsTask({
      REDIS_ADDR: redis.process.address,
      REDIS_TLS: "true",
      REDIS_PASSWORD: PASSWORD,
      NODE_EXTRA_CA_CERTS: authority.caFile,
    });
  });

  test("is reached on Deno too", async () => {
    await keepsTask({ STORE_URL: redis.url, NODE_EXTRA_CA_CERTS: authority.caFile }, [
      "deno",
      "run",
      "--quiet",
      "-A",
    ]);
  });

  test("is not reached without TLS, which is told", async () => {
    const line = await refusal({
      STORE_URL: redis.url.replace("rediss", "redis"),
      REDIS_CONNECT_RETRIES: "1",
    });
    expect(line).toStartWith(`error: cannot connect to Redis at ${redis.process.address}: `);
  });
});

describe("a Redis whose certificate proves nothing", () => {
  test("as its authority is not trusted, ends the start at once and is told no password", async () => {
    const told = await commandsDuring(redis, async () => {
      expect(await refusal({ STORE_URL: redis.url })).toMatch(
        /^error: cannot connect to Redis at 127\.0\.0\.1:\d+: its TLS certificate is refused: .*self.signed/,
      );
    });
    expect(told).toBe(0);
  });

  test("as it is for another name, ends the start at once and is told no password", async () => {
    const tls = await authority.issue(["DNS:elsewhere.example"]);
    const other = await startRedis({ password: PASSWORD, tls });
    try {
      const told = await commandsDuring(other, async () => {
        const line = await refusal({ STORE_URL: other.url, NODE_EXTRA_CA_CERTS: authority.caFile });
        expect(line).toStartWith(
          `error: cannot connect to Redis at ${other.process.address}: its TLS certificate is refused: `,
        );
        expect(line).toContain("does not match certificate's altnames");
      });
      expect(told).toBe(0);
    } finally {
      await other.stop();
    }
  });
});

test(
  "Sentinels and their Redis are both reached over TLS, and both must prove who they are",
  async () => {
    const cluster = await startSentinelCluster({
      replicas: 0,
      sentinels: 1,
      password: PASSWORD,
      sentinelPassword: SENTINEL_PASSWORD,
      tls: await authority.issue(["IP:127.0.0.1"]),
    });
    try {
      const env = {
        REDIS_SENTINEL_ADDR: cluster.sentinels.map((each) => each.address).join(","),
        REDIS_TLS: "true",
        REDIS_PASSWORD: PASSWORD,
        REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD,
        DURABILITY: "primary",
      };
      await keepsTask({ ...env, NODE_EXTRA_CA_CERTS: authority.caFile });
      expect(await refusal(env)).toContain(
        "no Sentinel can tell where the primary is: 127.0.0.1:" +
          `${cluster.sentinels[0]?.port}: its TLS certificate is refused: `,
      );
    } finally {
      await cluster.stop();
    }
  },
  LIMIT_MS,
);
