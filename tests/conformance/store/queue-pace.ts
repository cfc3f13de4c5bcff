/** Conformance: a queue's tasks begin no faster than its rate, and as fast as that lets them. */

import { describe, expect, test } from "bun:test";
import { newTask, newTasks, success } from "../../support/tasks.ts";
import { auditEntry, queueUseOf, setQueue } from "./admin.ts";
import {
  drain,
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  SECOND_MS,
  secondOf,
  settle,
  take,
  withStore,
} from "./harness.ts";

const REQUEST = { worker: "worker-2", limit: 100, leaseMs: LEASE_MS };

export function queuePaceTests(open: OpenStore, offers: { second: boolean }): void {
  describe("a queue's rate", () => {
    test(
      "lets its burst begin at once, then one each interval, and after a rest no more than its burst",
      withStore(open, async (opened) => {
        const { store, advance, now } = opened;
        await setQueue(store, "default", { maxDispatchesPerSec: 0.1, maxBurst: 3 });
        await put(store, ...newTasks(40), ...newTasks(40, { clientId: "b", priority: "low" }));
        const before = now();
        expect((await drain(store)).length).toBe(3);
        for (let i = 0; i < 4; i++) {
          await advance(8 * SECOND_MS);
          expect(await drain(store)).toEqual([]);
          await advance(2 * SECOND_MS);
          expect((await drain(store)).length).toBe(1);
        }
        const { nextDispatchAtMs } = await queueUseOf(store, "default");
        expect(nextDispatchAtMs).toBeGreaterThanOrEqual(before + 50 * SECOND_MS);
        expect(nextDispatchAtMs).toBeLessThanOrEqual(now() + 10 * SECOND_MS);
        await advance(1_000 * SECOND_MS);
        expect((await queueUseOf(store, "default")).nextDispatchAtMs).toBeNull();
        expect((await drain(store)).length).toBe(3);
      }),
    );

    test(
      "tells the claim that finds none when the next may begin, and it may by then",
      withStore(open, async ({ store, advance, now }) => {
        await setQueue(store, "default", { maxDispatchesPerSec: 0.03, maxBurst: 1 });
        await put(store, ...newTasks(10), newTask({ queue: "other", scheduledAtMs: now() + 10 * MINUTE_MS }));
        expect((await drain(store)).length).toBe(1);
        for (let i = 0; i < 5; i++) {
          const { tasks, nextInMs } = await store.claim(REQUEST);
          expect(tasks).toEqual([]);
          expect(nextInMs).toBeGreaterThan(32 * SECOND_MS);
          expect(nextInMs).toBeLessThanOrEqual(33_334);
          await advance(nextInMs ?? 0);
          const begun = await drain(store);
          // It may be a moment early, for it is never late.
          await advance(1);
          expect(begun.length + (await drain(store)).length).toBe(1);
        }
      }),
    );

    for (const [rate, burst, pauseMs] of [
      [3, null, 20],
      [0.7, 2, 50],
      [250, 100, 1],
      [1, 1_000, 50],
    ] as const) {
      test(
        `of ${rate} a second and a burst of ${burst} is kept to, and used, over many small steps`,
        withStore(open, async ({ store, advance, now }) => {
          await setQueue(store, "default", { maxDispatchesPerSec: rate, maxBurst: burst });
          await put(store, ...newTasks(600), ...newTasks(600, { clientId: "b" }));
          const fromMs = now();
          let begun = (await drain(store)).length;
          const sinceMs = now();
          const depth = burst ?? rate;
          for (let step = 0; step < 100 && begun < 1_150; step++) {
            await advance(pauseMs * (1 + ((step * 7) % 13)));
            const before = now();
            begun += (await drain(store, 1 + (step % 3) * 20)).length;
            const most = depth + (rate * (now() - fromMs)) / SECOND_MS;
            const least = depth + (rate * (before - sinceMs)) / SECOND_MS;
            expect(begun).toBeLessThanOrEqual(Math.min(1_200, most + 1e-6));
            // What is less than a task has to wait; a store may round the time of a task up.
            expect(begun).toBeGreaterThan(Math.min(1_200, least) - 2);
          }
        }),
      );
    }

    test(
      "is one for all its clients, workers and handles, and is not given back by what ends",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        const other = offers.second ? await secondOf(opened) : store;
        await setQueue(store, "default", { maxDispatchesPerSec: 0.1, maxBurst: 2 });
        for (const clientId of ["a", "b", "c", "d"]) await put(store, ...newTasks(5, { clientId }));
        const claims = await Promise.all([take(store, 5), take(other, 5), take(store, 1), take(other, 1)]);
        expect(claims.flat().length).toBe(2);
        await settle(other, ...claims.flat().map((one) => success(one)));
        expect([...(await drain(store)), ...(await drain(other))]).toEqual([]);
        await advance(10 * SECOND_MS);
        expect((await drain(other)).length).toBe(1);
        // Nor does it hold back another queue.
        await put(store, ...newTasks(50, { queue: "other" }));
        expect((await drain(store)).length).toBe(50);
      }),
    );

    test(
      "that is changed or taken away holds for those that wait",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        await put(store, ...newTasks(100));
        await setQueue(store, "default", { maxDispatchesPerSec: 0.1, maxBurst: 1 });
        expect((await drain(store)).length).toBe(1);
        await setQueue(store, "default", { maxDispatchesPerSec: 1, maxBurst: 1 });
        await advance(SECOND_MS);
        expect((await drain(store)).length).toBe(1);
        await setQueue(store, "default", { maxDispatchesPerSec: null, maxBurst: null });
        expect((await drain(store)).length).toBe(98);
        expect((await queueUseOf(store, "default")).nextDispatchAtMs).toBeNull();
      }),
    );
  });

  test(
    "what a queue uses is told in the order asked, and nothing of the unknown",
    withStore(open, async ({ store, now }) => {
      await put(store, ...newTasks(2, { queue: "busy" }));
      await drain(store);
      await setQueue(store, "slow", { maxDispatchesPerSec: 0.01 });
      await store.purge("slow", auditEntry());
      const [slow, unknown, busy, ...more] = await store.queueUse(["slow", "unknown", "busy"]);
      expect(more).toEqual([]);
      expect(unknown).toEqual({ running: 0, nextDispatchAtMs: null, purge: null });
      expect(busy).toEqual({ running: 2, nextDispatchAtMs: null, purge: null });
      expect(slow).toMatchObject({ running: 0, nextDispatchAtMs: null, purge: { queue: "slow" } });
      expect(slow?.purge?.startedAtMs ?? 0).toBeLessThanOrEqual(now());
      expect(await store.queueUse([])).toEqual([]);
    }),
  );
}
