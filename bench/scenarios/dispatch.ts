/** How many waiting tasks a second one worker claims, delivers and settles. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { startBunqueueServer, startBunqueueWorker } from "../contestants/bunqueue.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { CPU_METRICS, meterCpu } from "../cpu-meter.ts";
import { enqueueMany } from "../fill.ts";
import { PAYLOAD } from "../load-shape.ts";
import type { BullmqClient } from "../processes/bullmq.ts";
import type { DispatchLimitOptions } from "../processes/limit-dispatch.ts";
import type { TargetOptions } from "../processes/target.ts";
import { type BenchRedis, between } from "../redis.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { startTarget, type Target } from "../target.ts";

/** What is dispatched, and to whom. */
interface Work {
  readonly concurrency: number;
  readonly tasks: Readonly<Record<Scale, number>>;
  /** How long the target takes to answer, in milliseconds. */
  readonly answerAfterMs: number;
}

function targetOf({ tasks, answerAfterMs }: Work, scale: Scale): TargetOptions {
  return { expected: tasks[scale], answerAfterMs };
}

/** `start` starts the worker, null where it cannot be asked; `redis` is where the tasks are, if there is one. */
async function measure(
  target: Target,
  expected: number,
  start: () => Promise<{ readonly pid: number } | null>,
  redis: BenchRedis | null = null,
): Promise<Measurement> {
  const before = await redis?.tally();
  const worker = await start();
  const cpu = worker === null ? null : await meterCpu(worker.pid, null);
  await target.reached;
  const used = await cpu?.(expected);
  const after = await redis?.tally();
  const result = await target.report();
  if (result.deliveries !== expected) throw new Error(`${result.deliveries} deliveries of ${expected} tasks`);
  return {
    rate: result.steadyPerSec,
    ...used,
    ...(before !== undefined &&
      after !== undefined && { cpuRedis: (between(before, after).cpuMs * 1_000) / expected }),
  };
}

const redis = (work: Work): Contestant => ({
  name: "Redis store",
  about: "`work` on a Redis filled beforehand",
  run: async (room, scale) => {
    const target = await startTarget(room, targetOf(work, scale));
    const store = await room.startRedis();
    const env = onRedis(store);
    const producer = await startTaskRunner(room, "serve", env);
    await enqueueMany(producer.url, work.tasks[scale], target.url);
    await producer.stop();
    const start = () =>
      startTaskRunner(room, "work", { ...env, WORKER_CONCURRENCY: String(work.concurrency) });
    return measure(target, work.tasks[scale], start, store);
  },
});

const embedded = (work: Work): Contestant => ({
  name: "embedded store",
  about:
    "`work` on a SQLite file filled beforehand; what was claimed and settled survives the death of the process",
  run: async (room, scale) => {
    const target = await startTarget(room, targetOf(work, scale));
    const producer = await startTaskRunner(room, "serve");
    await enqueueMany(producer.url, work.tasks[scale], target.url);
    await producer.stop();
    const start = () => startTaskRunner(room, "work", { WORKER_CONCURRENCY: String(work.concurrency) });
    return measure(target, work.tasks[scale], start);
  },
});

const bullmqOver =
  (client: BullmqClient, name: string, about: (work: Work) => string) =>
  (work: Work): Contestant => ({
    name,
    about: about(work),
    run: async (room, scale) => {
      const target = await startTarget(room, targetOf(work, scale));
      const store = await room.startRedis();
      const producer = await startBullmqServer(room, store, client);
      await enqueueMany(producer.url, work.tasks[scale], target.url);
      await producer.stop();
      const start = () => startBullmqWorker(room, store, work.concurrency, client);
      return measure(target, work.tasks[scale], start, store);
    },
  });

const bullmq = bullmqOver(
  "ioredis",
  "BullMQ",
  ({ concurrency }) =>
    `a Worker with concurrency ${concurrency} whose processor does the same fetch as the loop, on a Redis filled beforehand`,
);
const bullmqBun = bullmqOver(
  "bun",
  "BullMQ, Bun's client",
  () => "the same over the Redis client built into Bun",
);

const bunqueue = (work: Work): Contestant => ({
  name: "bunqueue",
  about: `an embedded Worker with concurrency ${work.concurrency} that pulls 100 at once, the same processor, on a SQLite file of durable jobs filled beforehand`,
  run: async (room, scale) => {
    const target = await startTarget(room, targetOf(work, scale));
    const producer = await startBunqueueServer(room);
    await enqueueMany(producer.url, work.tasks[scale], target.url);
    await producer.stop();
    return measure(target, work.tasks[scale], () => startBunqueueWorker(room, work.concurrency));
  },
});

const fetchLoop =
  (name: (inFlight: number) => string, about: string, inFlight?: number) =>
  (work: Work): Contestant => ({
    name: name(inFlight ?? work.concurrency),
    about,
    run: async (room, scale) => {
      const target = await startTarget(room, targetOf(work, scale));
      const options: DispatchLimitOptions = {
        url: target.url,
        body: PAYLOAD,
        inFlight: inFlight ?? work.concurrency,
        total: work.tasks[scale],
      };
      return measure(target, work.tasks[scale], async () => {
        // It ends when it is done, so that what it used cannot be asked for.
        await room.startHelper("limit-dispatch", options);
        return null;
      });
    },
  });

/** Bun keeps at most 64 idle connections for its fetch, so this is where a bare loop is fastest. */
const limit = fetchLoop(
  () => "limit",
  "a bare fetch loop, the same body and target, 64 in flight, where it is fastest",
  64,
);
const asMany = fetchLoop(
  (inFlight) => `fetch, ${inFlight} in flight`,
  "the same loop with as many in flight as the worker has",
);
/** Where the target takes its time nothing is faster than all slots in use. */
const slots = fetchLoop(
  () => "limit",
  "a bare fetch loop, the same body and target, as many in flight as the worker has",
);

function at(
  name: string,
  work: Work,
  contestants: readonly ((work: Work) => Contestant)[],
  references: readonly string[],
): Scenario {
  const { concurrency, answerAfterMs } = work;
  const pace = answerAfterMs === 0 ? "at once" : `after ${answerAfterMs} ms`;
  return {
    name,
    title: `Dispatch at concurrency ${concurrency}${answerAfterMs === 0 ? "" : `, a target that takes ${answerAfterMs} ms`}`,
    about: `Claim, POST 133 bytes to a target on this machine that answers ${pace}, settle; the rate over the middle three fifths.`,
    metrics: [{ name: "rate", title: "delivered", unit: "/s", better: "higher" }, ...CPU_METRICS],
    contestants: contestants.map((contestant) => contestant(work)),
    references,
    limitMs: 180_000,
  };
}

const INSTANT = { tasks: { full: 60_000, quick: 1_000 }, answerAfterMs: 0 } as const;
const ANSWER_AFTER_MS = 50;

export const dispatches: readonly Scenario[] = [
  at(
    "dispatch",
    { ...INSTANT, concurrency: 100 },
    [redis, embedded, bullmq, bullmqBun, bunqueue, limit, asMany],
    ["limit", "BullMQ", "bunqueue"],
  ),
  at("dispatch-10", { ...INSTANT, concurrency: 10 }, [redis, embedded, bullmq, slots], ["limit", "BullMQ"]),
  at(
    "dispatch-1000",
    { ...INSTANT, concurrency: 1_000 },
    [redis, embedded, bullmq, slots],
    ["limit", "BullMQ"],
  ),
  at(
    "dispatch-slow",
    { concurrency: 100, tasks: { full: 10_000, quick: 500 }, answerAfterMs: ANSWER_AFTER_MS },
    [redis, embedded, bullmq, slots],
    ["limit", "BullMQ"],
  ),
];
