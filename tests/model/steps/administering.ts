/** What administrators do: limits and rules changed, queues emptied; and what befalls everybody: time, and a new start. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Client, newClient, type Tier } from "../../../src/core/client.ts";
import { DEFAULT_QUEUE, newQueue, type Queue } from "../../../src/core/queue.ts";
import type { AuditEntry, SettingsKind, SettingsOf } from "../../../src/core/store.ts";
import { isWaiting } from "../../../src/core/task.ts";
import { listAll } from "../look.ts";
import { client, queue, via } from "../values.ts";
import { type Chosen, type Scene, type Step, step } from "./step.ts";

interface Change<V> extends Chosen {
  readonly id: string;
  /** What is changed of it; null removes it. */
  readonly to: Partial<V> | null;
  /** Whether it is a change of what it no longer is: then nothing is done. */
  readonly isStale: boolean;
}

function entryOf(action: string, subject: string, nowMs: number): AuditEntry {
  return { atMs: nowMs, actor: "open", action, subject, before: null, after: null };
}

/** Makes the change in the store, and says whether it holds. */
async function alter<K extends SettingsKind>(
  kind: K,
  { id, isStale }: Change<SettingsOf[K]>,
  known: SettingsOf[K] | undefined,
  value: SettingsOf[K] | null,
  { store, nowMs }: Scene,
): Promise<boolean> {
  const kept = await store.read(kind, id);
  assert.deepEqual(kept?.value, known, `the ${kind} ${id}`);
  const from = kept?.revision ?? null;
  const entry = entryOf(`${kind}s.set`, id, nowMs);
  const isDone = await store.change({ kind, id, from: isStale ? (from ?? 0) + 1_000 : from, value }, entry);
  assert.equal(isDone, !isStale, `a change of the ${kind} ${id} is done`);
  const after = (await store.read(kind, id))?.revision ?? null;
  if (isStale) assert.equal(after, from, `the revision of the ${kind} ${id}`);
  else if (from !== null) assert.notEqual(after, from, `the revision of the ${kind} ${id}`);
  return isDone;
}

const setClient = step<Change<Client>>("setClient", async (chosen, scene) => {
  const { limits } = scene.model;
  const known = limits.clients.get(chosen.id);
  const value = chosen.to === null ? null : { ...(known ?? newClient("free", 17)), ...chosen.to };
  if (await alter("client", chosen, known, value, scene)) limits.setClient(chosen.id, value);
});

const setQueue = step<Change<Queue>>(
  "setQueue",
  async (chosen, scene) => {
    const { model, nowMs } = scene;
    const known = model.limits.queues.get(chosen.id);
    const value = chosen.to === null ? null : { ...(known ?? newQueue(17)), ...chosen.to };
    if (!(await alter("queue", chosen, known, value, scene))) return;
    model.limits.setQueue(chosen.id, value, nowMs);
    const isElsewhere = known?.target?.url !== value?.target?.url || known?.mode !== value?.mode;
    // What was set aside for a host that its queue no longer calls comes back in whatever order.
    if (isElsewhere && model.holds.size > 0)
      for (const task of model.unfinished) if (task.given.queue === chosen.id) task.isLoose = true;
  },
  // The queue of tasks that name none is always there: nobody can delete it.
  ({ id, to }) => to !== null || id !== DEFAULT_QUEUE,
);

const setTier = step<Change<Tier>>("setTier", async (chosen, scene) => {
  const { limits } = scene.model;
  const known = limits.tiers.get(chosen.id);
  const value =
    chosen.to === null ? null : { requestsPerMinute: null, maxConcurrent: null, ...known, ...chosen.to };
  if (!(await alter("tier", chosen, known, value, scene))) return;
  if (value === null) limits.tiers.delete(chosen.id);
  else limits.tiers.set(chosen.id, value);
});

const purge = step<Chosen & { readonly queue: string }>(
  "purge",
  async ({ queue: name }, { model, store, nowMs }) => {
    await store.purge(name, entryOf("queues.purge", name, nowMs));
    model.purge(name, nowMs);
  },
);

const purgeStep = step<Chosen & { readonly limit: number }>(
  "purgeStep",
  async ({ limit }, { model, store }) => {
    const progress = await store.purgeStep(limit);
    if (progress === null) {
      assert.equal(model.purges.size, 0, "purges that nobody goes on with");
      return;
    }
    const { queue: name, startedAtMs, removed, share } = progress;
    const known = model.purges.get(name);
    assert.ok(known !== undefined, `a purge of ${name} went on, and was not asked for`);
    assert.equal(startedAtMs, known.startedAtMs, `when the purge of ${name} began`);
    for (const other of model.purges.values())
      assert.ok(other.startedAtMs >= startedAtMs, `the purge of ${name} is not the oldest`);
    assert.ok(share >= known.share && share <= 1, `the share of the purge of ${name}: ${share}`);
    const there = new Set((await listAll(store)).map(({ id }) => id));
    const gone = [...model.tasks.values()].filter(({ given }) => !there.has(given.id));
    for (const task of gone) {
      const { id } = task.given;
      const isMeant: boolean = known.marked.has(id) || known.excused.has(id);
      assert.ok(isMeant && isWaiting(task.state), `task ${id} is none to be purged, and is gone`);
      model.remove(task);
    }
    assert.equal(removed, known.removed + gone.length, `tasks removed by the purge of ${name}`);
    Object.assign(known, { removed, share });
    if (share < 1) return;
    const left = [...known.marked].filter((id) => isWaiting(model.tasks.get(id)?.state ?? "dead"));
    assert.deepEqual(left, [], `tasks that the purge of ${name} has left`);
    model.purges.delete(name);
  },
);

interface Advance extends Chosen {
  /** Null for the next time at which anything happens. */
  readonly ms: number | null;
}

const advance = step<Advance>("advance", async ({ ms }, { model, world, nowMs }) => {
  const times = [
    ...model.unfinished.map(({ dueMs }) => dueMs),
    ...[...model.tasks.values()].map(({ lease }) => lease?.untilMs ?? 0),
    ...[...model.holds.values()].map(({ nextMs }) => nextMs),
  ].filter((atMs) => atMs > nowMs);
  const nextMs = times.length === 0 ? nowMs + 1_000 : Math.min(...times);
  await world.clock.advance(ms ?? nextMs - nowMs);
});

const reopen = step<Chosen>("reopen", ({ via: handle }, { world }) => world.reopen(handle));

const isStale = fc.constantFrom(false, false, false, false, false, true);
const some = <T>(...values: readonly T[]) => fc.constantFrom(...values);

const queueChange: fc.Arbitrary<Partial<Queue> | null> = fc.oneof(
  some(true, false).map((paused) => ({ paused })),
  some(true, true, false).map((enabled) => ({ enabled })),
  some(null, 1, 2, 3).map((maxConcurrent) => ({ maxConcurrent })),
  fc.record({ maxDispatchesPerSec: some(null, 0.1, 0.5, 2), maxBurst: some(null, 1, 3) }),
  some(1, 2, 5).map((weight) => ({ weight })),
  some<Queue["mode"]>("push", "pull").map((mode) => ({ mode })),
  some<Queue["afterDeath"]>("next", "hold").map((afterDeath) => ({ afterDeath })),
  some(null, 0, 15_000).map((retentionSucceededMs) => ({ retentionSucceededMs })),
  some(null, 0, 15_000).map((retentionDeadMs) => ({ retentionDeadMs })),
  some(null, { url: "http://h1.test/all" }, { headers: { a: "b" } }).map((target) => ({ target })),
  fc.constant(null),
);

const clientChange: fc.Arbitrary<Partial<Client> | null> = fc.oneof(
  some(true, true, false).map((enabled) => ({ enabled })),
  some<Client["overrides"]>({}, { maxConcurrent: null }, { maxConcurrent: 0 }, { maxConcurrent: 2 }).map(
    (overrides) => ({ overrides }),
  ),
  some<Client["overrides"]>({}, { requestsPerMinute: 0 }, { requestsPerMinute: 3 }).map((overrides) => ({
    overrides,
  })),
  some("free", "gold", "nowhere").map((tier) => ({ tier })),
  some(null, null, ["default"]).map((allowedQueues) => ({ allowedQueues })),
  fc.constant(null),
);

const limit = some(null, null, 0, 1, 2, 5);
const tierChange: fc.Arbitrary<Partial<Tier> | null> = fc.oneof(
  limit.map((maxConcurrent) => ({ maxConcurrent })),
  limit.map((requestsPerMinute) => ({ requestsPerMinute })),
);

export const administering = {
  setClient: fc.record({ via, id: client, to: clientChange, isStale }).map(setClient),
  setQueue: fc.record({ via, id: queue, to: queueChange, isStale }).map(setQueue),
  setTier: fc
    .oneof(
      fc.record({ via, id: fc.constant("free"), to: tierChange, isStale }),
      fc.record({ via, id: fc.constant("gold"), to: fc.oneof(tierChange, fc.constant(null)), isStale }),
    )
    .map(setTier),
  purge: fc.record({ via, queue }).map(purge),
  purgeStep: fc.record({ via, limit: some(2, 5, 100) }).map(purgeStep),
  advance: fc
    .record({
      via,
      ms: some<number | null>(null, null, null, 1, 50, 999, 1_000, 5_000, 21_000, 61_000, 130_000),
    })
    .map(advance),
  reopen: fc.record({ via }).map(reopen),
} satisfies Record<string, fc.Arbitrary<Step>>;

/** The same as steps, by their names. */
export const administer = { setClient, setQueue, setTier, purge, purgeStep, advance, reopen };
