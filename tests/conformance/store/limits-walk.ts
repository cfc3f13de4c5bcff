/** Conformance: through hundreds of random steps no limit is ever passed, no slot is lost, and nothing that may run is left. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES } from "../../../src/core/priority.ts";
import type { ClaimedTask, Settlement, TaskStore } from "../../../src/core/store.ts";
import { isFinal, type Task } from "../../../src/core/task.ts";
import { death, newTask, release, retry, success } from "../../support/tasks.ts";
import { alter, auditEntry, NO_LIMITS, queueUseOf, setClient, setQueue } from "./admin.ts";
import {
  drain,
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  randomOf,
  secondOf,
  withStore,
} from "./harness.ts";
import { expectCounts } from "./listing.ts";

const STEPS = 300;
/** Clients with limits of their own, and clients that have those of the tier they share. */
const OWN = ["a", "b"];
const SHARED = ["c", "d", "e"];
const CLIENTS = [...OWN, ...SHARED];
const QUEUES = ["plain", "narrow", "slow", "keyed"];

export function limitsWalkTests(open: OpenStore, offers: { second: boolean }): void {
  describe("a random walk under limits", () => {
    for (const seed of [2, 19, 20_260_102]) {
      test(
        `of ${STEPS} steps passes none, loses no slot and leaves nothing that may run (seed ${seed})`,
        withStore(open, async (opened) => {
          const handles = [opened.store, ...(offers.second ? [await secondOf(opened)] : [])];
          const walk = new LimitsWalk(opened, handles, seed);
          await walk.begin();
          for (let step = 0; step < STEPS; step++) await walk.step();
          await walk.end();
        }),
        60_000,
      );
    }
  });
}

class LimitsWalk {
  readonly #opened: OpenedStore;
  /** Every call goes through any of these: what one of them does holds for the others. */
  readonly #handles: readonly TaskStore[];
  readonly #random: () => number;
  /** The leases that are held, by task: the slots that are taken. */
  readonly #held = new Map<string, ClaimedTask>();
  readonly #ended: ClaimedTask[] = [];
  readonly #caps = new Map<string, number>();
  readonly #stopped = new Set<string>();

  constructor(opened: OpenedStore, handles: readonly TaskStore[], seed: number) {
    this.#opened = opened;
    this.#handles = handles;
    this.#random = randomOf(seed);
  }

  async begin(): Promise<void> {
    await this.#capTier(2);
    for (const [i, client] of OWN.entries()) await this.#capClient(client, i + 1);
    for (const client of SHARED) await setClient(this.#store(), client, { tier: "shared" });
    await this.#capQueue("narrow", 2);
    await setQueue(this.#store(), "slow", { maxDispatchesPerSec: 0.25, maxBurst: 2 });
    await setQueue(this.#store(), "keyed", { afterDeath: "hold", weight: 3 });
  }

  async step(): Promise<void> {
    const operations: ReadonlyArray<readonly [number, () => Promise<unknown>]> = [
      [5, () => this.#enqueue()],
      [7, () => this.#claim()],
      [6, () => this.#settle()],
      [1, () => this.#extend()],
      [3, () => this.#opened.advance(1 + this.#below(10_000))],
      [1, () => this.#opened.advance(LEASE_MS / 2)],
      [2, () => this.#rescue()],
      [3, () => this.#change()],
      [1, () => this.#forget()],
      [2, () => this.#administer()],
    ];
    let turn = this.#below(operations.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, operate] of operations) {
      turn -= weight;
      if (turn >= 0) continue;
      await operate();
      break;
    }
    await this.#expectUse();
  }

  /** Whatever was stopped, lowered or left lying: once everything may go on, all of it does, and no slot stays taken. */
  async end(): Promise<void> {
    const { advance } = this.#opened;
    const store = this.#store();
    await setQueue(store, "slow", { maxDispatchesPerSec: null, maxBurst: null });
    const free = { paused: false, maxConcurrent: null, afterDeath: "next" } as const;
    for (const queue of QUEUES) await setQueue(store, queue, free);
    await this.#capTier(null);
    for (const client of CLIENTS) await setClient(store, client, { enabled: true, overrides: {} });
    for (const task of await listAll(store, { state: "dead" })) await store.forget([task.id]);
    for (let rounds = 0; rounds < 400; rounds++) {
      const claimed = await drain(store, 10);
      await store.settle([...claimed, ...this.#held.values()].map((one) => success(one)));
      this.#held.clear();
      if (claimed.length > 0) continue;
      if ((await listAll(store)).every(({ state }) => isFinal(state))) break;
      await advance(LEASE_MS + 1);
      await store.rescue(100);
    }
    const left = (await listAll(store)).filter(({ state }) => !isFinal(state));
    expect(left.map(({ id, state, queue, clientId }) => ({ id, state, queue, clientId }))).toEqual([]);
    await this.#expectUse();
    await expectCounts(store);
  }

  async #enqueue(): Promise<void> {
    if ((await listAll(this.#store())).filter(({ state }) => !isFinal(state)).length > 60) return;
    const tasks = Array.from({ length: 1 + this.#below(5) }, () => {
      const queue = this.#one(QUEUES);
      return newTask({
        queue,
        clientId: this.#one(CLIENTS),
        priority: this.#one(PRIORITIES),
        scheduledAtMs: this.#one([null, null, this.#opened.now() + this.#below(MINUTE_MS)]),
        retentionMs: this.#one([null, null, 0]),
        orderingKey: queue === "keyed" ? this.#one(["x", "y", null]) : null,
      });
    });
    const enabled = (clientId: string) => !this.#stopped.has(`client ${clientId}`);
    const { results } = await this.#store().enqueue(tasks);
    expect(results.map(({ kind }) => kind)).toEqual(
      tasks.map(({ clientId }) => (enabled(clientId) ? "created" : "refused")),
    );
  }

  async #claim(): Promise<void> {
    const { now } = this.#opened;
    const store = this.#store();
    const request = { worker: `w${this.#below(3)}`, limit: 1 + this.#below(8), leaseMs: LEASE_MS };
    const before = now();
    const { nextDispatchAtMs } = await queueUseOf(store, "slow");
    let claim = await store.claim(request);
    for (let calls = 0; calls < 3 && claim.tasks.length === 0 && claim.nextInMs === 0; calls++)
      claim = await store.claim(request);
    for (const task of claim.tasks) {
      expect(this.#held.has(task.id)).toBe(false);
      expect([...this.#stopped]).not.toContain(`client ${task.clientId}`);
      expect([...this.#stopped]).not.toContain(`queue ${task.queue}`);
      this.#held.set(task.id, task);
      expect(this.#runningOf("clientId", task.clientId)).toBeLessThanOrEqual(
        this.#capOf(`client ${task.clientId}`),
      );
      expect(this.#runningOf("queue", task.queue)).toBeLessThanOrEqual(this.#capOf(`queue ${task.queue}`));
    }
    if (claim.tasks.length > 0) return;
    const { free, paced } = await this.#couldRun(before, nextDispatchAtMs);
    expect({ nextInMs: claim.nextInMs, left: idsOf(free) }).toEqual({ nextInMs: claim.nextInMs, left: [] });
    if (paced.length === 0 || nextDispatchAtMs === null) return;
    expect(claim.nextInMs ?? Number.POSITIVE_INFINITY).toBeLessThanOrEqual(nextDispatchAtMs - before + 1);
  }

  /** The tasks that were due at `beforeMs` and that nothing holds back, and those that only their queue's rate does. */
  async #couldRun(beforeMs: number, slowAtMs: number | null): Promise<{ free: Task[]; paced: Task[] }> {
    const store = this.#store();
    const could: { free: Task[]; paced: Task[] } = { free: [], paced: [] };
    for (const task of await listAll(store)) {
      const [client, queue] = [`client ${task.clientId}`, `queue ${task.queue}`];
      if (isFinal(task.state) || task.state === "running" || task.dueMs > beforeMs) continue;
      if (this.#stopped.has(client) || this.#stopped.has(queue)) continue;
      if (this.#runningOf("clientId", task.clientId) >= this.#capOf(client)) continue;
      if (this.#runningOf("queue", task.queue) >= this.#capOf(queue)) continue;
      const holder = await store.keyHolder(task.id);
      if (holder !== null && holder !== task.id) continue;
      (task.queue === "slow" && slowAtMs !== null ? could.paced : could.free).push(task);
    }
    return could;
  }

  async #settle(): Promise<void> {
    const held = [...this.#held.values()].filter(() => this.#random() < 0.5);
    const old = this.#one(this.#ended.slice(-8));
    const settlements = [...held, ...(old === undefined ? [] : [old])].map((one) => this.#verdict(one));
    const answers = await this.#store().settle(settlements);
    for (const [i, one] of held.entries()) if (answers[i] !== "stale") this.#release(one.id);
    if (old !== undefined) expect(answers.at(-1)).toBe("stale");
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

  async #extend(): Promise<void> {
    const held = [...this.#held.values()].filter(() => this.#random() < 0.3);
    await this.#store().extend(
      held.map(({ id, fence }) => ({ taskId: id, fence })),
      LEASE_MS,
    );
  }

  async #rescue(): Promise<void> {
    for (const { id } of await this.#store().rescue(1 + this.#below(10))) {
      expect(this.#held.has(id)).toBe(true);
      this.#release(id);
    }
  }

  async #change(): Promise<void> {
    const { now } = this.#opened;
    const store = this.#store();
    const task = this.#one(await listAll(store));
    if (task === undefined) return;
    await this.#one([
      () => store.cancel(task.id),
      () => store.replay(task.id),
      () => store.replayMany([{ id: task.id, notBeforeMs: now() + this.#below(10_000) }]),
      () => store.reschedule(task.id, { priority: this.#one(PRIORITIES) }),
      () => store.reschedule(task.id, { scheduledAtMs: now() + this.#below(MINUTE_MS) }),
    ])();
  }

  async #forget(): Promise<void> {
    const store = this.#store();
    const tasks = (await listAll(store)).filter(({ state }) => isFinal(state));
    await store.forget(idsOf(tasks.slice(0, 3)));
    // A lease cannot outlive its task: where a store lets go of one that was cancelled while it ran, its slot is free.
    for (const { id } of tasks) if ((await store.get(id)) === null) this.#release(id);
  }

  async #administer(): Promise<void> {
    const store = this.#store();
    const [client, queue] = [this.#one(CLIENTS), this.#one(["plain", "narrow", "slow"])];
    await this.#one([
      () => this.#capClient(this.#one(OWN), this.#below(5)),
      () => this.#capTier(this.#one([null, 0, 1, 2, 3])),
      () => this.#capQueue(this.#one(["narrow", "slow"]), 1 + this.#below(3)),
      async () => {
        await setClient(store, client, { enabled: this.#toggle(`client ${client}`) });
      },
      async () => {
        await setQueue(store, queue, { paused: !this.#toggle(`queue ${queue}`) });
      },
      async () => {
        await store.purge("plain", auditEntry());
        for (let steps = 0; steps < 1_000 && (await store.purgeStep(50)) !== null; steps++);
      },
    ])();
  }

  /** Stops what goes on and lets go on what is stopped; whether it goes on now. */
  #toggle(what: string): boolean {
    if (this.#stopped.delete(what)) return true;
    this.#stopped.add(what);
    return false;
  }

  async #capClient(client: string, maxConcurrent: number): Promise<void> {
    this.#caps.set(`client ${client}`, maxConcurrent);
    await setClient(this.#store(), client, { overrides: { maxConcurrent } });
  }

  /** Null takes the tier away: its clients have the default one's limits then, which are none. */
  async #capTier(maxConcurrent: number | null): Promise<void> {
    for (const client of SHARED)
      this.#caps.set(`client ${client}`, maxConcurrent ?? Number.POSITIVE_INFINITY);
    const tier = maxConcurrent === null ? null : { ...NO_LIMITS, maxConcurrent };
    await alter(this.#store(), "tier", "shared", () => tier);
  }

  async #capQueue(queue: string, maxConcurrent: number): Promise<void> {
    this.#caps.set(`queue ${queue}`, maxConcurrent);
    await setQueue(this.#store(), queue, { maxConcurrent });
  }

  async #expectUse(): Promise<void> {
    const store = this.#store();
    const [clients, queues] = [await store.clientUse(CLIENTS), await store.queueUse(QUEUES)];
    expect(clients.map(({ running }) => running)).toEqual(
      CLIENTS.map((id) => this.#runningOf("clientId", id)),
    );
    expect(queues.map(({ running }) => running)).toEqual(
      QUEUES.map((name) => this.#runningOf("queue", name)),
    );
  }

  #store(): TaskStore {
    return this.#one(this.#handles);
  }

  #capOf(what: string): number {
    return this.#caps.get(what) ?? Number.POSITIVE_INFINITY;
  }

  #runningOf(field: "clientId" | "queue", value: string): number {
    return [...this.#held.values()].filter((task) => task[field] === value).length;
  }

  #release(id: string): void {
    const claimed = this.#held.get(id);
    if (claimed !== undefined) this.#ended.push(claimed);
    this.#held.delete(id);
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #one<T>(items: readonly T[]): T {
    // An empty list gives undefined, which every caller with a list that may be empty looks for.
    return items[this.#below(items.length)] as T;
  }
}
