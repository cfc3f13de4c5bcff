/** Conformance: a client never has more tasks running than it may, and gets each slot back when its lease ends, not before. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES } from "../../../src/core/priority.ts";
import type { ClaimedTask, Settlement, TaskStore } from "../../../src/core/store.ts";
import { death, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import { queueUseOf, setClient, setQueue, useOf } from "./admin.ts";
import {
  drain,
  idsOf,
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  reopened,
  secondOf,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function concurrencyTests(open: OpenStore, offers: { reopen: boolean; second: boolean }): void {
  describe("tasks running at once", () => {
    test(
      "are at most the client's limit over all its queues, priorities and keys, and another's are its own",
      withStore(open, async ({ store }) => {
        await limit(store, "client-a", 5);
        await limit(store, "client-b", 2);
        for (const clientId of ["client-a", "client-b"]) {
          for (const priority of PRIORITIES) {
            await put(store, ...newTasks(4, { clientId, priority }));
            await put(store, ...newTasks(4, { clientId, priority, queue: "other" }));
            await put(store, newTask({ clientId, priority, queue: "third", orderingKey: "k" }));
          }
        }
        const claimed = await drain(store, 3);
        expect(claimed.length).toBe(7);
        expect((await useOf(store, "client-a")).running).toBe(5);
        expect((await useOf(store, "client-b")).running).toBe(2);
        for (const one of claimed) {
          const [next, ...more] = (await store.settleAndClaim([success(one)], REQUEST)).claim.tasks;
          expect(more).toEqual([]);
          expect(next?.clientId).toBe(one.clientId);
        }
      }),
    );

    test(
      "do not make a claim come again at once while there is no slot",
      withStore(open, async ({ store, now }) => {
        await limit(store, "client-a", 1);
        await put(store, ...newTasks(3), ...newTasks(2, { queue: "other" }));
        const first = await store.claim({ ...REQUEST, limit: 1 });
        expect(first.tasks.length).toBe(1);
        for (let i = 0; i < 3; i++) expect(await drain(store)).toEqual([]);
        expect((await store.claim(REQUEST)).nextInMs).toBeNull();
        await put(store, newTask({ scheduledAtMs: now() + MINUTE_MS }));
        expect((await store.claim(REQUEST)).nextInMs).toBeGreaterThan(0);
      }),
    );

    test(
      "of one client waiting for a slot do not hold back another's, in the same queue or elsewhere",
      withStore(open, async ({ store }) => {
        await limit(store, "client-a", 1);
        await put(store, ...newTasks(500), ...newTasks(100, { queue: "other", priority: "critical" }));
        await takeOne(store);
        const free = [
          newTask({ clientId: "b", priority: "low" }),
          newTask({ clientId: "b", queue: "other" }),
        ];
        await put(store, ...free);
        expect(new Set(idsOf(await drain(store, 1)))).toEqual(new Set(idsOf(free)));
      }),
    );

    test.skipIf(!offers.second)(
      "are counted over all workers, through whichever handle they claim and settle",
      withStore(open, async (opened) => {
        const { store } = opened;
        const other = await secondOf(opened);
        await limit(store, "client-a", 7);
        await put(store, ...newTasks(30), ...newTasks(30, { queue: "other" }));
        const claims = await Promise.all(
          Array.from({ length: 10 }, (_, i) => take(i % 2 ? store : other, 3, { worker: `w${i}` })),
        );
        const running = claims.flat();
        expect(running.length).toBe(7);
        expect(new Set(idsOf(running)).size).toBe(7);
        await settle(other, ...running.slice(0, 3).map((one) => success(one)));
        expect((await drain(store)).length + (await drain(other)).length).toBe(3);
        expect(await useOf(other, "client-a")).toMatchObject({ running: 7 });
      }),
    );

    test.skipIf(!offers.reopen)(
      "are still counted after the store was opened again",
      withStore(open, async (opened) => {
        await limit(opened.store, "client-a", 2);
        await setQueue(opened.store, "default", { maxConcurrent: 2 });
        await put(opened.store, ...newTasks(5));
        const [one] = await drain(opened.store);
        const again = await reopened(opened);
        expect(await drain(again)).toEqual([]);
        expect((await useOf(again, "client-a")).running).toBe(2);
        if (one === undefined) throw new Error("expected a task");
        await settle(again, success(one));
        expect((await drain(again)).length).toBe(1);
      }),
    );
  });

  describe("a slot", () => {
    const ENDS: ReadonlyArray<readonly [string, (claimed: ClaimedTask) => Settlement, "same" | "next"]> = [
      ["a success", success, "next"],
      ["a retry", (claimed) => retry(claimed, MINUTE_MS), "next"],
      ["a death", (claimed) => death(claimed), "next"],
      ["a release for now", (claimed) => release(claimed, 0), "same"],
      ["a release for later", (claimed) => release(claimed, MINUTE_MS), "next"],
    ];
    for (const [what, end, who] of ENDS) {
      test(
        `comes back by ${what}, once`,
        withStore(open, async (opened) => {
          const { store } = opened;
          const { claimed, next } = await oneOfTwo(store);
          await settle(store, end(claimed));
          expect(await store.settle([end(claimed)])).toEqual(["stale"]);
          const tasks = await drain(store);
          expect(idsOf(tasks)).toEqual([who === "same" ? claimed.id : next]);
          expect((await useOf(store, "client-a")).running).toBe(1);
        }),
      );
    }

    test(
      "comes back when its lease is taken back, and the stale settlement that follows gives none",
      withStore(open, async ({ store, advance }) => {
        const { claimed } = await oneOfTwo(store);
        await advance(LEASE_MS + 1);
        expect((await store.rescue(10)).length).toBe(1);
        expect((await useOf(store, "client-a")).running).toBe(0);
        expect((await drain(store)).length).toBe(1);
        expect(await store.settle([success(claimed)])).toEqual(["stale"]);
        expect(await drain(store)).toEqual([]);
        expect((await useOf(store, "client-a")).running).toBe(1);
      }),
    );

    test(
      "is kept by a lease that is extended, and by one that others fail to extend or settle",
      withStore(open, async ({ store, advance }) => {
        const { claimed } = await oneOfTwo(store);
        const lease = { taskId: claimed.id, fence: claimed.fence };
        await advance(LEASE_MS - 10_000);
        expect(await store.extend([lease], LEASE_MS)).toEqual([]);
        await store.extend([{ ...lease, fence: claimed.fence + 1 }], LEASE_MS);
        expect(await store.settle([success({ ...claimed, fence: claimed.fence + 1 })])).toEqual(["stale"]);
        await advance(LEASE_MS - 10_000);
        expect(await store.rescue(10)).toEqual([]);
        expect(await drain(store)).toEqual([]);
        expect((await useOf(store, "client-a")).running).toBe(1);
      }),
    );

    for (const retentionMs of [null, 0]) {
      for (const how of ["its worker lets go", "its lease runs out"]) {
        test(
          `of a task of retention ${retentionMs} that is cancelled while it runs comes back when ${how}, not before`,
          withStore(open, async ({ store, advance }) => {
            const { claimed, next } = await oneOfTwo(store, retentionMs);
            await store.cancel(claimed.id);
            expect(await drain(store)).toEqual([]);
            expect((await useOf(store, "client-a")).running).toBe(1);
            await store.extend([{ taskId: claimed.id, fence: claimed.fence }], LEASE_MS);
            await store.sweep(100);
            expect(await drain(store)).toEqual([]);
            if (how === "its lease runs out") {
              await advance(LEASE_MS + 1);
              expect(await store.rescue(10)).toMatchObject([{ id: claimed.id, state: "cancelled" }]);
            } else {
              expect(await store.settle([release(claimed, 0)])).toEqual(["cancelled"]);
            }
            expect(idsOf(await drain(store))).toEqual([next]);
            expect((await useOf(store, "client-a")).running).toBe(1);
          }),
        );
      }
    }

    test(
      "comes back for the claim that settles in the same step",
      withStore(open, async ({ store }) => {
        const { claimed, next } = await oneOfTwo(store);
        const { settled, claim } = await store.settleAndClaim([success(claimed)], REQUEST);
        expect(settled).toEqual(["settled"]);
        expect(idsOf(claim.tasks)).toEqual([next]);
      }),
    );

    test(
      "is gone while more than a lowered limit run, and is there at once when the limit is raised",
      withStore(open, async ({ store }) => {
        await limit(store, "client-a", 5);
        await put(store, ...newTasks(20), ...newTasks(5, { queue: "other" }));
        const running = await drain(store);
        expect(running.length).toBe(5);
        await limit(store, "client-a", 2);
        for (const one of running.slice(0, 3)) {
          await settle(store, success(one));
          expect(await drain(store)).toEqual([]);
        }
        await settle(store, ...running.slice(3, 4).map((one) => success(one)));
        expect((await drain(store)).length).toBe(1);
        await limit(store, "client-a", 6);
        expect((await drain(store)).length).toBe(4);
        await limit(store, "client-a", null);
        expect((await drain(store)).length).toBe(15);
        expect((await useOf(store, "client-a")).running).toBe(21);
      }),
    );
  });

  describe("clientUse", () => {
    test(
      "tells what each runs and has asked for within the minute, in the order asked, and nothing of the unknown",
      withStore(
        open,
        async ({ store, advance }) => {
          await setClient(store, "client-b", { tier: "basic" });
          await put(store, ...newTasks(4), ...newTasks(3, { clientId: "client-b" }));
          const claimed = await drain(store);
          expect(claimed.length).toBe(4);
          expect(await store.clientUse(["client-b", "nobody", "client-a", "client-b"])).toEqual([
            { running: 3, requests: 3 },
            { running: 0, requests: 0 },
            { running: 1, requests: 4 },
            { running: 3, requests: 3 },
          ]);
          expect(await store.clientUse([])).toEqual([]);
          expect(await queueUseOf(store, "default")).toMatchObject({ running: 4 });
          await settle(store, ...claimed.map((one) => success(one)));
          await advance(MINUTE_MS + 1_000);
          expect(await store.clientUse(["client-a", "client-b"])).toEqual([
            { running: 0, requests: 0 },
            { running: 0, requests: 0 },
          ]);
          expect(await queueUseOf(store, "default")).toMatchObject({ running: 0 });
        },
        { limits: "built-in" },
      ),
    );
  });
}

const REQUEST = { worker: "worker-2", limit: 10, leaseMs: LEASE_MS };

function limit(store: TaskStore, clientId: string, maxConcurrent: number | null): Promise<void> {
  return setClient(store, clientId, { overrides: { maxConcurrent } });
}

/** A client that may run one task runs the first of its two; the next waits in another lane. */
async function oneOfTwo(
  store: TaskStore,
  retentionMs: number | null = null,
): Promise<{ claimed: ClaimedTask; next: string }> {
  await limit(store, "client-a", 1);
  await put(store, newTask({ retentionMs }));
  const claimed = await takeOne(store);
  const next = newTask({ queue: "other", priority: "low" });
  await put(store, next);
  expect(await drain(store)).toEqual([]);
  return { claimed, next: next.id };
}
