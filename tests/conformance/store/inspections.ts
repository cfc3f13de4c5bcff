/** Inspections: nothing is broken in a store that is used in every way, however it was used, and however busy it is. */

import { describe, expect, test } from "bun:test";
import { inspectAll, MAX_INSPECTED } from "../../../src/core/inspection.ts";
import type { TaskStore } from "../../../src/core/store.ts";
import { death, newTasks, release, retry, success } from "../../support/tasks.ts";
import { setClient, setQueue } from "./admin.ts";
import {
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  randomOf,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";
import { expectSound } from "./inspection.ts";

export function inspectionTests(open: OpenStore): void {
  describe("an inspection", () => {
    test(
      "finds a store sound that has tasks in every state, whatever the size of its steps",
      withStore(open, async ({ store, now }) => {
        await fill(store, now());
        for (const limit of [1, 7, MAX_INSPECTED]) {
          const { violations, looked } = await inspectAll(store, { limit });
          expect(violations).toEqual([]);
          expect(looked).toBeGreaterThan(50);
        }
      }),
    );

    test(
      "that mends leaves all as it is where nothing is broken",
      withStore(open, async ({ store, now }) => {
        await fill(store, now());
        const before = (await store.list({ limit: 1_000 })).tasks;
        expect((await inspectAll(store, { limit: 10, repair: true })).violations).toEqual([]);
        expect((await store.list({ limit: 1_000 })).tasks).toEqual(before);
      }),
    );

    test.each([0, -1, 1.5, MAX_INSPECTED + 1])("takes no step of %p records", (limit) =>
      withStore(open, async ({ store }) => {
        await expect(inspectAll(store, { limit })).rejects.toThrow(RangeError);
      })(),
    );

    test(
      "goes on beside others at work in small steps, and takes none of it for damage",
      withStore(open, async ({ store, now, advance }) => {
        const random = randomOf(20_261_122);
        await setClient(store, "limited", { overrides: { maxConcurrent: 2 } });
        await setQueue(store, "pull", { mode: "pull" });
        await setQueue(store, "brief", { retentionSucceededMs: 0 });
        let ended = false;
        const work = (async () => {
          for (let round = 0; round < 150; round++) await disturb(store, random, now(), advance);
          ended = true;
        })();
        let walks = 0;
        while (!ended) {
          const { violations } = await inspectAll(store, { limit: 5 + Math.floor(random() * 40) });
          expect(violations).toEqual([]);
          walks += 1;
          // Others get their turn of the event loop too.
          await new Promise((resolve) => setImmediate(resolve));
        }
        await work;
        expect(walks).toBeGreaterThan(1);
        await expectSound(store);
      }),
    );
  });

  test(
    "a client's lane in a pull queue that nobody asks does not keep its other lanes waiting",
    withStore(open, async ({ store }) => {
      await setQueue(store, "pull", { mode: "pull" });
      await setClient(store, "c", { overrides: { maxConcurrent: 1 } });
      await put(store, ...newTasks(2, { queue: "pull", clientId: "c" }));
      const held = await takeOne(store, { queue: "pull" });
      await put(store, ...newTasks(2, { queue: "push", clientId: "c" }));
      expect(await take(store, 5)).toEqual([]);
      expect(await take(store, 5, { queue: "pull" })).toEqual([]);
      await settle(store, success(held));
      const next = await takeOne(store);
      expect(next.queue).toBe("push");
      expect((await read(store, next.id)).state).toBe("running");
    }),
  );
}

/** Some tasks in every state, with names, keys, limits and a held host. */
async function fill(store: TaskStore, nowMs: number): Promise<void> {
  await setClient(store, "limited", { overrides: { maxConcurrent: 1 } });
  await setQueue(store, "paused", { paused: true });
  await setQueue(store, "hold", { afterDeath: "hold" });
  await put(store, ...newTasks(12), ...newTasks(5, { queue: "hold", orderingKey: "k" }));
  await put(store, ...newTasks(4, { clientId: "limited" }), ...newTasks(4, { orderingKey: "key" }));
  await put(store, ...newTasks(3, { scheduledAtMs: nowMs + MINUTE_MS }), ...newTasks(3, { queue: "paused" }));
  await put(store, ...newTasks(3, { scheduledAtMs: nowMs + 5_000 }));
  for (const name of ["one", "two", "three", "four", "five"]) await put(store, ...newTasks(1, { name }));
  const tasks = await take(store, 15);
  const ends = [success, death, (task: (typeof tasks)[number]) => retry(task, MINUTE_MS)];
  for (const [place, task] of tasks.entries()) {
    const end = ends[place % 4];
    if (end !== undefined) await settle(store, end(task));
  }
  await put(
    store,
    ...newTasks(6, { target: { ...newTasks(1)[0]?.target, url: "http://held.test/" } as never }),
  );
  await store.holdHost("http://held.test", MINUTE_MS);
  const more = await take(store, 20);
  for (const task of more.slice(0, 3)) await store.cancel(task.id);
}

/** One move of many that a store is to stand. */
async function disturb(
  store: TaskStore,
  random: () => number,
  nowMs: number,
  advance: (ms: number) => Promise<void>,
): Promise<void> {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const queue = pick(["default", "other", "pull", "brief"]);
  const clientId = pick(["client-a", "limited"]);
  const scheduledAtMs = random() < 0.3 ? nowMs + Math.floor(random() * 40_000) : null;
  const orderingKey = random() < 0.3 ? pick(["x", "y"]) : null;
  await store.enqueue(
    newTasks(1 + Math.floor(random() * 12), { queue, clientId, scheduledAtMs, orderingKey }),
  );
  const from = random() < 0.3 ? { queue: "pull" } : {};
  const { tasks } = await store.claim({ worker: "w", limit: 10, leaseMs: LEASE_MS, ...from });
  for (const task of tasks) {
    const laterMs = Math.floor(random() * 30_000);
    const end = pick([
      success(task),
      success(task),
      death(task),
      retry(task, laterMs),
      release(task, laterMs),
      null,
    ]);
    if (end === null) continue;
    if (random() < 0.1) await store.cancel(task.id);
    await store.settle([end]);
    if (random() < 0.1) await store.replay(task.id);
  }
  if (random() < 0.3) await advance(Math.floor(random() * 20_000) + 1);
  if (random() < 0.1) await advance(MINUTE_MS + 1);
  if (random() < 0.3) await store.rescue(10);
  if (random() < 0.3) await store.sweep(50);
}
