/** Conformance: a claim hands out each task to one worker, under a lease that a stale worker cannot touch. */

import { describe, expect, test } from "bun:test";
import { MAX_CLAIM } from "../../../src/core/store.ts";
import { newTask, newTaskId, newTasks, release, retry, success } from "../../support/tasks.ts";
import {
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function claimTests(open: OpenStore): void {
  describe("claim", () => {
    test(
      "takes exactly its limit and never more",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(20));
        for (const limit of [1, 7, 11]) expect((await take(store, limit)).length).toBe(limit);
        expect((await take(store, 10)).length).toBe(1);
        expect(await take(store, 10)).toEqual([]);
      }),
    );

    test(
      "takes its limit across lanes, keys and priorities",
      withStore(open, async ({ store }) => {
        for (const clientId of ["a", "b", "c"]) {
          for (const priority of ["critical", "low"] as const) {
            await put(
              store,
              ...newTasks(2, { clientId, priority }),
              newTask({ clientId, priority, orderingKey: "k" }),
            );
          }
        }
        expect((await take(store, 5)).length).toBe(5);
      }),
    );

    test(
      "takes as many as the largest claim may",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(MAX_CLAIM + 10));
        const claimed = await take(store, MAX_CLAIM);
        expect(new Set(claimed.map((task) => task.id)).size).toBe(MAX_CLAIM);
        expect((await take(store, MAX_CLAIM)).length).toBe(10);
      }),
    );

    test(
      "of several workers at once never hands out a task twice, and none is left over",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(300), ...newTasks(100, { priority: "high", clientId: "client-b" }));
        const claims = await Promise.all(
          Array.from({ length: 16 }, (_, i) => take(store, 25, { worker: `worker-${i}` })),
        );
        const ids = claims.flat().map((task) => task.id);
        expect(ids.length).toBe(400);
        expect(new Set(ids).size).toBe(400);
      }),
    );

    test(
      "leases the task: it is running, by that worker, for that long, as its first attempt",
      withStore(open, async ({ store, now }) => {
        const task = newTask();
        await put(store, task);
        const before = now();
        const claimed = await takeOne(store, { worker: "worker-9" });
        expect(claimed).toMatchObject({ id: task.id, attempt: 1, crashes: 0, firstAttemptAtMs: null });
        expect(claimed.fence).toBeGreaterThan(0);
        expect(claimed.leaseUntilMs).toBeGreaterThanOrEqual(before + LEASE_MS);
        expect(claimed.leaseUntilMs).toBeLessThanOrEqual(now() + LEASE_MS);
        expect(await read(store, task.id)).toMatchObject({
          state: "running",
          fence: claimed.fence,
          lease: { worker: "worker-9", untilMs: claimed.leaseUntilMs },
          attempts: 0,
          finishedAtMs: null,
        });
      }),
    );

    test(
      "does not hand out a running task while its lease holds",
      withStore(open, async ({ store, advance }) => {
        await put(store, newTask());
        await takeOne(store);
        await advance(LEASE_MS / 2);
        expect(await take(store, 10)).toEqual([]);
      }),
    );
  });

  describe("fencing", () => {
    test(
      "the fence grows with every lease, however the one before ended",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        const fences: number[] = [];
        const lease = async () => {
          const claimed = await takeOne(store);
          fences.push(claimed.fence);
          return claimed;
        };
        await settle(store, retry(await lease(), 1));
        await advance(1);
        await settle(store, release(await lease(), 0));
        await lease();
        await advance(LEASE_MS + 1);
        expect((await store.rescue(10)).length).toBe(1);
        await settle(store, success(await lease()));
        await store.replay(task.id);
        await lease();
        for (const [i, fence] of fences.entries()) expect(fence).toBeGreaterThan(fences[i - 1] ?? 0);
        expect(fences.length).toBe(5);
      }),
    );

    test(
      "a settle with an earlier lease is stale and changes nothing",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        const old = await takeOne(store, { worker: "slow" });
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        await takeOne(store, { worker: "next" });
        const before = await read(store, task.id);
        for (const stale of [success(old), retry(old, 1), release(old, 0)]) {
          expect(await store.settle([stale])).toEqual(["stale"]);
        }
        expect(await read(store, task.id)).toEqual(before);
      }),
    );

    test(
      "a settle after the lease was taken back is stale, even before the next claim",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        const old = await takeOne(store);
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        const before = await read(store, task.id);
        expect(await store.settle([success(old)])).toEqual(["stale"]);
        expect(await read(store, task.id)).toEqual(before);
      }),
    );

    test(
      "a settle with a fence never given out is stale",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const claimed = await takeOne(store);
        expect(await store.settle([success({ ...claimed, fence: claimed.fence + 1 })])).toEqual(["stale"]);
        expect((await read(store, task.id)).state).toBe("running");
      }),
    );

    test(
      "a settle repeated is stale and does not count twice",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const failed = retry(await takeOne(store), MINUTE_MS);
        await settle(store, failed);
        const before = await read(store, task.id);
        expect(await store.settle([failed])).toEqual(["stale"]);
        expect(await read(store, task.id)).toEqual(before);
      }),
    );

    test(
      "a settle repeated within one call counts once",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const failed = retry(await takeOne(store), MINUTE_MS);
        expect(await store.settle([failed, failed])).toEqual(["settled", "stale"]);
        expect((await read(store, task.id)).attempts).toBe(1);
      }),
    );

    test(
      "an earlier lease of a task that was replayed settles nothing",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const done = success(await takeOne(store));
        await settle(store, done);
        await store.replay(task.id);
        expect(await store.settle([done])).toEqual(["stale"]);
        expect((await read(store, task.id)).state).toBe("ready");
      }),
    );

    test(
      "settling and extending an unknown task is stale",
      withStore(open, async ({ store }) => {
        await put(store, newTask());
        const claimed = { ...(await takeOne(store)), id: newTaskId() };
        expect(await store.settle([success(claimed)])).toEqual(["stale"]);
        const lease = { taskId: claimed.id, fence: 1 };
        expect(await store.extend([lease], LEASE_MS)).toEqual([{ ...lease, why: "stale" }]);
      }),
    );
  });

  describe("extend", () => {
    test(
      "makes a lease hold from now, and says nothing of those that hold",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask();
        await put(store, task);
        const { fence } = await takeOne(store);
        await advance(40_000);
        const before = now();
        expect(await store.extend([{ taskId: task.id, fence }], LEASE_MS)).toEqual([]);
        expect((await read(store, task.id)).lease?.untilMs).toBeGreaterThanOrEqual(before + LEASE_MS);
        await advance(40_000);
        expect(await store.rescue(10)).toEqual([]);
        expect(await take(store, 1)).toEqual([]);
        await advance(LEASE_MS);
        expect((await store.rescue(10)).length).toBe(1);
      }),
    );

    test(
      "tells the stale among many, extends the others, and touches no one else's lease",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...newTasks(3));
        const [kept, lost, foreign] = await take(store, 3);
        if (!kept || !lost || !foreign) throw new Error("expected three tasks");
        await settle(store, success(lost));
        const refs = [kept, lost, { ...foreign, fence: foreign.fence + 1 }].map(({ id, fence }) => ({
          taskId: id,
          fence,
        }));
        const before = await read(store, foreign.id);
        await advance(SMALL_STEP_MS);
        const answer = await store.extend(refs, 2 * LEASE_MS);
        expect([...answer].sort((a, b) => a.taskId.localeCompare(b.taskId))).toEqual(
          refs
            .slice(1)
            .map((ref) => ({ ...ref, why: "stale" as const }))
            .sort((a, b) => a.taskId.localeCompare(b.taskId)),
        );
        expect(await read(store, foreign.id)).toEqual(before);
        expect((await read(store, kept.id)).lease?.untilMs).toBeGreaterThan(kept.leaseUntilMs);
      }),
    );

    test(
      "of nothing and settling of nothing answer nothing",
      withStore(open, async ({ store }) => {
        expect(await store.extend([], LEASE_MS)).toEqual([]);
        expect(await store.settle([])).toEqual([]);
      }),
    );
  });
}

const SMALL_STEP_MS = 1_000;
