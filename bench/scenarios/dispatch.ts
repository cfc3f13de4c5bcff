/** How many waiting tasks a second one worker claims, delivers and settles. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { startBunqueueServer, startBunqueueWorker } from "../contestants/bunqueue.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { enqueueMany } from "../fill.ts";
import { PAYLOAD } from "../load-shape.ts";
import type { BullmqClient } from "../processes/bullmq.ts";
import type { DispatchLimitOptions } from "../processes/limit-dispatch.ts";
import type { Contestant, Measurement, Scenario } from "../scenario.ts";
import { startTarget, type Target } from "../target.ts";

const CONCURRENCY = 100;
const TASKS = { full: 60_000, quick: 1_000 } as const;

async function measure(target: Target, expected: number): Promise<Measurement> {
  await target.reached;
  const result = await target.report();
  if (result.deliveries !== expected) throw new Error(`${result.deliveries} deliveries of ${expected} tasks`);
  return { rate: result.steadyPerSec };
}

const redis: Contestant = {
  name: "Redis store",
  about: "`work` on a Redis filled beforehand",
  run: async (room, scale) => {
    const target = await startTarget(room, { expected: TASKS[scale] });
    const env = onRedis(await room.startRedis());
    const producer = await startTaskRunner(room, "serve", env);
    await enqueueMany(producer.url, TASKS[scale], target.url);
    await producer.stop();
    await startTaskRunner(room, "work", { ...env, WORKER_CONCURRENCY: String(CONCURRENCY) });
    return measure(target, TASKS[scale]);
  },
};

const embedded: Contestant = {
  name: "embedded store",
  about:
    "`work` on a SQLite file filled beforehand; what was claimed and settled survives the death of the process",
  run: async (room, scale) => {
    const target = await startTarget(room, { expected: TASKS[scale] });
    const producer = await startTaskRunner(room, "serve");
    await enqueueMany(producer.url, TASKS[scale], target.url);
    await producer.stop();
    await startTaskRunner(room, "work", { WORKER_CONCURRENCY: String(CONCURRENCY) });
    return measure(target, TASKS[scale]);
  },
};

function bullmqOver(client: BullmqClient, name: string, about: string): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const target = await startTarget(room, { expected: TASKS[scale] });
      const store = await room.startRedis();
      const producer = await startBullmqServer(room, store, client);
      await enqueueMany(producer.url, TASKS[scale], target.url);
      await producer.stop();
      await startBullmqWorker(room, store, CONCURRENCY, client);
      return measure(target, TASKS[scale]);
    },
  };
}

const bullmq = bullmqOver(
  "ioredis",
  "BullMQ",
  `a Worker with concurrency ${CONCURRENCY} whose processor does the same fetch as the loop, on a Redis filled beforehand`,
);
const bullmqBun = bullmqOver("bun", "BullMQ, Bun's client", "the same over the Redis client built into Bun");

const bunqueue: Contestant = {
  name: "bunqueue",
  about: `an embedded Worker with concurrency ${CONCURRENCY} that pulls 100 at once, the same processor, on a SQLite file of durable jobs filled beforehand`,
  run: async (room, scale) => {
    const target = await startTarget(room, { expected: TASKS[scale] });
    const producer = await startBunqueueServer(room);
    await enqueueMany(producer.url, TASKS[scale], target.url);
    await producer.stop();
    await startBunqueueWorker(room, CONCURRENCY);
    return measure(target, TASKS[scale]);
  },
};

function fetchLoop(name: string, about: string, inFlight: number): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const target = await startTarget(room, { expected: TASKS[scale] });
      const options: DispatchLimitOptions = { url: target.url, body: PAYLOAD, inFlight, total: TASKS[scale] };
      await room.startHelper("limit-dispatch", options);
      return measure(target, TASKS[scale]);
    },
  };
}

/** Bun keeps at most 64 idle connections for its fetch, so this is where a bare loop is fastest. */
const limit = fetchLoop(
  "limit",
  "a bare fetch loop, the same body and target, 64 in flight, where it is fastest",
  64,
);
const asMany = fetchLoop(
  `fetch, ${CONCURRENCY} in flight`,
  "the same loop with as many in flight as the worker has",
  CONCURRENCY,
);

export const dispatch: Scenario = {
  name: "dispatch",
  title: `Dispatch at concurrency ${CONCURRENCY}`,
  about:
    "Claim, POST 133 bytes to a target on this machine that answers at once, settle; the rate over the middle three fifths.",
  metrics: [{ name: "rate", title: "delivered", unit: "/s", better: "higher" }],
  contestants: [redis, embedded, bullmq, bullmqBun, bunqueue, limit, asMany],
  references: ["limit", "BullMQ", "bunqueue"],
  limitMs: 180_000,
};
