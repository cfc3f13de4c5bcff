/** The proof for a worker on Redis that dies in the middle of its batch: its tasks run elsewhere, and it costs them nothing. */

import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";
import { startRedis, until } from "../support/redis.ts";
import { startTarget } from "../support/target.ts";
import { wait } from "./failover-faults.ts";
import { seeded } from "./kill-round.ts";

export interface WorkerDeathReport {
  /** Tasks that the dead worker was delivering. */
  readonly held: number;
  /** Those of them that nobody delivered again. */
  readonly lost: readonly string[];
  /** From the kill until the last of them was delivered again. */
  readonly recoveredMs: number;
  /** Those that were charged an attempt for it, or whose crash was not counted once. */
  readonly charged: readonly string[];
  /** Delivered twice although the dead worker did not have them. */
  readonly unexplained: readonly string[];
}

const CONCURRENCY = 20;
const TASKS = 60;
const START_MS = 10_000;
const MAX_BEFORE_KILL_MS = 1_500;
const GIVE_UP_MS = 15_000;

/** Runs one round; rejects only when the round itself could not be run. */
export async function workerDeathRound(seed: number, leaseSec: number): Promise<WorkerDeathReport> {
  const random = seeded(seed);
  const redis = await startRedis({ password: "worker-death" });
  let dead = false;
  // What the doomed worker sends is never answered.
  const target = await startTarget(() => (dead ? 200 : "never"));
  const processes = new Set<AppProcess>();
  const start = async (command: "serve" | "work") => {
    const started = await startApp({
      command,
      env: {
        STORE_URL: redis.url,
        ALLOW_PRIVATE_URLS: "true",
        WORKER_CONCURRENCY: String(CONCURRENCY),
        LEASE_SEC: String(leaseSec),
      },
    });
    processes.add(started);
    return started;
  };
  const timesOf = (id: string) => target.requestsFor(id).length;
  try {
    const [api, doomed] = await Promise.all([start("serve"), start("work")]);
    await liftLimits(api.url);
    await until("the API takes tasks", START_MS, () => enqueue(api, target.url));
    for (let nth = 1; nth < TASKS; nth++) await enqueue(api, target.url);
    await until("the worker has its hands full", START_MS, () => target.requests.length >= CONCURRENCY);
    const held = new Set(target.requests.flatMap(({ taskId }) => (taskId === null ? [] : [taskId])));
    await wait(random() * MAX_BEFORE_KILL_MS);

    process.kill(doomed.pid, "SIGKILL");
    const killedAt = performance.now();
    dead = true;
    await doomed.exited;
    processes.delete(doomed);
    await start("work");
    const all = () => [...held].every((id) => timesOf(id) > 1) && target.requests.length >= TASKS + held.size;
    await until("every task was delivered", leaseSec * 1_000 + GIVE_UP_MS, all).catch(() => false);
    const recoveredMs = Math.round(performance.now() - killedAt);

    const charged: string[] = [];
    for (const id of held) {
      const settled = await until(`task ${id} has ended`, 5_000, async () => {
        const task = await read(api, id);
        return task.state === "succeeded" && task;
      }).catch(() => read(api, id));
      if (settled.counts.attempts !== 1 || settled.counts.crashes !== 1) charged.push(id);
    }
    const ids = new Set(target.requests.map(({ taskId }) => taskId ?? ""));
    return {
      held: held.size,
      lost: [...held].filter((id) => timesOf(id) < 2),
      recoveredMs,
      charged,
      unexplained: [...ids].filter((id) => timesOf(id) > (held.has(id) ? 2 : 1)),
    };
  } finally {
    await Promise.all([...processes].map((each) => each.stop()));
    await target.stop();
    await redis.stop();
  }
}

interface ShownTask {
  readonly state: string;
  readonly counts: { readonly attempts: number; readonly crashes: number };
}

async function read({ url }: AppProcess, id: string): Promise<ShownTask> {
  return (await (await fetch(`${url}/v1/tasks/${id}`)).json()) as ShownTask;
}

/** Whether the task was taken. */
async function enqueue({ url }: AppProcess, target: string): Promise<boolean> {
  const answer = await fetch(`${url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_id: "failover", task: { url: target } }),
  });
  await answer.arrayBuffer();
  return answer.status === 202;
}
