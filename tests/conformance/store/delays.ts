/** Conformance: a task waits until it is due, no longer, and a claim says how long there is nothing to do. */

import { describe, expect, test } from "bun:test";
import type { TaskStore } from "../../../src/core/store.ts";
import { newTask, newTasks, retry } from "../../support/tasks.ts";
import {
  HOUR_MS,
  idsOf,
  LEASE_MS,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  put,
  read,
  SECOND_MS,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function delayTests(open: OpenStore): void {
  describe("delays", () => {
    test(
      "a task is not handed out before its time and is at its time",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask({ scheduledAtMs: now() + HOUR_MS });
        await put(store, task);
        expect(await take(store, 10)).toEqual([]);
        await advance(HOUR_MS - MINUTE_MS);
        expect(await take(store, 10)).toEqual([]);
        await advance(MINUTE_MS);
        const claimed = await takeOne(store);
        expect(claimed.id).toBe(task.id);
        expect(claimed.scheduledAtMs).toBe(task.scheduledAtMs ?? 0);
      }),
    );

    test(
      "a delay counts from acceptance, and from a change, by the store's clock, whatever the caller's says",
      withStore(open, async ({ store, advance, now }) => {
        // The store's clock goes ahead of this process's where the store has one of its own.
        await advance(10 * HOUR_MS);
        const before = now();
        const task = newTask({ delayMs: HOUR_MS });
        const [created] = (await store.enqueue([task])).results;
        expect(created).toMatchObject({ kind: "created", state: "scheduled" });
        const plannedMs = created?.kind === "created" ? created.scheduledAtMs : Number.NaN;
        expect(plannedMs).toBeGreaterThanOrEqual(before + HOUR_MS);
        expect(plannedMs).toBeLessThanOrEqual(now() + HOUR_MS);
        expect((await read(store, task.id)).scheduledAtMs).toBe(plannedMs);
        await advance(HOUR_MS - MINUTE_MS);
        expect(await take(store, 10)).toEqual([]);
        const movedAtMs = now();
        expect((await store.reschedule(task.id, { delayMs: HOUR_MS })).kind).toBe("changed");
        const { dueMs } = await read(store, task.id);
        expect(dueMs).toBeGreaterThanOrEqual(movedAtMs + HOUR_MS);
        expect(dueMs).toBeLessThanOrEqual(now() + HOUR_MS);
        await advance(HOUR_MS - MINUTE_MS);
        expect(await take(store, 10)).toEqual([]);
        await advance(MINUTE_MS);
        expect((await takeOne(store)).id).toBe(task.id);
      }),
    );

    test(
      "tasks of a lane go in the order of their due times, not of their arrival",
      withStore(open, async ({ store, advance, now }) => {
        const start = now();
        const delaysMin = [5, 1, 4, 2, 3];
        const tasks = delaysMin.map((min) => newTask({ scheduledAtMs: start + min * MINUTE_MS }));
        await put(store, ...tasks);
        await advance(10 * MINUTE_MS);
        expect(idsOf(await take(store, 10))).toEqual([1, 3, 4, 2, 0].map((i) => tasks[i]?.id ?? ""));
      }),
    );

    test(
      "a delayed task that fell due goes before one that was enqueued after that",
      withStore(open, async ({ store, advance, now }) => {
        const delayed = newTask({ scheduledAtMs: now() + MINUTE_MS });
        await put(store, delayed);
        await advance(2 * MINUTE_MS);
        const late = newTask();
        await put(store, late);
        expect(idsOf(await take(store, 1))).toEqual([delayed.id]);
        expect(idsOf(await take(store, 1))).toEqual([late.id]);
      }),
    );

    test(
      "many tasks that fall due together are all handed out",
      withStore(open, async ({ store, advance, now }) => {
        await put(store, ...newTasks(1_500, { scheduledAtMs: now() + MINUTE_MS }));
        await advance(MINUTE_MS);
        const seen = new Set<string>();
        for (let calls = 0; calls < 10 && seen.size < 1_500; calls++) {
          for (const task of await take(store, 1_000)) seen.add(task.id);
        }
        expect(seen.size).toBe(1_500);
      }),
    );
  });

  describe("the time to the next claim", () => {
    test(
      "is null when nothing waits",
      withStore(open, async ({ store }) => {
        expect(await nextInMs(store)).toBeNull();
      }),
    );

    test(
      "is zero when there is more to claim now",
      withStore(open, async ({ store, now }) => {
        await put(store, ...newTasks(3), newTask({ scheduledAtMs: now() + HOUR_MS }));
        const claim = await store.claim({ worker: "w", limit: 2, leaseMs: LEASE_MS });
        expect(claim.tasks.length).toBe(2);
        expect(claim.nextInMs).toBe(0);
      }),
    );

    test(
      "reaches to the earliest due time, and no further",
      withStore(open, async (opened) => {
        const { store, now, advance } = opened;
        const dueMs = now() + HOUR_MS;
        await put(store, newTask({ scheduledAtMs: dueMs + HOUR_MS }), newTask({ scheduledAtMs: dueMs }));
        await expectNext(opened, dueMs);
        await advance(30 * MINUTE_MS);
        await expectNext(opened, dueMs);
      }),
    );

    test(
      "comes nearer when a task for sooner is enqueued",
      withStore(open, async (opened) => {
        const { store, now } = opened;
        await put(store, newTask({ scheduledAtMs: now() + HOUR_MS }));
        expect(await nextInMs(store)).toBeGreaterThan(MINUTE_MS);
        const dueMs = now() + MINUTE_MS;
        await put(store, newTask({ scheduledAtMs: dueMs, queue: "other", priority: "low" }));
        await expectNext(opened, dueMs);
      }),
    );

    test(
      "covers retries, released tasks and moved ones",
      withStore(open, async (opened) => {
        const { store, now } = opened;
        const task = newTask();
        await put(store, task);
        await settle(store, retry(await takeOne(store), HOUR_MS));
        await expectNext(opened, (await read(store, task.id)).dueMs);
        const dueMs = now() + 10 * MINUTE_MS;
        await store.reschedule(task.id, { scheduledAtMs: dueMs });
        await expectNext(opened, dueMs);
      }),
    );

    test(
      "is null again once the waiting task is cancelled",
      withStore(open, async ({ store, now }) => {
        const task = newTask({ scheduledAtMs: now() + HOUR_MS });
        await put(store, task);
        await store.cancel(task.id);
        expect(await nextInMs(store)).toBeNull();
      }),
    );

    test(
      "is not zero while all that is ready waits for its key",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(3, { orderingKey: "k" }));
        await takeOne(store);
        expect(await nextInMs(store)).not.toBe(0);
      }),
    );
  });
}

/** Claims, expecting nothing to be there. */
async function nextInMs(store: TaskStore): Promise<number | null> {
  const claim = await store.claim({ worker: "w", limit: 10, leaseMs: LEASE_MS });
  expect(claim.tasks).toEqual([]);
  return claim.nextInMs;
}

async function expectNext({ store, now }: OpenedStore, dueMs: number): Promise<void> {
  const atMostMs = dueMs - now();
  const inMs = await nextInMs(store);
  expect(inMs).toBeLessThanOrEqual(atMostMs);
  // A store's clock may run on between the two looks; a second is far below every time used here.
  expect(inMs).toBeGreaterThan(dueMs - now() - SECOND_MS);
}
