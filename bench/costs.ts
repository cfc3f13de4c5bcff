/** What a step of the stores takes in things that do not depend on the machine's mood: commands, and bytes sent and written. */

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClaimedTask, Settlement, TaskStore } from "../src/core/store.ts";
import { systemClock } from "../src/runtime.ts";
import { taskMaker } from "./processes/new-tasks.ts";
import { openStore } from "./processes/stores.ts";
import { BenchRedis } from "./redis.ts";

/** The costs of each step, by its name and theirs. */
export type Costs = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** More than this much beyond what was committed is a step back; as much below it is to be committed. */
export const TOLERANCE = 0.03;

/** Tasks of a step. */
const TASKS = 100;
const MANY_CLIENTS = 100;
const LEASE_MS = 600_000;
const WORKER = "worker-1";
const ROUNDS = 3;

/** What a store has used since it was opened. */
type Use = Readonly<Record<string, number>>;

/** The steps that a store goes through, in this order: one works on what the one before it left. */
function stepsOf(clients: number) {
  const newTask = taskMaker(clients);
  const fill = (store: TaskStore) => store.enqueue(Array.from({ length: TASKS }, newTask));
  const request = { worker: WORKER, limit: TASKS, leaseMs: LEASE_MS };
  let held: readonly ClaimedTask[] = [];
  const among = clients === 1 ? "of one client" : `of ${clients} clients`;
  return [
    // Off the books: what is made once, for a client, a queue or a lane, and scripts that are sent once.
    ["", fill],
    [
      "",
      async (store: TaskStore) => {
        held = (await store.claim(request)).tasks;
        await fill(store);
      },
    ],
    [
      `settle ${TASKS} and claim ${TASKS}, ${among}`,
      async (store: TaskStore) => {
        held = (await store.settleAndClaim(held.map(succeeded), request)).claim.tasks;
        if (held.length !== TASKS) throw new Error(`${held.length} tasks were claimed, not ${TASKS}`);
      },
    ],
    [`enqueue ${TASKS}, ${among}`, fill],
    ["", (store: TaskStore) => store.extend(held.map(leaseOf), LEASE_MS)],
    [`extend ${TASKS} leases`, (store: TaskStore) => store.extend(held.map(leaseOf), LEASE_MS)],
    [
      "",
      async (store: TaskStore) => {
        for (; held.length > 0; held = (await store.claim(request)).tasks) {
          await store.settle(held.map(succeeded));
        }
      },
    ],
    ["look and find nothing", (store: TaskStore) => store.claim(request)],
    ["enqueue 1", (store: TaskStore) => store.enqueue([newTask()])],
  ] as const;
}

function leaseOf({ id, fence }: ClaimedTask) {
  return { taskId: id, fence };
}

function succeeded(task: ClaimedTask): Settlement {
  const attempt = {
    number: task.attempt,
    startedAtMs: task.scheduledAtMs,
    durationMs: 5,
    status: 200,
    error: null,
    responseExcerpt: "ok",
    worker: WORKER,
  };
  return { lease: leaseOf(task), verdict: { kind: "succeeded" }, attempt };
}

async function measured(store: TaskStore, use: () => Promise<Use>, clients: number): Promise<Costs> {
  const costs: Record<string, Use> = {};
  for (const [name, run] of stepsOf(clients)) {
    const before = await use();
    await run(store);
    const after = await use();
    if (name !== "") costs[name] = difference(before, after);
  }
  return costs;
}

function difference(before: Use, after: Use): Use {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
  );
}

/** The least of several rounds: where a step meets the end of a span of time it does a little more. */
async function onRedis(dir: string, clients: number): Promise<Costs> {
  const rounds: Costs[] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await onOneRedis(dir, clients));
  const [first = {}] = rounds;
  const least = (step: string, unit: string) =>
    Math.min(...rounds.map((costs) => costs[step]?.[unit] ?? Number.NaN));
  return Object.fromEntries(
    Object.entries(first).map(([step, use]) => [
      step,
      Object.fromEntries(Object.keys(use).map((unit) => [unit, least(step, unit)])),
    ]),
  );
}

/** The costs on a Redis of its own, in the directory. */
async function onOneRedis(dir: string, clients: number): Promise<Costs> {
  const redis = await BenchRedis.start(await mkdtemp(join(dir, "redis-")));
  try {
    const store = await openStore({ redisUrl: redis.url });
    // Asking costs something itself.
    const asking = difference(await redis.traffic(), await redis.traffic());
    const costs = await measured(store, () => redis.traffic(), clients);
    await store.close();
    return Object.fromEntries(
      Object.entries(costs).map(([step, use]) => [`Redis: ${step}`, difference(asking, use)]),
    );
  } finally {
    await redis.stop();
  }
}

/** The costs on a SQLite file in the directory. */
async function onSqlite(dir: string, clients: number): Promise<Costs> {
  const place = await mkdtemp(join(dir, "sqlite-"));
  // Each look at the time finds it later: whether two steps fall into one millisecond would decide what is written.
  let nowMs = Date.now();
  const store = await openStore({ dir: place }, { ...systemClock, now: () => ++nowMs });
  const use = async () => ({ "bytes written": (await stat(join(place, "bench.db-wal"))).size });
  const costs = await measured(store, use, clients);
  await store.close();
  return Object.fromEntries(Object.entries(costs).map(([step, cost]) => [`SQLite: ${step}`, cost]));
}

/** All costs of this tree; takes a second or two. */
export async function measureCosts(): Promise<Costs> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-costs-"));
  try {
    // The later ones win: what is not of many clients is measured with one.
    return {
      ...(await onRedis(dir, MANY_CLIENTS)),
      ...(await onRedis(dir, 1)),
      ...(await onSqlite(dir, MANY_CLIENTS)),
      ...(await onSqlite(dir, 1)),
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const COMMITTED = join(import.meta.dir, "costs.json");

/** The costs that were committed. */
export async function committedCosts(): Promise<Costs> {
  return (await Bun.file(COMMITTED).json()) as Costs;
}

if (import.meta.main) {
  await Bun.write(COMMITTED, `${JSON.stringify(await measureCosts(), null, 2)}\n`);
  process.exit(0);
}
