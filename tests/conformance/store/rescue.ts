/** Conformance: a task whose worker died comes back by itself, uncharged, with the deaths counted. */

import { describe, expect, test } from "bun:test";
import type { Rescued } from "../../../src/core/store.ts";
import { MAX_CRASHES } from "../../../src/core/task.ts";
import { death, newTask, newTasks, retry } from "../../support/tasks.ts";
import {
  LEASE_MS,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function rescueTests(open: OpenStore): void {
  describe("rescue", () => {
    test(
      "takes back a task only after its lease ran out",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        await takeOne(store, { worker: "worker-7" });
        await advance(LEASE_MS / 2);
        expect(await store.rescue(10)).toEqual([]);
        await advance(LEASE_MS / 2 + 1);
        expect(await store.rescue(10)).toEqual([
          { id: task.id, worker: "worker-7", crashes: 1, state: "ready" },
        ]);
        expect(await store.rescue(10)).toEqual([]);
      }),
    );

    test(
      "counts a crash and charges no attempt",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        const first = await takeOne(store);
        await settle(store, retry(first, 1));
        await advance(1);
        await takeOne(store);
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        expect(await read(store, task.id)).toMatchObject({
          state: "ready",
          attempts: 1,
          crashes: 1,
          releases: 0,
          lease: null,
          finishedAtMs: null,
        });
        expect(await takeOne(store)).toMatchObject({ id: task.id, attempt: 2, crashes: 1 });
      }),
    );

    test(
      `hands a task out again however many workers died with it, each counted, for its next worker judges`,
      withStore(open, async (opened) => {
        const { store } = opened;
        const task = newTask();
        await put(store, task);
        for (let crashes = 1; crashes <= MAX_CRASHES + 1; crashes++) {
          expect(await crash(opened)).toMatchObject([{ id: task.id, crashes, state: "ready" }]);
          expect(await read(store, task.id)).toMatchObject({ state: "ready", attempts: 0, crashes });
        }
        const claimed = await takeOne(store);
        expect(claimed).toMatchObject({ id: task.id, crashes: MAX_CRASHES + 1, attempt: 1 });
        // The worker that gives it up has made no attempt to tell of.
        const reason = `${MAX_CRASHES + 1} workers died while running it`;
        await settle(store, { ...death(claimed, reason), attempt: null });
        const dead = await read(store, task.id);
        expect(dead).toMatchObject({
          state: "dead",
          reason,
          attempts: 0,
          crashes: MAX_CRASHES + 1,
          lease: null,
        });
        expect(dead.attemptLog).toEqual([]);
        expect(dead.finishedAtMs).not.toBeNull();
        expect(await take(store, 1)).toEqual([]);
      }),
    );

    test(
      "a task given up for its crashes begins anew with none when it is replayed",
      withStore(open, async (opened) => {
        const { store } = opened;
        const task = newTask();
        await put(store, task);
        for (let crashes = 1; crashes <= MAX_CRASHES; crashes++) await crash(opened);
        await settle(store, { ...death(await takeOne(store)), attempt: null });
        expect(await store.replay(task.id)).toMatchObject({
          kind: "changed",
          task: { state: "ready", crashes: 0 },
        });
        expect(await crash(opened)).toMatchObject([{ id: task.id, crashes: 1, state: "ready" }]);
      }),
    );

    test(
      "takes back at most its limit, and the rest the next time",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...newTasks(5));
        await take(store, 5);
        await advance(LEASE_MS + 1);
        const [first, second, third] = [await store.rescue(2), await store.rescue(2), await store.rescue(10)];
        expect([first.length, second.length, third.length]).toEqual([2, 2, 1]);
        expect(new Set([...first, ...second, ...third].map((rescued) => rescued.id)).size).toBe(5);
      }),
    );

    test(
      "leaves alone the leases that hold",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...newTasks(2));
        const dying = await takeOne(store, { worker: "dying", leaseMs: MINUTE_MS });
        const living = await takeOne(store, { worker: "living", leaseMs: 10 * MINUTE_MS });
        await advance(2 * MINUTE_MS);
        expect((await store.rescue(10)).map((rescued) => rescued.id)).toEqual([dying.id]);
        expect((await read(store, living.id)).state).toBe("running");
      }),
    );

    test(
      "ends the lease of a cancelled task that nobody settled, and the task stays cancelled",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        await takeOne(store, { worker: "worker-7" });
        await store.cancel(task.id);
        await advance(LEASE_MS + 1);
        expect(await store.rescue(10)).toMatchObject([
          { id: task.id, worker: "worker-7", state: "cancelled" },
        ]);
        expect(await store.rescue(10)).toEqual([]);
        expect(await read(store, task.id)).toMatchObject({ state: "cancelled", lease: null });
        expect(await take(store, 1)).toEqual([]);
      }),
    );

    test(
      "a rescued task goes before those that came after it",
      withStore(open, async ({ store, advance }) => {
        const [first, second] = newTasks(2);
        if (!first || !second) throw new Error("expected two tasks");
        await put(store, first);
        await takeOne(store);
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        await advance(1);
        await put(store, second);
        expect((await takeOne(store)).id).toBe(first.id);
      }),
    );
  });
}

/** A worker claims one task and is never heard of again. */
async function crash({ store, advance }: OpenedStore): Promise<readonly Rescued[]> {
  await takeOne(store, { worker: "unlucky" });
  await advance(LEASE_MS + 1);
  return store.rescue(10);
}
