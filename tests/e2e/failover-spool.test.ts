/** With DURABILITY=primary under real Sentinels: what the spool saves of acknowledged tasks that no replica had, and what it cannot. */

import { expect, test } from "bun:test";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { command } from "../cli/harness.ts";
import { type SentinelCluster, startSentinelCluster, until } from "../support/redis.ts";

const PASSWORD = "spool-data";
const SENTINEL_PASSWORD = "spool-sentinel";
const BEFORE = 50;
const UNREPLICATED = 100;
const FROZEN_MS = 1_000;
const FAILOVER_MS = 30_000;
const LIMIT_MS = 120_000;

function envOf(cluster: SentinelCluster): Record<string, string> {
  return {
    STORE_URL: cluster.url,
    REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD,
    DURABILITY: "primary",
    DEFAULT_CLIENT_TIER: "enterprise",
    ALLOW_PRIVATE_URLS: "true",
  };
}

/** Hands in tasks for an hour from now; the ids of those acknowledged, which must be all. */
async function enqueue({ url }: AppProcess, count: number): Promise<string[]> {
  const task = { url: "http://127.0.0.1:9/", body: { n: 1 } };
  const answer = await fetch(`${url}/v1/enqueue/batch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      tasks: Array.from({ length: count }, () => ({ client_id: "c", task, delay: 3_600 })),
    }),
  });
  const { results = [] } = (await answer.json()) as { results?: { task_id?: string }[] };
  const ids = results.flatMap(({ task_id: id }) => (id === undefined ? [] : [id]));
  expect(ids.length).toBe(count);
  return ids;
}

async function missingOf({ url }: AppProcess, ids: readonly string[]): Promise<number> {
  const statuses = await Promise.all(ids.map(async (id) => (await fetch(`${url}/v1/tasks/${id}`)).status));
  expect(statuses.every((status) => status === 200 || status === 404)).toBe(true);
  return statuses.filter((status) => status === 404).length;
}

async function replayed({ url }: AppProcess): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^task_runner_failover_tasks_total\{result="replayed"\} (\d+)/m.exec(text)?.[1] ?? 0);
}

test(
  "the spool of a process that lives saves all it acknowledged; without one, or with its process gone, they are lost",
  async () => {
    const cluster = await startSentinelCluster({ password: PASSWORD, sentinelPassword: SENTINEL_PASSWORD });
    const processes: AppProcess[] = [];
    const start = async (env: Record<string, string> = {}) => {
      const started = await startApp({ command: "serve", env: { ...envOf(cluster), ...env } });
      processes.push(started);
      return started;
    };
    try {
      const spooling = await start();
      const forgetful = await start({ FAILOVER_SPOOL_SEC: "0" });
      const doomed = await start();
      const all = [spooling, forgetful, doomed];
      const safe = (await Promise.all(all.map((one) => enqueue(one, BEFORE)))).flat();
      await cluster.waitUntilHealthy();

      // From here on no replica hears of anything.
      const primary = await cluster.primary();
      const replicas = await cluster.replicas();
      await Promise.all(replicas.map((replica) => replica.freeze()));
      await primary.command("CLIENT", "KILL", "TYPE", "replica");
      const [ofSpooling = [], ofForgetful = [], ofDoomed = []] = await Promise.all(
        all.map((one) => enqueue(one, UNREPLICATED)),
      );
      await Bun.sleep(FROZEN_MS);
      process.kill(doomed.pid, "SIGKILL");
      const killed = primary.kill();
      for (const replica of replicas) replica.thaw();
      await killed;
      await cluster.waitForFailover(primary, FAILOVER_MS);

      await until(
        "what was lost is back",
        FAILOVER_MS,
        async () => (await replayed(spooling)) === UNREPLICATED,
      );
      expect(await missingOf(spooling, [...safe, ...ofSpooling])).toBe(0);
      expect(await missingOf(spooling, ofForgetful)).toBe(UNREPLICATED);
      expect(await missingOf(spooling, ofDoomed)).toBe(UNREPLICATED);
      expect(await replayed(forgetful)).toBe(0);
      expect(await command(["fsck"], { env: envOf(cluster) })).toMatchObject({ status: 0 });
    } finally {
      await Promise.all(processes.map((one) => one.stop()));
      await cluster.stop();
    }
  },
  LIMIT_MS,
);
