/** How many tasks a second are taken over HTTP when callers hand them in by the hundred. */

import { jobsOn, startBullmqServer } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner, tasksOn } from "../contestants/task-runner.ts";
import { CPU_METRICS, meterCpu } from "../cpu-meter.ts";
import { assertKept, type Taking } from "../kept.ts";
import { load } from "../load.ts";
import { BATCH_PATH, enqueueRequest, NOWHERE } from "../load-shape.ts";
import type { BullmqClient } from "../processes/bullmq.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";

const TASKS = 100;
const CONNECTIONS = 8;
const TIMES = {
  full: { warmUpMs: 1_500, measureMs: 4_000 },
  quick: { warmUpMs: 100, measureMs: 500 },
} as const;

async function measure(room: Room, scale: Scale, { pid, port, redis, kept }: Taking): Promise<Measurement> {
  const cpu = await meterCpu(pid, redis ?? null);
  const result = await load(room, {
    port,
    path: BATCH_PATH,
    body: JSON.stringify({ tasks: Array.from({ length: TASKS }, () => enqueueRequest(NOWHERE)) }),
    connections: CONNECTIONS,
    ...TIMES[scale],
  });
  const used = await cpu(result.acknowledged * TASKS);
  if (redis !== undefined && kept !== undefined) assertKept(await kept(redis), result.acknowledged * TASKS);
  return { rate: result.perSec * TASKS, ...used };
}

const redis: Contestant = {
  name: "Redis store",
  about: "`serve` on Redis",
  run: async (room, scale) => {
    const store = await room.startRedis();
    const { pid, port } = await startTaskRunner(room, "serve", onRedis(store));
    return measure(room, scale, { pid, port, redis: store, kept: tasksOn });
  },
};

const embedded: Contestant = {
  name: "embedded store",
  about: "`serve` on a SQLite file; each acknowledged task is fsynced",
  run: async (room, scale) => measure(room, scale, await startTaskRunner(room, "serve")),
};

function bullmqOver(client: BullmqClient, name: string, about: string): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const store = await room.startRedis();
      const { pid, port } = await startBullmqServer(room, store, client);
      return measure(room, scale, { pid, port, redis: store, kept: jobsOn });
    },
  };
}

const bullmq = bullmqOver(
  "ioredis",
  "BullMQ",
  "`Queue.addBulk` behind the same Elysia route, on such a Redis",
);
const bullmqBun = bullmqOver("bun", "BullMQ, Bun's client", "the same over the Redis client built into Bun");

const limit: Contestant = {
  name: "limit",
  about: "a bare Elysia route that validates the same body and answers the same, and keeps nothing",
  run: async (room, scale) => {
    const helper = await room.startHelper("limit-enqueue", null);
    return measure(room, scale, { pid: helper.pid, port: Number(await helper.event("ready")) });
  },
};

export const batch: Scenario = {
  name: "batch",
  title: `Enqueue over HTTP, ${TASKS} tasks a request`,
  about: `Tasks of a 133-byte payload, one request outstanding on each of ${CONNECTIONS} keep-alive connections.`,
  metrics: [{ name: "rate", title: "acknowledged", unit: "tasks/s", better: "higher" }, ...CPU_METRICS],
  contestants: [redis, embedded, bullmq, bullmqBun, limit],
  references: ["limit", "BullMQ"],
  limitMs: 60_000,
};
