/** A great many tasks that fall due in the same second: how late the last of them is, for no worker can take all at once. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { enqueueMany } from "../fill.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { quantile } from "../statistics.ts";
import { startTarget } from "../target.ts";

const TASKS = { full: 100_000, quick: 500 } as const;
/** All are handed in before the first is due. */
const AHEAD_MS = { full: 30_000, quick: 500 } as const;
const CONCURRENCY = 100;

async function measure(room: Room, scale: Scale, start: () => Promise<string>): Promise<Measurement> {
  const total = TASKS[scale];
  const target = await startTarget(room, { expected: total });
  const url = await start();
  const dueMs = Date.now() + AHEAD_MS[scale];
  // Spread over the second, each a millisecond or none after the one before it.
  const atMs = (i: number) => dueMs + Math.floor((i * 1_000) / total);
  await enqueueMany(
    url,
    total,
    target.url,
    (i) => ({ scheduled_at: atMs(i) / 1_000 }),
    (i) => JSON.stringify({ markMs: atMs(i) }),
  );
  // A quick run does not wait for long, and may be late on a machine that does other things beside.
  if (scale === "full" && Date.now() > dueMs)
    throw new Error("the first task was due before the last was handed in");
  await target.reached;
  const lateMs = (await target.report()).afterMarkMs;
  return { p50: quantile(lateMs, 0.5), p99: quantile(lateMs, 0.99), earliest: Math.min(...lateMs) };
}

const redis: Contestant = {
  name: "Redis store",
  about: "`serve` and `work` on Redis",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const env = onRedis(await room.startRedis());
      await startTaskRunner(room, "work", { ...env, WORKER_CONCURRENCY: String(CONCURRENCY) });
      return (await startTaskRunner(room, "serve", env)).url;
    }),
};

const embedded: Contestant = {
  name: "embedded store",
  about: "`all` on a SQLite file",
  run: (room, scale) =>
    measure(
      room,
      scale,
      async () => (await startTaskRunner(room, "all", { WORKER_CONCURRENCY: String(CONCURRENCY) })).url,
    ),
};

const bullmq: Contestant = {
  name: "BullMQ",
  about: "`Queue.addBulk` behind an Elysia route and a Worker, on such a Redis",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const store = await room.startRedis();
      await startBullmqWorker(room, store, CONCURRENCY);
      return (await startBullmqServer(room, store)).url;
    }),
};

export const burst: Scenario = {
  name: "burst",
  title: `${TASKS.full.toLocaleString("en")} tasks due in one second`,
  about:
    `Handed in beforehand, due evenly over one second, delivered at concurrency ${CONCURRENCY} to a target that answers at once: ` +
    "how long after its own time each arrives. What cannot be delivered within the second queues up.",
  metrics: [
    { name: "p50", title: "lateness, p50", unit: "ms", better: "lower" },
    { name: "p99", title: "lateness, p99", unit: "ms", better: "lower" },
    { name: "earliest", title: "lateness, least", unit: "ms", better: "lower" },
  ],
  contestants: [redis, embedded, bullmq],
  references: ["BullMQ"],
  limitMs: 180_000,
};
