/** What a task costs Redis, and what a worker costs that has nothing to do. */

import { jobsOn, startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner, tasksOn } from "../contestants/task-runner.ts";
import { load } from "../load.ts";
import { ENQUEUE_PATH, enqueueBody } from "../load-shape.ts";
import { cpuMs } from "../process-use.ts";
import { type BenchRedis, between } from "../redis.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { startTarget } from "../target.ts";

const CONNECTIONS = 64;
const CONCURRENCY = 100;
const LOAD_MS = { full: 1_000, quick: 100 } as const;
const SETTLE_MS = { full: 3_000, quick: 100 } as const;
const WATCH_MS = { full: 20_000, quick: 300 } as const;
const LOOK_EVERY_MS = 50;

/** How a contestant is run on a Redis. */
interface Roles {
  serve(room: Room, redis: BenchRedis): Promise<{ readonly port: number; stop(): Promise<unknown> }>;
  work(room: Room, redis: BenchRedis): Promise<{ readonly pid: number }>;
  kept(redis: BenchRedis): Promise<number>;
}

async function measure(room: Room, scale: Scale, roles: Roles): Promise<Measurement> {
  const redis = await room.startRedis();
  const target = await startTarget(room, { expected: 0 });

  const server = await roles.serve(room, redis);
  const empty = await redis.tally();
  await load(room, {
    port: server.port,
    path: ENQUEUE_PATH,
    body: enqueueBody(target.url),
    connections: CONNECTIONS,
    warmUpMs: 0,
    measureMs: LOAD_MS[scale],
  });
  await server.stop();
  const enqueued = between(empty, await redis.tally());
  const tasks = await roles.kept(redis);

  const full = await redis.tally();
  const worker = await roles.work(room, redis);
  while ((await target.report()).deliveries < tasks) await Bun.sleep(LOOK_EVERY_MS);
  const dispatched = between(full, await redis.tally());

  await Bun.sleep(SETTLE_MS[scale]);
  const cpuBeforeMs = await cpuMs(worker.pid);
  const done = await redis.tally();
  const startMs = performance.now();
  await Bun.sleep(WATCH_MS[scale]);
  const idle = between(done, await redis.tally());
  const watchedMs = performance.now() - startMs;
  const usedMs = (await cpuMs(worker.pid)) - cpuBeforeMs;
  return {
    enqueueSent: enqueued.sent / tasks,
    enqueueExecuted: enqueued.executed / tasks,
    enqueueCpu: (enqueued.cpuMs * 1_000) / tasks,
    dispatchSent: dispatched.sent / tasks,
    dispatchExecuted: dispatched.executed / tasks,
    dispatchCpu: (dispatched.cpuMs * 1_000) / tasks,
    idleSent: (idle.sent * 1_000) / watchedMs,
    idleExecuted: (idle.executed * 1_000) / watchedMs,
    idleCpu: (100 * usedMs) / watchedMs,
  };
}

const redis: Contestant = {
  name: "Redis store",
  about: "`serve`, then `work`",
  run: (room, scale) =>
    measure(room, scale, {
      serve: (_, store) => startTaskRunner(room, "serve", onRedis(store)),
      work: (_, store) =>
        startTaskRunner(room, "work", { ...onRedis(store), WORKER_CONCURRENCY: String(CONCURRENCY) }),
      kept: tasksOn,
    }),
};

const bullmq: Contestant = {
  name: "BullMQ",
  about: "`Queue.add` behind the Elysia route, then a Worker",
  run: (room, scale) =>
    measure(room, scale, {
      serve: startBullmqServer,
      work: (_, store) => startBullmqWorker(room, store, CONCURRENCY),
      kept: jobsOn,
    }),
};

export const redisCost: Scenario = {
  name: "redis-cost",
  title: "What a task and an idle worker cost Redis",
  about:
    `Tasks enqueued over HTTP on ${CONNECTIONS} connections, then delivered at concurrency ${CONCURRENCY}, then nothing for ${WATCH_MS.full / 1_000} s. ` +
    "Sent are commands by clients, a script being one; executed are all, those inside scripts too.",
  metrics: [
    { name: "enqueueSent", title: "enqueue, commands sent", unit: "a task", better: "lower" },
    { name: "enqueueExecuted", title: "enqueue, commands executed", unit: "a task", better: "lower" },
    { name: "enqueueCpu", title: "enqueue, CPU of Redis", unit: "µs a task", better: "lower" },
    { name: "dispatchSent", title: "dispatch, commands sent", unit: "a task", better: "lower" },
    { name: "dispatchExecuted", title: "dispatch, commands executed", unit: "a task", better: "lower" },
    { name: "dispatchCpu", title: "dispatch, CPU of Redis", unit: "µs a task", better: "lower" },
    { name: "idleSent", title: "idle worker, commands sent", unit: "/s", better: "lower" },
    { name: "idleExecuted", title: "idle worker, commands executed", unit: "/s", better: "lower" },
    { name: "idleCpu", title: "idle worker, its own CPU", unit: "%", better: "lower" },
  ],
  contestants: [redis, bullmq],
  references: ["BullMQ"],
  limitMs: 120_000,
};
