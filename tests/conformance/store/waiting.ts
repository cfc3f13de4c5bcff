/** Conformance: how long tasks have waited to be claimed, told with each that is, and of the oldest of those that are not. */

import { describe, expect, test } from "bun:test";
import { MAX_LANES_LOOKED_AT, MAX_PAGE, type TaskStore } from "../../../src/core/store.ts";
import type { NewTask } from "../../../src/core/task.ts";
import { death, newTarget, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import { setQueue } from "./admin.ts";
import {
  DAY_MS,
  drain,
  HOUR_MS,
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  SECOND_MS,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

/** What a real clock may go on by while a test makes a few calls. */
const SLACK_MS = 30_000;

export function waitingTests(open: OpenStore): void {
  describe("a claimed task tells when its run fell due", () => {
    /** Claims the one task that can be, which must tell the due time that the store had for it. */
    const dueOf = async (store: TaskStore, { id }: NewTask): Promise<number> => {
      const { dueMs } = await read(store, id);
      const claimed = await takeOne(store);
      expect({ id: claimed.id, dueMs: claimed.dueMs }).toEqual({ id, dueMs });
      return dueMs;
    };

    test(
      "when it was accepted, where it was to run at once or in the past",
      withStore(open, async ({ store, advance }) => {
        for (const scheduledAtMs of [null, 1_700_000_000_000]) {
          const task = newTask({ scheduledAtMs });
          await put(store, task);
          await advance(MINUTE_MS);
          expect(await dueOf(store, task)).toBe((await read(store, task.id)).createdAtMs);
        }
      }),
    );

    test(
      "at the time that it was planned for",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask({ scheduledAtMs: now() + HOUR_MS });
        await put(store, task);
        await advance(2 * HOUR_MS);
        expect(await dueOf(store, task)).toBe(task.scheduledAtMs ?? 0);
      }),
    );

    test(
      "at the time that it was moved to, or when it was told to run now",
      withStore(open, async ({ store, advance, now }) => {
        const [moved, hurried] = [newTask(), newTask({ scheduledAtMs: now() + HOUR_MS })];
        await put(store, moved);
        const toMs = now() + MINUTE_MS;
        await store.reschedule(moved.id, { scheduledAtMs: toMs });
        await advance(2 * MINUTE_MS);
        expect(await dueOf(store, moved)).toBe(toMs);
        await put(store, hurried);
        const beforeMs = now();
        await store.runNow(hurried.id);
        expect(await dueOf(store, hurried)).toBeWithin(beforeMs - 1, now() + 1);
      }),
    );

    test(
      "of a retry, when its pause was over; and so of one that was given back for later",
      withStore(open, async ({ store, advance, now }) => {
        for (const end of [retry, release]) {
          const task = newTask();
          await put(store, task);
          const first = await takeOne(store);
          const beforeMs = now();
          await settle(store, end(first, MINUTE_MS));
          await advance(HOUR_MS);
          const dueMs = await dueOf(store, task);
          expect(dueMs).toBeWithin(beforeMs + MINUTE_MS - 1, beforeMs + MINUTE_MS + SLACK_MS);
        }
      }),
    );

    test(
      "of one that was started over, when that was",
      withStore(open, async ({ store, advance, now }) => {
        for (const end of [success, death]) {
          const task = newTask();
          await put(store, task);
          await settle(store, end(await takeOne(store)));
          await advance(MINUTE_MS);
          const beforeMs = now();
          await store.replay(task.id);
          await advance(SECOND_MS);
          expect(await dueOf(store, task)).toBeWithin(beforeMs - 1, now());
        }
      }),
    );

    test(
      "and no time where it was leased for this very run before",
      withStore(open, async ({ store, advance }) => {
        await put(store, newTask());
        const first = await takeOne(store);
        expect(first.dueMs).not.toBeNull();
        await settle(store, release(first, 0));
        await advance(SECOND_MS);
        expect((await takeOne(store)).dueMs).toBeNull();
        await advance(LEASE_MS + SECOND_MS);
        expect((await store.rescue(10)).length).toBe(1);
        const third = await takeOne(store);
        expect(third.dueMs).toBeNull();
        // The next run is one of its own.
        await advance(1);
        await settle(store, retry(third, SECOND_MS));
        await advance(MINUTE_MS);
        expect((await takeOne(store)).dueMs).not.toBeNull();
      }),
    );
  });

  describe("the oldest task that could be claimed", () => {
    const oldest = async (store: TaskStore, queue = "default", priority = "normal") => {
      const counts = await store.counts({ oldest: true });
      return counts.find((lane) => lane.queue === queue && lane.priority === priority)?.oldestReadyMs;
    };

    test(
      "is told of by queue and priority, over all clients, only where it is asked for",
      withStore(open, async ({ store, advance }) => {
        await put(store, newTask({ clientId: "client-a" }));
        await advance(HOUR_MS);
        await put(store, newTask({ clientId: "client-b" }), newTask({ priority: "low" }));
        await advance(MINUTE_MS);
        await put(store, newTask({ queue: "other" }));
        expect(await oldest(store)).toBeWithin(HOUR_MS + MINUTE_MS, HOUR_MS + MINUTE_MS + SLACK_MS);
        expect(await oldest(store, "default", "low")).toBeWithin(MINUTE_MS, MINUTE_MS + SLACK_MS);
        expect(await oldest(store, "other")).toBeWithin(0, SLACK_MS);
        for (const lane of await store.counts()) expect(lane.oldestReadyMs).toBeUndefined();
      }),
    );

    test(
      "counts from its due time, and none that is not due, runs or is over counts",
      withStore(open, async ({ store, advance, now }) => {
        await put(store, newTask({ scheduledAtMs: now() + HOUR_MS }));
        expect(await oldest(store)).toBeUndefined();
        await advance(HOUR_MS + MINUTE_MS);
        // It is noticed by whoever claims next.
        await put(store, newTask({ priority: "critical" }));
        expect((await takeOne(store)).priority).toBe("critical");
        expect(await oldest(store)).toBeWithin(MINUTE_MS, MINUTE_MS + SLACK_MS);
        const claimed = await takeOne(store);
        expect(await oldest(store)).toBeUndefined();
        await settle(store, success(claimed));
        expect(await oldest(store)).toBeUndefined();
      }),
    );

    test(
      "is the first in line, whoever has left its place behind",
      withStore(open, async ({ store, advance, now }) => {
        const [gone, moved, ...left] = newTasks(4);
        if (gone === undefined || moved === undefined) throw new Error("too few");
        await put(store, gone, moved);
        await advance(HOUR_MS);
        await put(store, ...left);
        await advance(MINUTE_MS);
        await store.cancel(gone.id);
        await store.reschedule(moved.id, { scheduledAtMs: now() + HOUR_MS });
        expect(await oldest(store)).toBeWithin(MINUTE_MS, MINUTE_MS + SLACK_MS);
        expect((await drain(store)).length).toBe(2);
        expect(await oldest(store)).toBeUndefined();
      }),
    );

    test(
      "that was given back at once waits since its last lease",
      withStore(open, async ({ store, advance }) => {
        await put(store, newTask());
        await advance(HOUR_MS);
        await settle(store, release(await takeOne(store), 0));
        await advance(SECOND_MS);
        expect(await oldest(store)).toBeWithin(SECOND_MS, SECOND_MS + SLACK_MS);
      }),
    );

    test(
      "counts where its queue is paused, and not where it waits for its ordering key or its host",
      withStore(open, async ({ store, advance }) => {
        const target = newTarget({ url: "http://held.example/" });
        await put(
          store,
          ...newTasks(2, { queue: "keyed", orderingKey: "k" }),
          newTask({ queue: "held", target }),
        );
        await put(store, newTask({ queue: "paused" }));
        await setQueue(store, "paused", { paused: true });
        await store.holdHost("http://held.example", HOUR_MS);
        expect((await take(store, 10)).map(({ queue }) => queue)).toEqual(["keyed"]);
        await advance(MINUTE_MS);
        expect(await oldest(store, "paused")).toBeWithin(MINUTE_MS, MINUTE_MS + SLACK_MS);
        expect(await oldest(store, "keyed")).toBeUndefined();
        expect(await oldest(store, "held")).toBeUndefined();
      }),
    );

    test(
      "is found within a few calls where there are more lanes than one call looks at, and never said to be older",
      withStore(open, async ({ store, advance, now }) => {
        const clients = Array.from({ length: MAX_LANES_LOOKED_AT + 200 }, (_, at) => `client-${at}`);
        const putAll = async (make: (clientId: string) => NewTask, ids: readonly string[]) => {
          for (let at = 0; at < ids.length; at += MAX_PAGE)
            await put(store, ...ids.slice(at, at + MAX_PAGE).map(make));
        };
        // All lanes are there before the one of them that has the oldest task has any to claim.
        const later = now() + DAY_MS;
        await putAll((clientId) => newTask({ clientId, scheduledAtMs: later }), clients);
        await put(store, newTask({ clientId: clients.at(-1) ?? "" }));
        await advance(HOUR_MS);
        await putAll((clientId) => newTask({ clientId }), clients.slice(0, -1));
        const told: number[] = [];
        for (let call = 0; call < 3; call++) told.push((await oldest(store)) ?? Number.NaN);
        for (const ms of told) expect(ms).toBeWithin(0, HOUR_MS + SLACK_MS);
        expect(Math.max(...told)).toBeGreaterThanOrEqual(HOUR_MS);
      }),
    );
  });
}
