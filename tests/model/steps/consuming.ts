/** What workers and consumers do: claims, settlements, renewals, and what becomes of the leases of those that died. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Claim, ClaimRequest, LostLease, Settlement } from "../../../src/core/store.ts";
import { attemptOf } from "../../support/tasks.ts";
import { acceptClaim, assertNothingLeft, assertProbed } from "../claims.ts";
import { listAll, observeKeys } from "../look.ts";
import type { ModelLease, QueueModel } from "../model.ts";
import { delayMs, host, pick, picked, queue, via, WORKERS, worker } from "../values.ts";
import { taskOf, type Wanted, wanted } from "./producing.ts";
import { type Chosen, type Scene, type Step, step } from "./step.ts";

/** Claims that find less than they asked for and say that there is more, before that must be true. */
const MAX_CLAIMS = 10;
/** What a worker remembers of leases may be so old that a rescue is not asked for yet (store/redis/errands.ts). */
const RESCUED_WITHIN_MS = 1_500;
/** Leases and names looked at by one errand: of so few that nothing is left to the next. */
const MANY = 1_000;
/** Ended leases that a step may mean. */
const MAX_OLD = 12;
/** A host that has been due for so long is let go when another is held back. */
const FORGET_HOST_MS = 3_600_000;

export interface Ending {
  readonly pick: number;
  /** Of all leases, also of those that are lost, over or were never heard of again. */
  readonly isAny: boolean;
  readonly verdict: Settlement["verdict"]["kind"];
  readonly afterMs: number;
  readonly followUps: readonly Wanted[];
}

interface Claims extends Chosen {
  readonly worker: string;
  readonly limit: number;
  readonly leaseMs: number;
  /** Null for all push queues. */
  readonly queue: string | null;
  readonly endings: readonly Ending[];
}

function leasesMeant(model: QueueModel, isAny: boolean): ModelLease[] {
  if (isAny) return model.leases.slice(-MAX_OLD);
  return model.leases.filter(({ claimed, isLost }) => {
    const task = model.tasks.get(claimed.id);
    return !isLost && task !== undefined && task.lease !== null && task.fence === claimed.fence;
  });
}

function settlementsOf(endings: readonly Ending[], scene: Scene): Settlement[] {
  return endings.flatMap((ending) => {
    const lease = picked(leasesMeant(scene.model, ending.isAny), ending.pick);
    return lease === undefined ? [] : [settlementOf(lease, ending, scene)];
  });
}

function settlementOf({ claimed }: ModelLease, ending: Ending, scene: Scene): Settlement {
  const lease = { taskId: claimed.id, fence: claimed.fence };
  const { verdict, afterMs } = ending;
  const startedAtMs = scene.nowMs;
  switch (verdict) {
    case "succeeded":
      return { lease, verdict: { kind: verdict }, attempt: attemptOf(claimed, { startedAtMs }) };
    case "retry": {
      const attempt = attemptOf(claimed, { startedAtMs, status: 500, error: "answered 500" });
      return { lease, verdict: { kind: verdict, afterMs, reason: "answered 500" }, attempt };
    }
    case "dead": {
      const attempt = attemptOf(claimed, { startedAtMs, status: 410, error: "answered 410" });
      const followUps = ending.followUps.map((want) => taskOf(want, null, scene));
      return { lease, verdict: { kind: verdict, reason: "answered 410" }, attempt, followUps };
    }
    case "released":
      return { lease, verdict: { kind: verdict, afterMs, reason: "shutting down" }, attempt: null };
  }
}

/** Takes the settlements over into the model, and holds the answers against it. */
function acceptSettled(settlements: readonly Settlement[], answers: readonly string[], scene: Scene): void {
  const expected = settlements.map((settlement) => scene.model.settle(settlement, scene.nowMs));
  assert.deepEqual(answers, expected, "what became of each settlement");
}

const claim = step<Claims>("claim", async ({ queue: from, endings, ...asked }, scene) => {
  const { model, store, nowMs } = scene;
  const { worker: by, limit, leaseMs } = asked;
  const request: ClaimRequest = { worker: by, limit, leaseMs, ...(from === null ? {} : { queue: from }) };
  const settlements = settlementsOf(endings, scene);
  const first = await store.settleAndClaim(settlements, request);
  acceptSettled(settlements, first.settled, scene);
  acceptClaim(model, request, first.claim, nowMs);
  let latest: Claim = first.claim;
  let got = latest.tasks.length;
  for (let claims = 1; got < limit && latest.nextInMs === 0; claims++) {
    assert.ok(claims < MAX_CLAIMS, "there is always more to claim, and nothing comes of it");
    const more = { ...request, limit: limit - got };
    latest = await store.claim(more);
    acceptClaim(model, more, latest, nowMs);
    got += latest.tasks.length;
  }
  await observeKeys(model, store, nowMs);
  if (latest.nextInMs === 0) return;
  assertNothingLeft(model, request, latest, nowMs);
  assertProbed(model, request, nowMs);
});

interface Settles extends Chosen {
  readonly endings: readonly Ending[];
}

const settle = step<Settles>(
  "settle",
  async ({ endings }, scene) => {
    const settlements = settlementsOf(endings, scene);
    acceptSettled(settlements, await scene.store.settle(settlements), scene);
  },
  (_, { leases }) => leases.length > 0,
);

interface Extend extends Chosen {
  readonly picks: readonly number[];
  readonly leaseMs: number;
}

const extend = step<Extend>(
  "extend",
  async ({ picks, leaseMs }, { model, store, nowMs }) => {
    const leases = picks.flatMap((at) => {
      const meant = picked(leasesMeant(model, true), at);
      return meant === undefined ? [] : [{ taskId: meant.claimed.id, fence: meant.claimed.fence }];
    });
    const lost = await store.extend(leases, leaseMs);
    const expected = leases.flatMap((lease): LostLease[] => {
      const task = model.tasks.get(lease.taskId);
      if (task === undefined || task.lease === null || task.fence !== lease.fence)
        return [{ ...lease, why: "stale" }];
      task.lease = { ...task.lease, untilMs: nowMs + leaseMs };
      return task.state === "cancelled" ? [{ ...lease, why: "cancelled" }] : [];
    });
    assert.deepEqual(lost, expected, "the leases that are lost");
  },
  (_, { leases }) => leases.length > 0,
);

interface Errand extends Chosen {
  readonly limit: number;
}

const rescue = step<Errand>("rescue", async ({ limit }, { model, store, nowMs }) => {
  const rescued = await store.rescue(limit);
  assert.ok(rescued.length <= limit, `${rescued.length} were taken back, and ${limit} asked for`);
  for (const { id, worker: by, crashes, state } of rescued) {
    const task = model.tasks.get(id);
    assert.ok(task?.lease && task.lease.untilMs <= nowMs, `task ${id} was taken back from its worker`);
    const { lease } = task;
    model.rescue(task, nowMs);
    assert.deepEqual(
      { by, crashes, state },
      {
        by: lease.worker,
        crashes: task.crashes,
        state: task.state,
      },
    );
  }
  if (limit < MANY) return;
  const sinceMs = rescued.length > 0 ? nowMs : nowMs - RESCUED_WITHIN_MS;
  const left = [...model.tasks.values()].filter(({ lease }) => lease !== null && lease.untilMs <= sinceMs);
  assert.deepEqual(
    left.map(({ given }) => given.id),
    [],
    "leases that have run out and were left",
  );
});

/** A worker dies: it settles nothing any more, and renews nothing. */
const crash = step<Chosen & { readonly worker: string }>("crash", async ({ worker: who }, { model }) => {
  for (const lease of model.leases) if (lease.worker === who) lease.isLost = true;
});

const sweep = step<Errand>("sweep", async ({ limit }, { model, store, nowMs }) => {
  const swept = await store.sweep(limit);
  const there = new Set((await listAll(store)).map(({ id }) => id));
  const gone = [...model.tasks.values()].filter(({ given }) => !there.has(given.id));
  for (const task of gone) {
    const { expiresAtMs, lease } = task;
    const isOver = expiresAtMs !== null && expiresAtMs <= nowMs && lease === null;
    assert.ok(isOver, `task ${task.given.id} was swept before its time`);
    model.drop(task);
  }
  const free = [...model.names]
    .flatMap(([scope, { untilMs }]) => (untilMs === null || untilMs > nowMs ? [] : [{ scope, untilMs }]))
    .sort((a, b) => a.untilMs - b.untilMs);
  assert.ok(gone.length <= limit && swept.names <= limit, "a sweep went past its limit");
  assert.equal(swept.tasks, gone.length, "tasks swept");
  assert.ok(swept.names <= free.length, `${swept.names} names were swept, of ${free.length}`);
  for (const { scope } of free.slice(0, swept.names)) model.names.delete(scope);
  // A sweep that finds nothing may not have looked: another process may have ended what there is.
  if (limit < MANY || swept.tasks + swept.names === 0) return;
  const left = [...model.tasks.values()].filter(({ expiresAtMs }) => (expiresAtMs ?? nowMs + 1) <= nowMs);
  assert.deepEqual(
    { tasks: left.map(({ given }) => given.id), names: free.length - swept.names, more: swept.more },
    { tasks: [], names: 0, more: false },
    "what a sweep has left",
  );
});

interface Hold extends Chosen {
  readonly host: string;
  readonly forMs: number;
}

const holdHost = step<Hold>("holdHost", async ({ host: name, forMs }, { model, store, nowMs }) => {
  await store.holdHost(name, forMs);
  model.holds.set(name, { nextMs: nowMs + forMs, forMs, missed: new Map() });
  const held = new Set((await store.heldHosts()).map(({ host: known }) => known));
  for (const [known, { nextMs }] of model.holds)
    if (!held.has(known) && nextMs <= nowMs - FORGET_HOST_MS) model.holds.delete(known);
});

const freeHost = step<Chosen & { readonly host: string }>(
  "freeHost",
  async ({ host: name }, { model, store }) => {
    await store.freeHost(name);
    model.holds.delete(name);
  },
);

const ending: fc.Arbitrary<Ending> = fc.record({
  pick,
  isAny: fc.constantFrom(false, false, false, true),
  verdict: fc.constantFrom("succeeded", "succeeded", "retry", "dead", "released"),
  afterMs: delayMs,
  followUps: fc.array(wanted, { maxLength: 1 }),
});
const leaseMs = fc.constantFrom(30_000, 30_000, 30_000, 1_400, 10);
const errand = fc.record({ via, limit: fc.constantFrom(2, MANY, MANY) });

export const consuming = {
  claim: fc
    .record({
      via,
      worker,
      limit: fc.integer({ min: 1, max: 8 }),
      leaseMs,
      queue: fc.oneof(
        { weight: 6, arbitrary: fc.constant(null) },
        { weight: 2, arbitrary: fc.constant("pull") },
        { weight: 1, arbitrary: queue },
      ),
      endings: fc.oneof(
        { weight: 2, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(ending, { maxLength: 4 }) },
      ),
    })
    .map(claim),
  settle: fc.record({ via, endings: fc.array(ending, { minLength: 1, maxLength: 4 }) }).map(settle),
  extend: fc.record({ via, picks: fc.array(pick, { minLength: 1, maxLength: 4 }), leaseMs }).map(extend),
  rescue: errand.map(rescue),
  crash: fc.record({ via, worker: fc.constantFrom(...WORKERS) }).map(crash),
  sweep: errand.map(sweep),
  holdHost: fc.record({ via, host, forMs: fc.constantFrom(2_000, 15_000, 60_000) }).map(holdHost),
  freeHost: fc.record({ via, host }).map(freeHost),
} satisfies Record<string, fc.Arbitrary<Step>>;

/** The same as steps, by their names. */
export const consume = { claim, settle, extend, rescue, crash, sweep, holdHost, freeHost };
