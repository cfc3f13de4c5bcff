/** How long it takes from the sending of an enqueue request to the arrival at the target, while there is little to do. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { HttpConnection } from "../http-connection.ts";
import { postBytes, statusOf } from "../http-framing.ts";
import { ENQUEUE_PATH, enqueueBody } from "../load-shape.ts";
import { preciseNowMs } from "../processes/messages.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { quantile } from "../statistics.ts";
import { startTarget } from "../target.ts";

/** How fast tasks come, and how many of them. */
interface Pace {
  readonly perSec: number;
  readonly warmUp: Readonly<Record<Scale, number>>;
  readonly counted: Readonly<Record<Scale, number>>;
  readonly concurrency: number;
}

/** The default of WORKER_CONCURRENCY. */
const CONCURRENCY = 10;
const LOOK_EVERY_MS = 10;
/** Requests that may be unanswered at once. */
const CONNECTIONS = 64;

/**
 * Sends tasks at a fixed pace, each carrying the instant it was sent at, whether or not the last was answered. Where
 * all connections wait for answers, those that come late for it carry the instant they were to be sent at: a
 * standstill counts for every task that it holds up, and not for the one that met it alone.
 */
async function sendAtPace(port: number, targetUrl: string, total: number, perSec: number): Promise<void> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const idle: HttpConnection[] = [];
  const onResponse = (response: Buffer, connection: HttpConnection) => {
    if (statusOf(response) === 202) idle.push(connection);
    else failed.reject(new Error(`an enqueue was refused: ${response.toString()}`));
  };
  const onEnd = (reason: string) => failed.reject(new Error(reason));
  const opening = Array.from({ length: CONNECTIONS }, () => HttpConnection.open(port, onResponse, onEnd));
  const connections = await Promise.all(opening);
  idle.push(...connections);
  const startMs = preciseNowMs();
  let isLate = false;
  for (let i = 0; i < total; i++) {
    const plannedMs = startMs + (i * 1_000) / perSec;
    const waitMs = plannedMs - preciseNowMs();
    // Timers count whole milliseconds: at a high pace those of one millisecond go together.
    if (waitMs >= 0.5) {
      isLate = false;
      await Promise.race([Bun.sleep(waitMs), failed.promise]);
    }
    // In turn, for a server closes a connection that is never used.
    let connection = idle.shift();
    for (; connection === undefined; connection = idle.shift()) {
      isLate = true;
      await Promise.race([Bun.sleep(1), failed.promise]);
    }
    const body = JSON.stringify({ markMs: isLate ? plannedMs : preciseNowMs() });
    connection.send(postBytes(port, ENQUEUE_PATH, enqueueBody(targetUrl, body)));
  }
  while (idle.length < CONNECTIONS) await Promise.race([Bun.sleep(LOOK_EVERY_MS), failed.promise]);
  for (const connection of connections) connection.close();
}

/** `start` starts what accepts and delivers, and resolves to the port that accepts. */
async function measure(
  room: Room,
  scale: Scale,
  { perSec, warmUp, counted: countedTasks }: Pace,
  start: () => Promise<number>,
): Promise<Measurement> {
  const total = warmUp[scale] + countedTasks[scale];
  const target = await startTarget(room, { expected: total });
  await sendAtPace(await start(), target.url, total, perSec);
  await target.reached;
  const counted = (await target.report()).afterMarkMs.slice(warmUp[scale]);
  return { p50: quantile(counted, 0.5), p99: quantile(counted, 0.99), p999: quantile(counted, 0.999) };
}

const redis = (pace: Pace): Contestant => ({
  name: "Redis store",
  about: "`serve` and `work` on Redis, two processes",
  run: (room, scale) =>
    measure(room, scale, pace, async () => {
      const env = onRedis(await room.startRedis());
      await startTaskRunner(room, "work", { ...env, ...concurrencyOf(pace) });
      return (await startTaskRunner(room, "serve", env)).port;
    }),
});

const embedded = (pace: Pace): Contestant => ({
  name: "embedded store",
  about: "`all` on a SQLite file; accepted, fsynced, claimed and delivered by one process",
  run: (room, scale) =>
    measure(room, scale, pace, async () => (await startTaskRunner(room, "all", concurrencyOf(pace))).port),
});

const bullmq = (pace: Pace): Contestant => ({
  name: "BullMQ",
  about: `\`Queue.add\` behind an Elysia route and a Worker with concurrency ${pace.concurrency}, two processes on such a Redis`,
  run: (room, scale) =>
    measure(room, scale, pace, async () => {
      const store = await room.startRedis();
      await startBullmqWorker(room, store, pace.concurrency);
      return (await startBullmqServer(room, store)).port;
    }),
});

function concurrencyOf({ concurrency }: Pace): Readonly<Record<string, string>> {
  return { WORKER_CONCURRENCY: String(concurrency) };
}

function at(name: string, pace: Pace): Scenario {
  return {
    name,
    title: `Enqueue to delivery at ${pace.perSec.toLocaleString("en")} tasks a second`,
    about:
      "From the instant before the request is written to the instant its task has arrived at a target on this machine; " +
      `concurrency ${pace.concurrency}.`,
    metrics: [
      { name: "p50", title: "p50", unit: "ms", better: "lower" },
      { name: "p99", title: "p99", unit: "ms", better: "lower" },
      { name: "p999", title: "p99.9", unit: "ms", better: "lower" },
    ],
    contestants: [redis(pace), embedded(pace), bullmq(pace)],
    references: ["BullMQ"],
    limitMs: 60_000,
  };
}

export const latencies: readonly Scenario[] = [
  at("latency", {
    perSec: 100,
    warmUp: { full: 300, quick: 20 },
    counted: { full: 1_500, quick: 50 },
    concurrency: CONCURRENCY,
  }),
  // About half of what BullMQ can take and deliver at once on the machine this was written on.
  at("latency-busy", {
    perSec: 2_000,
    warmUp: { full: 4_000, quick: 100 },
    counted: { full: 20_000, quick: 300 },
    concurrency: 100,
  }),
];
