/** Conformance: settling together with a claim, and settling what was cancelled meanwhile. */

import { describe, expect, test } from "bun:test";
import { attemptOf, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import {
  idsOf,
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function settleBesideTests(open: OpenStore): void {
  describe("settleAndClaim", () => {
    const request = { worker: "worker-2", limit: 5, leaseMs: LEASE_MS };

    test(
      "settles and claims in one step",
      withStore(open, async ({ store }) => {
        const tasks = newTasks(4);
        await put(store, ...tasks);
        const [a, b] = await take(store, 2);
        if (!a || !b) throw new Error("expected two tasks");
        const { settled, claim } = await store.settleAndClaim(
          [success(a), success({ ...b, fence: b.fence + 1 })],
          request,
        );
        expect(settled).toEqual(["settled", "stale"]);
        expect(idsOf(claim.tasks)).toEqual(idsOf(tasks.slice(2)));
        expect(claim.nextInMs).toBeNull();
        expect((await read(store, a.id)).state).toBe("succeeded");
        expect((await read(store, b.id)).state).toBe("running");
        expect((await read(store, tasks[2]?.id ?? "")).lease?.worker).toBe("worker-2");
      }),
    );

    test(
      "settles first: what that sets free can be claimed in the same call",
      withStore(open, async ({ store }) => {
        const [head, next] = newTasks(2, { orderingKey: "k" });
        if (!head || !next) throw new Error("expected two tasks");
        await put(store, head, next);
        const { claim } = await store.settleAndClaim([success(await takeOne(store))], request);
        expect(idsOf(claim.tasks)).toEqual([next.id]);
        const again = await store.settleAndClaim([release(claimedOf(claim.tasks), 0)], request);
        expect(idsOf(again.claim.tasks)).toEqual([next.id]);
      }),
    );

    test(
      "says when to look again, counting what was just settled",
      withStore(open, async ({ store }) => {
        await put(store, newTask());
        const claimed = await takeOne(store);
        const { claim } = await store.settleAndClaim([retry(claimed, 10 * MINUTE_MS)], request);
        expect(claim.tasks).toEqual([]);
        expect(claim.nextInMs).toBeGreaterThan(9 * MINUTE_MS);
        expect(claim.nextInMs).toBeLessThanOrEqual(10 * MINUTE_MS);
      }),
    );
  });

  describe("after a cancel", () => {
    test(
      "a running task's extend says cancelled, its settle too, and the attempt is kept",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const claimed = await takeOne(store);
        await store.cancel(task.id);
        const lease = { taskId: task.id, fence: claimed.fence };
        expect(await store.extend([lease], LEASE_MS)).toEqual([{ ...lease, why: "cancelled" }]);
        expect(await store.settle([success(claimed)])).toEqual(["cancelled"]);
        const cancelled = await read(store, task.id);
        expect(cancelled.state).toBe("cancelled");
        expect(cancelled.attemptLog).toEqual([attemptOf(claimed)]);
        expect(cancelled.lease).toBeNull();
        expect(await store.settle([success(claimed)])).toEqual(["stale"]);
        expect(await take(store, 1)).toEqual([]);
      }),
    );

    test(
      "a retry or a release of a cancelled task does not bring it back",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...newTasks(2));
        const [a, b] = await take(store, 2);
        if (!a || !b) throw new Error("expected two tasks");
        await store.cancel(a.id);
        await store.cancel(b.id);
        expect(await store.settle([retry(a, 1), release(b, 0)])).toEqual(["cancelled", "cancelled"]);
        await advance(MINUTE_MS);
        expect(await take(store, 5)).toEqual([]);
        expect((await read(store, a.id)).state).toBe("cancelled");
        expect((await read(store, b.id)).state).toBe("cancelled");
      }),
    );
  });
}

function claimedOf<T>(tasks: readonly T[]): T {
  const [task] = tasks;
  if (task === undefined) throw new Error("expected a claimed task");
  return task;
}
