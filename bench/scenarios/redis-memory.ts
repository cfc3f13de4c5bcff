/** How much of Redis' memory a waiting task takes. */

import { jobsOn, startBullmqServer } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner, tasksOn } from "../contestants/task-runner.ts";
import { enqueueMany } from "../fill.ts";
import { NOWHERE } from "../load-shape.ts";
import type { BenchRedis } from "../redis.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";

const TASKS = { full: 200_000, quick: 5_000 } as const;
const SPREAD_SEC = 3_600;

interface Producer {
  readonly url: string;
  stop(): Promise<unknown>;
}

/** Fills one Redis with ready and another with delayed tasks; each is counted from the moment it was empty. */
async function measure(
  room: Room,
  scale: Scale,
  start: (redis: BenchRedis) => Promise<Producer>,
  kept: (redis: BenchRedis) => Promise<number>,
): Promise<Measurement> {
  const total = TASKS[scale];
  const bytesOf = async (more: (i: number) => Readonly<Record<string, unknown>>) => {
    const redis = await room.startRedis();
    const before = await redis.dataBytes();
    const producer = await start(redis);
    await enqueueMany(producer.url, total, NOWHERE, more);
    await producer.stop();
    const count = await kept(redis);
    if (count !== total) throw new Error(`${total} tasks were acknowledged, ${count} are kept`);
    const bytes = (await redis.dataBytes()) - before;
    await redis.stop();
    return bytes / total;
  };
  return {
    ready: await bytesOf(() => ({})),
    // One after the other through the hour, and not in order, as they come.
    delayed: await bytesOf((i) => ({ delay: 60 + ((i * 7_919) % (SPREAD_SEC * 10)) / 10 })),
  };
}

const redis: Contestant = {
  name: "Redis store",
  about: "its tasks",
  run: (room, scale) =>
    measure(room, scale, (store) => startTaskRunner(room, "serve", onRedis(store)), tasksOn),
};

const bullmq: Contestant = {
  name: "BullMQ",
  about: "jobs with the same target as their data, no options but the delay",
  run: (room, scale) => measure(room, scale, (store) => startBullmqServer(room, store), jobsOn),
};

export const redisMemory: Scenario = {
  name: "redis-memory",
  title: "Redis memory of a waiting task",
  about:
    `${TASKS.full.toLocaleString("en")} waiting tasks of a 133-byte payload with its URL and content type, ready or spread over an hour; ` +
    "all that Redis holds more than when it was empty, without the buffers of clients and of the append-only file.",
  metrics: [
    { name: "ready", title: "ready", unit: "bytes", better: "lower" },
    { name: "delayed", title: "delayed", unit: "bytes", better: "lower" },
  ],
  contestants: [redis, bullmq],
  references: ["BullMQ"],
  limitMs: 180_000,
};
