/** How many tasks a second are taken over HTTP before they are acknowledged, one a request. */

import { jobsOn, startBullmqServer } from "../contestants/bullmq.ts";
import { startBunqueueServer } from "../contestants/bunqueue.ts";
import { onRedis, startTaskRunner, tasksOn } from "../contestants/task-runner.ts";
import { CPU_METRICS, meterCpu } from "../cpu-meter.ts";
import { assertKept, type Taking } from "../kept.ts";
import { load } from "../load.ts";
import { ENQUEUE_PATH, enqueueBody, NOWHERE } from "../load-shape.ts";
import type { BullmqClient } from "../processes/bullmq.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";

const TIMES = {
  full: { warmUpMs: 1_500, measureMs: 4_000 },
  quick: { warmUpMs: 100, measureMs: 200 },
} as const;

/** Puts it under load and says what it took. */
type Measure = (room: Room, scale: Scale, taking: Taking) => Promise<Measurement>;

function over(connections: number): Measure {
  return async (room, scale, { pid, port, redis, kept }) => {
    const cpu = await meterCpu(pid, redis ?? null);
    const result = await load(room, {
      port,
      path: ENQUEUE_PATH,
      body: enqueueBody(NOWHERE),
      connections,
      ...TIMES[scale],
    });
    const used = await cpu(result.acknowledged);
    if (redis !== undefined && kept !== undefined) assertKept(await kept(redis), result.acknowledged);
    return { rate: result.perSec, ...used };
  };
}

const redis = (measure: Measure): Contestant => ({
  name: "Redis store",
  about: "`serve` on Redis; a task is acknowledged once the primary has it",
  run: async (room, scale) => {
    const store = await room.startRedis();
    const { pid, port } = await startTaskRunner(room, "serve", onRedis(store));
    return measure(room, scale, { pid, port, redis: store, kept: tasksOn });
  },
});

const embedded = (measure: Measure): Contestant => ({
  name: "embedded store",
  about: "`serve` on a SQLite file; a task is acknowledged once it is fsynced",
  run: async (room, scale) => measure(room, scale, await startTaskRunner(room, "serve")),
});

const bullmqOver =
  (client: BullmqClient, name: string, about: string) =>
  (measure: Measure): Contestant => ({
    name,
    about,
    run: async (room, scale) => {
      const store = await room.startRedis();
      const { pid, port } = await startBullmqServer(room, store, client);
      return measure(room, scale, { pid, port, redis: store, kept: jobsOn });
    },
  });

const bullmq = bullmqOver("ioredis", "BullMQ", "`Queue.add` behind the same Elysia route, on such a Redis");
const bullmqBun = bullmqOver("bun", "BullMQ, Bun's client", "the same over the Redis client built into Bun");

const bunqueue = (measure: Measure): Contestant => ({
  name: "bunqueue",
  about:
    "`queue.add` with `durable: true` behind the same Elysia route, embedded; written to its SQLite file, not fsynced (synchronous=NORMAL)",
  run: async (room, scale) => measure(room, scale, await startBunqueueServer(room)),
});

const limit = (measure: Measure): Contestant => ({
  name: "limit",
  about: "a bare Elysia route that validates the same body and answers the same, and keeps nothing",
  run: async (room, scale) => {
    const helper = await room.startHelper("limit-enqueue", null);
    return measure(room, scale, { pid: helper.pid, port: Number(await helper.event("ready")) });
  },
});

function overConnections(
  name: string,
  connections: number,
  contestants: readonly ((measure: Measure) => Contestant)[],
  references: readonly string[],
): Scenario {
  return {
    name,
    title: `Enqueue over HTTP, ${connections === 1 ? "1 connection" : `${connections} connections`}`,
    about: `One task of a 133-byte payload a request, one request outstanding on each of ${connections} keep-alive connections.`,
    metrics: [{ name: "rate", title: "acknowledged", unit: "/s", better: "higher" }, ...CPU_METRICS],
    contestants: contestants.map((contestant) => contestant(over(connections))),
    references,
    limitMs: 60_000,
  };
}

export const enqueues: readonly Scenario[] = [
  overConnections(
    "enqueue",
    64,
    [redis, embedded, bullmq, bullmqBun, bunqueue, limit],
    ["limit", "BullMQ", "bunqueue"],
  ),
  overConnections("enqueue-1", 1, [redis, embedded, bullmq, limit], ["limit", "BullMQ"]),
  overConnections("enqueue-256", 256, [redis, embedded, bullmq, limit], ["limit", "BullMQ"]),
];
