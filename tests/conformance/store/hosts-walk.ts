/** Conformance: however hosts are held and let go, no task of theirs runs but as the one probe, and none is lost. */

import { describe, expect, test } from "bun:test";
import { hostOf } from "../../../src/core/host.ts";
import { PRIORITIES } from "../../../src/core/priority.ts";
import type { ClaimedTask } from "../../../src/core/store.ts";
import { isWaiting } from "../../../src/core/task.ts";
import { newTarget, newTask, release, retry, success } from "../../support/tasks.ts";
import { setQueue } from "./admin.ts";
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
  settle,
  withStore,
} from "./harness.ts";
import { expectCounts } from "./listing.ts";

const STEPS = 400;
const HOSTS = [0, 1, 2, 3].map((n) => `http://h${n}.test`);

export function hostWalkTests(open: OpenStore, offers: { second: boolean }): void {
  describe("hosts held and let go at random", () => {
    for (const seed of [3, 20_260_202]) {
      test(
        `have one probe a time, and every task comes back (seed ${seed})`,
        withStore(open, async (opened) => {
          const stores = offers.second ? [opened.store, await secondOf(opened)] : [opened.store];
          const walk = new HostWalk(opened, stores, seed);
          await setQueue(opened.store, "narrow", { maxConcurrent: 3 });
          for (let step = 0; step < STEPS; step++) await walk.step();
          await walk.end();
        }),
        60_000,
      );
    }
  });
}

interface Held {
  nextMs: number;
  readonly forMs: number;
}

class HostWalk {
  readonly #opened: OpenedStore;
  readonly #stores: readonly OpenedStore["store"][];
  readonly #random: () => number;
  readonly #held = new Map<string, Held>();
  #leases: ClaimedTask[] = [];
  #probes = 0;

  constructor(opened: OpenedStore, stores: readonly OpenedStore["store"][], seed: number) {
    this.#opened = opened;
    this.#stores = stores;
    this.#random = randomOf(seed);
  }

  async step(): Promise<void> {
    const operations: ReadonlyArray<() => Promise<void>> = [
      () => this.#enqueue(),
      () => this.#claim(),
      () => this.#claim(),
      () => this.#settle(),
      () => this.#hold(),
      () => this.#free(),
      () => this.#opened.advance(1 + this.#below(20_000)),
      () => this.#change(),
    ];
    await this.#one(operations)();
  }

  /** Lets all go, and works off what is left. */
  async end(): Promise<void> {
    const { store, advance } = this.#opened;
    expect(this.#probes).toBeGreaterThan(5);
    await settle(store, ...this.#leases.map((one) => release(one, 0)));
    for (const host of HOSTS) await store.holdHost(host, 10 * MINUTE_MS);
    await advance(2 * MINUTE_MS);
    expect(await drain(store)).toEqual([]);
    const tasks = await listAll(store);
    await expectCounts(store, tasks);
    const held = await store.heldHosts();
    expect(held.map(({ host }) => host).sort()).toEqual(HOSTS);
    for (const { host, tasks: count } of held) {
      const waiting = tasks.filter(({ target, state }) => state === "ready" && hostOf(target.url) === host);
      // Those that wait for their ordering key are met once they have it.
      const keyless = waiting.filter(({ orderingKey }) => orderingKey === null);
      expect(count).toBeWithin(keyless.length, waiting.length + 1);
    }
    for (const host of HOSTS) await store.freeHost(host);
    for (let left = tasks.filter(({ state }) => isWaiting(state)).length; left > 0; ) {
      const got = await drain(store, 7);
      expect(got.length).toBeGreaterThan(0);
      left -= got.length;
      await settle(store, ...got.map((one) => success(one)));
    }
    await expectCounts(store, await listAll(store));
  }

  async #enqueue(): Promise<void> {
    const tasks = Array.from({ length: 1 + this.#below(8) }, () =>
      newTask({
        queue: this.#one(["wide", "narrow"]),
        clientId: this.#one(["a", "b", "c"]),
        priority: this.#one(PRIORITIES),
        target: newTarget({ url: `${this.#one(HOSTS)}/${this.#below(9)}` }),
        scheduledAtMs: this.#one([null, null, this.#opened.now() + this.#below(MINUTE_MS)]),
        orderingKey: this.#one([null, null, null, "k"]),
      }),
    );
    await this.#store.enqueue(tasks);
  }

  async #claim(): Promise<void> {
    const limit = 1 + this.#below(6);
    const { tasks } = await this.#store.claim({ worker: "w", limit, leaseMs: LEASE_MS * 100 });
    const nowMs = this.#opened.now();
    expect(tasks.length).toBeLessThanOrEqual(limit);
    expect(new Set(idsOf(tasks)).size).toBe(tasks.length);
    for (const task of tasks) {
      const held = this.#held.get(hostOf(task.target.url));
      expect(task.isProbe).toBe(held !== undefined);
      if (held === undefined) continue;
      expect(held.nextMs).toBeLessThanOrEqual(nowMs);
      held.nextMs = nowMs + held.forMs - 1_000;
      this.#probes += 1;
    }
    this.#leases.push(...tasks);
  }

  async #settle(): Promise<void> {
    const ended = this.#leases.splice(0, 1 + this.#below(6));
    const how = [success, (one: ClaimedTask) => retry(one, 500), (one: ClaimedTask) => release(one, 0)];
    await settle(this.#store, ...ended.map((one) => this.#one(how)(one)));
  }

  async #hold(): Promise<void> {
    const host = this.#one(HOSTS);
    const forMs = 5_000 + this.#below(20_000);
    const nowMs = this.#opened.now();
    await this.#store.holdHost(host, forMs);
    this.#held.set(host, { nextMs: nowMs + forMs, forMs });
  }

  async #free(): Promise<void> {
    const host = this.#one(HOSTS);
    await this.#store.freeHost(host);
    this.#held.delete(host);
  }

  async #change(): Promise<void> {
    const { tasks } = await this.#store.list({ limit: 50 });
    const { id } = this.#one(tasks) ?? {};
    if (id === undefined || this.#leases.some((lease) => lease.id === id)) return;
    const scheduledAtMs = this.#opened.now() + this.#below(30_000) - 10_000;
    await this.#one([
      () => this.#store.cancel(id),
      () => this.#store.runNow(id),
      () => this.#store.reschedule(id, { scheduledAtMs, priority: this.#one(PRIORITIES) }),
      () => this.#store.reschedule(id, { priority: this.#one(PRIORITIES) }),
    ])();
  }

  get #store(): OpenedStore["store"] {
    return this.#one(this.#stores);
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #one<T>(items: readonly T[]): T {
    // An empty list gives undefined, which every caller with a list that may be empty looks for.
    return items[this.#below(items.length)] as T;
  }
}
