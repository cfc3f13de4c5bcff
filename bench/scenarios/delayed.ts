/** How late delayed tasks are on an idle machine, and what it costs while a great many of them wait. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { enqueueMany } from "../fill.ts";
import { ENQUEUE_PATH, enqueueBody } from "../load-shape.ts";
import { cpuMs, residentMiB } from "../process-use.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { quantile } from "../statistics.ts";
import { startTarget } from "../target.ts";

const TIMED = { full: 50, quick: 5 } as const;
const APART_MS = 100;
/** The first falls due this long after all have been handed in, so that none is due at once. */
const AHEAD_MS = 500;
const WAITING = { full: 100_000, quick: 2_000 } as const;
const SETTLE_MS = { full: 2_000, quick: 100 } as const;
const WATCH_MS = { full: 5_000, quick: 500 } as const;
/** The default of WORKER_CONCURRENCY. */
const CONCURRENCY = 10;

async function enqueueTimed(url: string, targetUrl: string, total: number): Promise<void> {
  const startMs = Date.now() + AHEAD_MS;
  for (let i = 0; i < total; i++) {
    // Off the beat of whole hundreds, which a coarse timer might happen to hit.
    const markMs = startMs + i * APART_MS + ((i * 37) % APART_MS);
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: enqueueBody(targetUrl, JSON.stringify({ markMs }), { scheduled_at: markMs / 1_000 }),
    });
    if (answer.status !== 202)
      throw new Error(`an enqueue was refused: ${answer.status} ${await answer.text()}`);
    await answer.text();
  }
}

/** What was started: where tasks are accepted, and the process that delivers them. */
interface Started {
  readonly url: string;
  readonly workerPid: number;
}

async function measure(room: Room, scale: Scale, start: () => Promise<Started>): Promise<Measurement> {
  const target = await startTarget(room, { expected: TIMED[scale] });
  const { url, workerPid } = await start();
  await enqueueTimed(url + ENQUEUE_PATH, target.url, TIMED[scale]);
  await target.reached;
  const lateMs = (await target.report()).afterMarkMs;
  await enqueueMany(url, WAITING[scale], target.url, (i) => ({ delay: 3_600 + (i % 3_600) }));
  await Bun.sleep(SETTLE_MS[scale]);
  const beforeMs = await cpuMs(workerPid);
  await Bun.sleep(WATCH_MS[scale]);
  const usedMs = (await cpuMs(workerPid)) - beforeMs;
  return {
    earliest: Math.min(...lateMs),
    p50: quantile(lateMs, 0.5),
    latest: Math.max(...lateMs),
    cpu: (100 * usedMs) / WATCH_MS[scale],
    memory: await residentMiB(workerPid),
  };
}

const redis: Contestant = {
  name: "Redis store",
  about: "`serve` and `work` on Redis; CPU and memory are those of `work`",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const env = onRedis(await room.startRedis());
      const worker = await startTaskRunner(room, "work", env);
      return { url: (await startTaskRunner(room, "serve", env)).url, workerPid: worker.pid };
    }),
};

const embedded: Contestant = {
  name: "embedded store",
  about: "`all` on a SQLite file",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const { url, pid } = await startTaskRunner(room, "all");
      return { url, workerPid: pid };
    }),
};

const bullmq: Contestant = {
  name: "BullMQ",
  about: "`Queue.add` behind an Elysia route and a Worker, on such a Redis; CPU and memory are the Worker's",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const store = await room.startRedis();
      const worker = await startBullmqWorker(room, store, CONCURRENCY);
      return { url: (await startBullmqServer(room, store)).url, workerPid: worker.pid };
    }),
};

export const delayed: Scenario = {
  name: "delayed",
  title: "Delayed tasks",
  about:
    `${TIMED.full} tasks about ${APART_MS} ms apart on an otherwise idle machine: how long after their time they arrive. ` +
    `Then ${WAITING.full.toLocaleString("en")} tasks wait for an hour: what the process uses meanwhile, of one core and of memory.`,
  metrics: [
    { name: "earliest", title: "lateness, least", unit: "ms", better: "lower" },
    { name: "p50", title: "lateness, p50", unit: "ms", better: "lower" },
    { name: "latest", title: "lateness, most", unit: "ms", better: "lower" },
    { name: "cpu", title: "CPU while waiting", unit: "%", better: "lower" },
    { name: "memory", title: "memory while waiting", unit: "MiB", better: "lower" },
  ],
  contestants: [redis, embedded, bullmq],
  references: ["BullMQ"],
  limitMs: 90_000,
};
