/** Conformance: through hundreds of random operations the counts, the transition table and every answer stay true. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES } from "../../../src/core/priority.ts";
import type { ClaimedTask, Settlement } from "../../../src/core/store.ts";
import { canGo, isFinal, isWaiting, type Task, type TaskState } from "../../../src/core/task.ts";
import { death, newTask, release, retry, success } from "../../support/tasks.ts";
import {
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  randomOf,
  withStore,
} from "./harness.ts";
import { expectCounts } from "./listing.ts";

const STEPS = 260;

export function walkTests(open: OpenStore): void {
  describe("a random walk", () => {
    for (const seed of [1, 20_260_101]) {
      test(
        `of ${STEPS} operations keeps counts, states and answers true (seed ${seed})`,
        withStore(open, async (opened) => {
          const walk = new Walk(opened, seed);
          for (let step = 0; step < STEPS; step++) await walk.step();
          expect(walk.statesSeen.size).toBe(7);
        }),
        30_000,
      );
    }
  });
}

class Walk {
  readonly statesSeen = new Set<TaskState>();
  readonly #opened: OpenedStore;
  readonly #random: () => number;
  /** Every lease ever given out, the ended ones too: they must stay without effect. */
  readonly #leases: ClaimedTask[] = [];
  /** What a listing showed after the last step. */
  #known = new Map<string, Task>();

  constructor(opened: OpenedStore, seed: number) {
    this.#opened = opened;
    this.#random = randomOf(seed);
  }

  async step(): Promise<void> {
    const operations: ReadonlyArray<readonly [number, () => Promise<void>]> = [
      [5, () => this.#enqueue()],
      [6, () => this.#claim()],
      [7, () => this.#settle()],
      [2, () => this.#extend()],
      [3, () => this.#opened.advance(1 + this.#below(40_000))],
      [1, () => this.#opened.advance(LEASE_MS + 1)],
      [2, () => this.#rescue()],
      [5, () => this.#change()],
      [1, () => this.#sweep()],
    ];
    let turn = this.#below(operations.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, operate] of operations) {
      turn -= weight;
      if (turn >= 0) continue;
      await operate();
      break;
    }
    await this.#look();
  }

  async #enqueue(): Promise<void> {
    if ([...this.#known.values()].filter(({ state }) => !isFinal(state)).length > 60) return;
    const tasks = Array.from({ length: 1 + this.#below(4) }, () =>
      newTask({
        queue: this.#one(["a", "b", "c"]),
        clientId: this.#one(["x", "y", "z"]),
        priority: this.#one(PRIORITIES),
        scheduledAtMs: this.#one([null, this.#opened.now() + this.#below(MINUTE_MS)]),
        retentionMs: this.#one([null, null, 0]),
      }),
    );
    const { results } = await this.#opened.store.enqueue(tasks);
    expect(results).toMatchObject(tasks.map(({ id }) => ({ kind: "created", id })));
  }

  async #claim(): Promise<void> {
    const limit = 1 + this.#below(6);
    const before = this.#opened.now();
    const claim = await this.#opened.store.claim({ worker: `w${this.#below(3)}`, limit, leaseMs: LEASE_MS });
    const waiting = [...this.#known.values()].filter(({ state }) => isWaiting(state));
    const dueBefore = waiting.filter(({ dueMs }) => dueMs <= before).length;
    expect(claim.tasks.length).toBeGreaterThanOrEqual(Math.min(limit, dueBefore));
    expect(claim.tasks.length).toBeLessThanOrEqual(limit);
    expect(new Set(idsOf(claim.tasks)).size).toBe(claim.tasks.length);
    for (const task of claim.tasks) {
      const known = this.#knownAs(task.id);
      expect(isWaiting(known.state)).toBe(true);
      expect(known.dueMs).toBeLessThanOrEqual(this.#opened.now());
      expect(task.fence).toBeGreaterThan(known.fence);
      expect(task.attempt).toBe(known.attempts + 1);
    }
    if (waiting.length > claim.tasks.length) expect(claim.nextInMs).not.toBeNull();
    if (dueBefore > claim.tasks.length) expect(claim.nextInMs).toBe(0);
    this.#leases.push(...claim.tasks);
  }

  async #settle(): Promise<void> {
    const chosen = new Set(Array.from({ length: this.#below(5) }, () => this.#one(this.#leases.slice(-12))));
    const settlements = [...chosen]
      .filter((lease) => lease !== undefined)
      .map((lease) => this.#verdict(lease));
    const expected = settlements.map(({ lease }) => this.#settleMayAnswer(lease.taskId, lease.fence));
    const answers = await this.#opened.store.settle(settlements);
    expect(answers.length).toBe(settlements.length);
    for (const [i, answer] of answers.entries()) expect(expected[i]).toContain(answer);
  }

  #verdict(claimed: ClaimedTask): Settlement {
    const afterMs = this.#one([0, this.#below(MINUTE_MS)]);
    return this.#one([
      () => success(claimed),
      () => retry(claimed, afterMs),
      () => death(claimed),
      () => release(claimed, afterMs),
    ])();
  }

  #settleMayAnswer(id: string, fence: number): string[] {
    const known = this.#known.get(id);
    if (known === undefined) return ["stale"];
    if (known.fence !== fence) return ["stale"];
    // A lease that ran out but was not taken back yet may count as held or as lost.
    if (known.state === "running") return this.#expired(known) ? ["settled", "stale"] : ["settled"];
    return known.state === "cancelled" ? ["cancelled", "stale"] : ["stale"];
  }

  #expired(task: Task): boolean {
    return task.lease !== null && task.lease.untilMs <= this.#opened.now();
  }

  async #extend(): Promise<void> {
    const chosen = [...new Set(this.#leases.slice(-6))];
    const lost = await this.#opened.store.extend(
      chosen.map(({ id, fence }) => ({ taskId: id, fence })),
      LEASE_MS,
    );
    for (const { id, fence } of chosen) {
      const known = this.#known.get(id);
      if (known?.state === "running" && known.fence === fence && this.#expired(known)) continue;
      const holds = known?.state === "running" && known.fence === fence;
      expect(lost.some((one) => one.taskId === id && one.fence === fence)).toBe(!holds);
    }
  }

  async #rescue(): Promise<void> {
    for (const { id, crashes, state } of await this.#opened.store.rescue(10)) {
      const known = this.#knownAs(id);
      expect(["running", "cancelled"]).toContain(known.state);
      if (known.state === "cancelled") expect(state).toBe("cancelled");
      else expect({ crashes, state }).toEqual({ crashes: known.crashes + 1, state: "ready" });
    }
  }

  async #change(): Promise<void> {
    const task = this.#one([...this.#known.values()]);
    if (task === undefined) return;
    const { store, now } = this.#opened;
    const [change, allowed] = this.#one([
      [() => store.cancel(task.id), !isFinal(task.state)],
      [() => store.replay(task.id), isFinal(task.state)],
      [() => store.runNow(task.id), isWaiting(task.state)],
      [
        () =>
          store.reschedule(task.id, {
            scheduledAtMs: now() + this.#below(MINUTE_MS),
            priority: this.#one(PRIORITIES),
          }),
        isWaiting(task.state),
      ],
    ] as const);
    expect((await change()).kind).toBe(allowed ? "changed" : "conflict");
  }

  async #sweep(): Promise<void> {
    expect((await this.#opened.store.sweep(1 + this.#below(5))).tasks).toBeLessThanOrEqual(5);
  }

  /** Lists everything and holds it against what was known and what is counted. */
  async #look(): Promise<void> {
    const tasks = await listAll(this.#opened.store);
    await expectCounts(this.#opened.store, tasks);
    const now = new Map(tasks.map((task) => [task.id, task]));
    expect(now.size).toBe(tasks.length);
    for (const [id, before] of this.#known) expectStep(before, now.get(id));
    for (const task of tasks) {
      this.statesSeen.add(task.state);
      if (task.state === "running") expect(task.lease).not.toBeNull();
      if (isWaiting(task.state)) expect(task.lease).toBeNull();
      expect(task.finishedAtMs !== null).toBe(isFinal(task.state));
      expect(task.fence).toBeGreaterThanOrEqual(this.#known.get(task.id)?.fence ?? 0);
    }
    this.#known = now;
  }

  #knownAs(id: string): Task {
    const known = this.#known.get(id);
    if (known === undefined) throw new Error(`the store handed out task ${id}, which a listing did not show`);
    return known;
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #one<T>(items: readonly T[]): T {
    // An empty list gives undefined, which every caller with a list that may be empty looks for.
    return items[this.#below(items.length)] as T;
  }
}

/** A step moves a task along the table; one that falls due may be promoted on the way. */
function expectStep(before: Task, after: Task | undefined): void {
  if (after === undefined) {
    if (before.retentionMs === 0 || isFinal(before.state)) return;
    throw new Error(`task ${before.id} went away while ${before.state}`);
  }
  const [from, to] = [before.state, after.state];
  const promoted = isWaiting(from) && canGo(from, "ready") && canGo("ready", to);
  if (from !== to && !canGo(from, to) && !promoted)
    throw new Error(`task ${before.id} went from ${from} to ${to}`);
}
