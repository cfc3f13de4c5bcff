/** Conformance: a store knows its workers, says whether it works, and closes cleanly. */

import { describe, expect, test } from "bun:test";
import { newTask, success } from "../../support/tasks.ts";
import { auditEntry, NO_LIMITS } from "./admin.ts";
import { HOUR_MS, idsOf, LEASE_MS, MINUTE_MS, type OpenStore, put, takeOne, withStore } from "./harness.ts";

export function lifecycleTests(open: OpenStore): void {
  describe("workers", () => {
    const worker = {
      id: "worker-1",
      version: "1.2.3",
      concurrency: 10,
      allowPrivateUrls: true,
      startedAtMs: 17,
    };

    test(
      "that announced themselves are listed as they did, newest first",
      withStore(open, async ({ store, advance, now }) => {
        expect(await store.workers(HOUR_MS)).toEqual([]);
        const before = now();
        await store.announce(worker);
        await advance(10);
        await store.announce({ ...worker, id: "worker-2", allowPrivateUrls: false, startedAtMs: 18 });
        const workers = await store.workers(HOUR_MS);
        expect(idsOf(workers)).toEqual(["worker-2", "worker-1"]);
        expect(workers[1]).toEqual({ ...worker, seenAtMs: workers[1]?.seenAtMs ?? Number.NaN });
        expect(workers[1]?.seenAtMs).toBeGreaterThanOrEqual(before);
        expect(workers[0]?.allowPrivateUrls).toBe(false);
      }),
    );

    test(
      "that announce themselves again are listed once, as they are now",
      withStore(open, async ({ store, advance }) => {
        await store.announce(worker);
        const [first] = await store.workers(HOUR_MS);
        await advance(MINUTE_MS);
        await store.announce({ ...worker, concurrency: 20 });
        const workers = await store.workers(HOUR_MS);
        expect(workers.length).toBe(1);
        expect(workers[0]).toMatchObject({ id: "worker-1", concurrency: 20 });
        expect(workers[0]?.seenAtMs).toBeGreaterThan(first?.seenAtMs ?? Number.POSITIVE_INFINITY);
      }),
    );

    test(
      "that have been silent for longer are left out",
      withStore(open, async ({ store, advance }) => {
        await store.announce(worker);
        await advance(2 * MINUTE_MS);
        await store.announce({ ...worker, id: "worker-2" });
        expect(idsOf(await store.workers(MINUTE_MS))).toEqual(["worker-2"]);
        expect((await store.workers(HOUR_MS)).length).toBe(2);
      }),
    );
  });

  describe("check and close", () => {
    test(
      "check resolves while the store works, and the store has a name",
      withStore(open, async ({ store }) => {
        await store.check();
        expect(store.name).toMatch(/^[a-z][a-z0-9-]*$/);
      }),
    );

    test(
      "close finishes what is under way",
      withStore(open, async ({ store }) => {
        const task = newTask();
        const enqueued = store.enqueue([task]);
        await store.close();
        expect((await enqueued).results).toMatchObject([{ kind: "created", id: task.id }]);
      }),
    );

    test(
      "after close every call rejects",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const claimed = await takeOne(store);
        const request = { worker: "w", limit: 1, leaseMs: LEASE_MS };
        await store.close();
        const calls: Record<string, () => Promise<unknown>> = {
          enqueue: () => store.enqueue([newTask()]),
          get: () => store.get(task.id),
          list: () => store.list({ limit: 1 }),
          cancel: () => store.cancel(task.id),
          reschedule: () => store.reschedule(task.id, { priority: "low" }),
          runNow: () => store.runNow(task.id),
          replay: () => store.replay(task.id),
          replayMany: () => store.replayMany([{ id: task.id, notBeforeMs: 0 }]),
          forget: () => store.forget([task.id]),
          keyHolder: () => store.keyHolder(task.id),
          counts: () => store.counts(),
          workers: () => store.workers(HOUR_MS),
          claim: () => store.claim(request),
          settle: () => store.settle([success(claimed)]),
          settleAndClaim: () => store.settleAndClaim([], request),
          extend: () => store.extend([{ taskId: task.id, fence: claimed.fence }], LEASE_MS),
          rescue: () => store.rescue(1),
          sweep: () => store.sweep(1),
          announce: () =>
            store.announce({
              id: "w",
              version: "1",
              concurrency: 1,
              allowPrivateUrls: false,
              startedAtMs: 1,
            }),
          read: () => store.read("client", "client-a"),
          page: () => store.page("queue", { limit: 1 }),
          change: () => store.change({ kind: "tier", id: "t", from: null, value: NO_LIMITS }, auditEntry()),
          clientUse: () => store.clientUse(["client-a"]),
          queueUse: () => store.queueUse(["default"]),
          purge: () => store.purge("default", auditEntry()),
          purgeStep: () => store.purgeStep(1),
          record: () => store.record(auditEntry()),
          audit: () => store.audit({ limit: 1 }),
          check: () => store.check(),
        };
        for (const [name, call] of Object.entries(calls)) {
          const outcome = await call().then(
            () => "resolved",
            () => "rejected",
          );
          expect([name, outcome]).toEqual([name, "rejected"]);
        }
      }),
    );
  });
}
