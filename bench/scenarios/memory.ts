/** What each role holds in memory, before and after it has had much to do. */

import { startBullmqServer, startBullmqWorker } from "../contestants/bullmq.ts";
import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { load } from "../load.ts";
import { ENQUEUE_PATH, enqueueBody } from "../load-shape.ts";
import { residentMiB } from "../process-use.ts";
import type { Room } from "../room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "../scenario.ts";
import { startTarget } from "../target.ts";

const CONNECTIONS = 64;
const CONCURRENCY = 100;
const SETTLE_MS = { full: 2_000, quick: 100 } as const;
const LOAD_MS = { full: 8_000, quick: 200 } as const;

/** What was started: where tasks are accepted, and the process to look at. */
interface Started {
  readonly port: number;
  readonly pid: number;
}

async function measure(room: Room, scale: Scale, start: () => Promise<Started>): Promise<Measurement> {
  const target = await startTarget(room, { expected: 0 });
  const { port, pid } = await start();
  await Bun.sleep(SETTLE_MS[scale]);
  const idle = await residentMiB(pid);
  await load(room, {
    port,
    path: ENQUEUE_PATH,
    body: enqueueBody(target.url),
    connections: CONNECTIONS,
    warmUpMs: 0,
    measureMs: LOAD_MS[scale],
  });
  return { idle, busy: await residentMiB(pid) };
}

/** Both roles on one Redis, of which one is looked at. */
function onOneRedis(looked: "serve" | "work"): Contestant {
  return {
    name: `Redis store, ${looked}`,
    about: `\`${looked}\`, with the other role beside it`,
    run: (room, scale) =>
      measure(room, scale, async () => {
        const env = { ...onRedis(await room.startRedis()), WORKER_CONCURRENCY: String(CONCURRENCY) };
        const worker = await startTaskRunner(room, "work", env);
        const server = await startTaskRunner(room, "serve", env);
        return { port: server.port, pid: (looked === "serve" ? server : worker).pid };
      }),
  };
}

const embedded: Contestant = {
  name: "embedded store, all",
  about: "`all` on a SQLite file",
  run: (room, scale) =>
    measure(room, scale, () => startTaskRunner(room, "all", { WORKER_CONCURRENCY: String(CONCURRENCY) })),
};

const bullmq: Contestant = {
  name: "BullMQ, worker",
  about: "a Worker, with `Queue.add` behind an Elysia route beside it",
  run: (room, scale) =>
    measure(room, scale, async () => {
      const store = await room.startRedis();
      const { pid } = await startBullmqWorker(room, store, CONCURRENCY);
      return { port: (await startBullmqServer(room, store)).port, pid };
    }),
};

export const memory: Scenario = {
  name: "memory",
  title: "Memory of a process",
  about:
    `What it holds ${SETTLE_MS.full / 1_000} s after its start, and at the end of ${LOAD_MS.full / 1_000} s in which ${CONNECTIONS} ` +
    `connections hand in as many tasks as are taken and a worker delivers them at concurrency ${CONCURRENCY}.`,
  metrics: [
    { name: "idle", title: "idle", unit: "MiB", better: "lower" },
    { name: "busy", title: "busy", unit: "MiB", better: "lower" },
  ],
  contestants: [onOneRedis("serve"), onOneRedis("work"), embedded, bullmq],
  references: ["BullMQ, worker"],
  limitMs: 60_000,
};
