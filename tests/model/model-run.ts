/** Runs of random commands on a store and on the model, and what is told of one in which they part. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { inspectAll } from "../../src/core/inspection.ts";
import type { SettingsOf } from "../../src/core/store.ts";
import { isFinal } from "../../src/core/task.ts";
import { look } from "./look.ts";
import { QueueModel } from "./model.ts";
import { administer, administering } from "./steps/administering.ts";
import { consume, consuming } from "./steps/consuming.ts";
import { produce, producing } from "./steps/producing.ts";
import type { Step } from "./steps/step.ts";
import { CLIENTS, HOSTS, QUEUES, WORKERS } from "./values.ts";
import { type OpenModelStore, openWorld, SETTINGS, type World } from "./world.ts";

export interface ModelRuns {
  readonly openStore: OpenModelStore;
  readonly runs: number;
  readonly seed: number;
  /** Where a failure was found, to see it again: with its path, one run is made. */
  readonly path?: string;
  readonly replayPath?: string;
  /** The most commands of a run; 80 unless told, so that it has 40 in the mean. */
  readonly maxCommands?: number;
  /** Whether a failure is looked for in fewer commands, which takes a while; it is unless told. */
  readonly shrinks?: boolean;
  /** Called after each run. */
  readonly onRun?: (run: number) => void;
}

export interface ModelFailure {
  readonly seed: number;
  readonly path: string;
  readonly replayPath: string;
  /** The commands after which the store and the model parted, one a line. */
  readonly commands: string;
  readonly error: Error;
  /** Runs made until it was found. */
  readonly runs: number;
}

const MAX_COMMANDS = 80;

/** Smaller runs that are tried of one that failed. */
const MAX_SHRINKS = 3_000;

/** How often each kind of step comes, by how often its arbitrary is there. */
const STEPS: readonly fc.Arbitrary<Step>[] = Object.entries({
  ...producing,
  ...consuming,
  ...administering,
}).flatMap(([name, arbitrary]) => Array<fc.Arbitrary<Step>>(oftenOf(name)).fill(arbitrary));

function oftenOf(name: string): number {
  const often: Readonly<Record<string, number>> = {
    enqueue: 12,
    claim: 11,
    settle: 7,
    advance: 7,
    rescue: 2,
    holdHost: 2,
    setQueue: 3,
    cancel: 2,
    replay: 2,
    reschedule: 2,
    setClient: 2,
  };
  return often[name] ?? 1;
}

/** Resolves to the first run in which the store was not what the model says, or to null. */
export async function modelRun(options: ModelRuns): Promise<ModelFailure | null> {
  const { openStore, runs, seed, path, replayPath, maxCommands = MAX_COMMANDS, shrinks = true } = options;
  let run = 0;
  const commands = fc.commands([...STEPS], {
    maxCommands,
    size: "max",
    ...(replayPath === undefined ? {} : { replayPath }),
  });
  const property = fc.asyncProperty(fc.limitShrink(commands, MAX_SHRINKS), async (steps) => {
    await inWorld(openStore, (model, real) => fc.asyncModelRun(() => ({ model, real }), steps));
    run += 1;
    options.onRun?.(run);
  });
  const details = await fc.check(property, {
    seed,
    numRuns: runs,
    endOnFailure: !shrinks,
    ...(path === undefined ? {} : { path }),
  });
  if (!details.failed) return null;
  const text = String(details.counterexample?.[0] ?? "");
  return {
    seed: details.seed,
    path: details.counterexamplePath ?? "",
    replayPath: /replayPath="([^"]*)"/.exec(text)?.[1] ?? "",
    commands: text.replace(/\/\*replayPath=.*\*\//, "").replaceAll("),", ")\n"),
    error:
      details.errorInstance instanceof Error
        ? details.errorInstance
        : new Error(String(details.errorInstance)),
    runs: details.numRuns,
  };
}

/** A step by its name and what was chosen for it. */
export type Told = readonly [name: string, chosen: object];

const KINDS: Readonly<Record<string, (chosen: never) => Step>> = { ...produce, ...consume, ...administer };

/** Makes one run of steps that are told; rejects where the store and the model part. */
export function runTold(openStore: OpenModelStore, told: readonly Told[]): Promise<void> {
  return inWorld(openStore, async (model, world) => {
    for (const [name, chosen] of told) {
      const kind = KINDS[name];
      if (kind === undefined) throw new Error(`there is no step ${name}`);
      await kind(chosen as never).run(model, world);
    }
  });
}

async function inWorld(
  openStore: OpenModelStore,
  work: (model: QueueModel, world: World) => Promise<void>,
): Promise<void> {
  const world = await openWorld(openStore);
  try {
    const model = new QueueModel(SETTINGS);
    await begin(model, world);
    await work(model, world);
    await end(model, world);
  } finally {
    await world.close();
  }
}

/** The settings that a store begins with are the model's too; then some that runs are about. */
async function begin(model: QueueModel, world: World): Promise<void> {
  const { limits } = model;
  const store = world.store(0);
  const all = { limit: 1_000 };
  for (const { id, value } of (await store.page("tier", all)).items) limits.tiers.set(id, value);
  for (const { id, value } of (await store.page("queue", all)).items) limits.queues.set(id, value);
  const change = { via: 0, isStale: false };
  for (const step of [
    administer.setTier({ ...change, id: "free", to: { requestsPerMinute: null, maxConcurrent: null } }),
    administer.setTier({ ...change, id: "gold", to: { requestsPerMinute: 4, maxConcurrent: 2 } }),
    administer.setClient({ ...change, id: "eve", to: { tier: "gold" } }),
    administer.setQueue({ ...change, id: "pull", to: { mode: "pull" } }),
  ]) {
    await step.act(model, world);
  }
}

const MAX_ROUNDS = 300;
const ERRAND = { via: 0, limit: 1_000 };

/** Whatever was stopped, lowered, held back or lost: once everything may go on all of it does, and nothing is left over. */
async function end(model: QueueModel, world: World): Promise<void> {
  await assertSound(world);
  const free: Partial<SettingsOf["queue"]> = {
    paused: false,
    maxConcurrent: null,
    maxDispatchesPerSec: null,
    mode: "push",
    afterDeath: "next",
    target: null,
  };
  const change = { via: 1, isStale: false };
  const steps: Step[] = [
    ...HOSTS.map((host) => consume.freeHost({ via: 0, host })),
    ...QUEUES.map((id) => administer.setQueue({ ...change, id, to: free })),
    administer.setTier({ ...change, id: "free", to: { requestsPerMinute: null, maxConcurrent: null } }),
    ...CLIENTS.map((id) =>
      administer.setClient({ ...change, id, to: { enabled: true, overrides: {}, tier: "free" } }),
    ),
    ...QUEUES.map(() => administer.purgeStep({ via: 0, limit: 1_000 })),
  ];
  for (const step of steps) await step.act(model, world);
  await look(model, world.store(0), world.nowMs);
  await forgetDead(model, world);
  await workOff(model, world);
  await sweepAll(model, world);
  await assertSound(world);
}

/** Of ordering keys that are kept for those that died. */
async function forgetDead(model: QueueModel, world: World): Promise<void> {
  const dead = [...model.tasks.values()].filter(({ state }) => state === "dead");
  for (const task of dead) model.drop(task);
  await world.store(0).forget(dead.map(({ given }) => given.id));
  await look(model, world.store(1), world.nowMs);
}

async function workOff(model: QueueModel, world: World): Promise<void> {
  const [worker] = WORKERS;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const claimed = { via: round, worker, limit: 8, leaseMs: 30_000, queue: null, endings: [] };
    await consume.claim(claimed).act(model, world);
    const running = model.leases.filter(({ claimed: { id, fence }, isLost }) => {
      const task = model.tasks.get(id);
      return task?.fence === fence && task.lease !== null && !isLost;
    });
    const endings = running.map((_, pick) => {
      return { pick, isAny: false, verdict: "succeeded" as const, afterMs: 0, followUps: [] };
    });
    if (running.length > 0) await consume.settle({ via: 0, endings }).act(model, world);
    await look(model, world.store(round), world.nowMs);
    const isOver = [...model.tasks.values()].every(({ state, lease }) => isFinal(state) && lease === null);
    if (isOver) return;
    await administer.advance({ via: 0, ms: round % 4 === 3 ? 61_000 : null }).act(model, world);
    await consume.rescue({ ...ERRAND, via: round }).act(model, world);
  }
  assert.fail(`tasks that nobody was handed: ${model.unfinished.map(({ given }) => given.id).join(", ")}`);
}

async function sweepAll(model: QueueModel, world: World): Promise<void> {
  await administer.advance({ via: 0, ms: 200_000 }).act(model, world);
  for (let sweeps = 0; sweeps < 4 && model.tasks.size + model.names.size > 0; sweeps++) {
    await consume.sweep(ERRAND).run(model, world);
    await administer.advance({ via: 0, ms: 31_000 }).act(model, world);
  }
  assert.deepEqual([...model.tasks.keys()], [], "tasks that were not swept");
  assert.deepEqual([...model.names.keys()], [], "names that were not swept");
}

async function assertSound(world: World): Promise<void> {
  const { violations } = await inspectAll(world.store(0));
  assert.deepEqual(violations, [], "what an inspection has found");
}
