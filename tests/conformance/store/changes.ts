/** Conformance: a person can cancel, move, start and replay a task, each only in the states that allow it. */

import { describe, expect, test } from "bun:test";
import type { ChangeResult, TaskStore } from "../../../src/core/store.ts";
import { isFinal, isWaiting, TASK_STATES, type Task, type TaskState } from "../../../src/core/task.ts";
import { death, newTask, newTaskId, newTasks, retry, success } from "../../support/tasks.ts";
import {
  HOUR_MS,
  idsOf,
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

/** Each change, and the states that allow it. */
const CHANGES: ReadonlyArray<
  readonly [string, (store: TaskStore, id: string) => Promise<ChangeResult>, (state: TaskState) => boolean]
> = [
  ["cancel", (store, id) => store.cancel(id), (state) => !isFinal(state)],
  ["reschedule", (store, id) => store.reschedule(id, { priority: "high" }), isWaiting],
  ["runNow", (store, id) => store.runNow(id), isWaiting],
  ["replay", (store, id) => store.replay(id), isFinal],
];

export function changeTests(open: OpenStore): void {
  for (const [name, change, allowed] of CHANGES) {
    describe(name, () => {
      for (const state of TASK_STATES) {
        test(
          allowed(state)
            ? `of a ${state} task is done`
            : `of a ${state} task is a conflict and changes nothing`,
          withStore(open, async (opened) => {
            const before = await bring(opened, state);
            const result = await change(opened.store, before.id);
            const after = await read(opened.store, before.id);
            if (allowed(state)) {
              expect(result).toEqual({ kind: "changed", task: after });
            } else {
              expect(result).toEqual({ kind: "conflict", state });
              expect(after).toEqual(before);
            }
          }),
        );
      }

      test(
        "of an unknown task is told",
        withStore(open, async ({ store }) => {
          expect(await change(store, newTaskId())).toEqual({ kind: "not_found" });
        }),
      );
    });
  }

  describe("cancel", () => {
    for (const state of ["scheduled", "ready", "retrying"] as const) {
      test(
        `a ${state} task ends at once and is never handed out`,
        withStore(open, async (opened) => {
          const { store, advance, now } = opened;
          const { id } = await bring(opened, state);
          const before = now();
          await store.cancel(id);
          const cancelled = await read(store, id);
          expect(cancelled).toMatchObject({ state: "cancelled", lease: null });
          expect(cancelled.finishedAtMs).toBeGreaterThanOrEqual(before);
          await advance(2 * HOUR_MS);
          expect(await take(store, 10)).toEqual([]);
        }),
      );
    }

    test(
      "a running task is cancelled, is not handed out again, and can be replayed once its worker let go",
      withStore(open, async (opened) => {
        const { store } = opened;
        const { id } = await bring(opened, "ready");
        const claimed = await takeOne(store);
        await store.cancel(id);
        expect((await read(store, id)).state).toBe("cancelled");
        expect(await take(store, 10)).toEqual([]);
        expect(await store.settle([success(claimed)])).toEqual(["cancelled"]);
        expect((await store.replay(id)).kind).toBe("changed");
        expect((await takeOne(store)).fence).toBeGreaterThan(claimed.fence);
      }),
    );
  });

  describe("reschedule", () => {
    test(
      "moves a task to a later time",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask();
        await put(store, task);
        const dueMs = now() + HOUR_MS;
        await store.reschedule(task.id, { scheduledAtMs: dueMs });
        expect(await read(store, task.id)).toMatchObject({ state: "scheduled", dueMs, priority: "normal" });
        await advance(HOUR_MS - MINUTE_MS);
        expect(await take(store, 1)).toEqual([]);
        await advance(MINUTE_MS);
        expect((await takeOne(store)).id).toBe(task.id);
      }),
    );

    test(
      "moves a task to an earlier time",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask({ scheduledAtMs: now() + HOUR_MS });
        await put(store, task);
        const dueMs = now() + MINUTE_MS;
        await store.reschedule(task.id, { scheduledAtMs: dueMs });
        expect(await read(store, task.id)).toMatchObject({ state: "scheduled", dueMs });
        await advance(MINUTE_MS);
        expect((await takeOne(store)).id).toBe(task.id);
        await advance(2 * HOUR_MS);
        expect(await take(store, 1)).toEqual([]);
      }),
    );

    test(
      "to a time past means now",
      withStore(open, async (opened) => {
        const { store, now } = opened;
        for (const state of ["scheduled", "retrying"] as const) {
          const { id } = await bring(opened, state);
          await store.reschedule(id, { scheduledAtMs: now() - HOUR_MS });
          expect((await read(store, id)).state).toBe("ready");
          const claimed = await takeOne(store);
          expect(claimed.id).toBe(id);
          await settle(store, success(claimed));
        }
      }),
    );

    test(
      "a retrying task waits for the new time, and its attempts stay counted",
      withStore(open, async (opened) => {
        const { store, advance, now } = opened;
        const { id, dueMs } = await bring(opened, "retrying");
        const later = dueMs + HOUR_MS;
        await store.reschedule(id, { scheduledAtMs: later });
        expect(await read(store, id)).toMatchObject({ dueMs: later, attempts: 1 });
        await advance(later - now() - MINUTE_MS);
        expect(await take(store, 1)).toEqual([]);
        await advance(MINUTE_MS);
        expect(await takeOne(store)).toMatchObject({ id, attempt: 2 });
      }),
    );

    test(
      "of the priority moves a ready task among the urgent, and keeps its time",
      withStore(open, async ({ store }) => {
        const tasks = newTasks(30, { priority: "low" });
        await put(store, ...tasks);
        const last = tasks.at(-1)?.id ?? "";
        const before = await read(store, last);
        await store.reschedule(last, { priority: "critical" });
        expect(await read(store, last)).toMatchObject({
          priority: "critical",
          state: "ready",
          dueMs: before.dueMs,
        });
        expect(idsOf(await take(store, 5))).toContain(last);
        expect(new Set(idsOf(await take(store, 30))).size).toBe(25);
      }),
    );

    test(
      "of the priority holds for a task that is not due yet",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask({ scheduledAtMs: now() + HOUR_MS });
        await put(store, task);
        await store.reschedule(task.id, { priority: "low" });
        expect(await read(store, task.id)).toMatchObject({
          state: "scheduled",
          priority: "low",
          dueMs: task.scheduledAtMs,
        });
        await advance(HOUR_MS);
        expect(await takeOne(store)).toMatchObject({ id: task.id, priority: "low" });
      }),
    );
  });

  describe("runNow", () => {
    test(
      "makes a scheduled and a retrying task due at once",
      withStore(open, async (opened) => {
        const { store, now } = opened;
        for (const state of ["scheduled", "retrying"] as const) {
          const { id } = await bring(opened, state);
          await store.runNow(id);
          const due = await read(store, id);
          expect(due.state).toBe("ready");
          expect(due.dueMs).toBeLessThanOrEqual(now());
          const claimed = await takeOne(store);
          expect(claimed.id).toBe(id);
          await settle(store, success(claimed));
        }
      }),
    );
  });

  describe("replay", () => {
    for (const state of ["succeeded", "dead", "cancelled"] as const) {
      test(
        `starts a ${state} task over: no attempts charged, its history stays`,
        withStore(open, async (opened) => {
          const { store, now } = opened;
          const task = newTask();
          await put(store, task);
          const first = await takeOne(store);
          await settle(store, retry(first, 0));
          const second = await takeOne(store);
          if (state === "cancelled") {
            await store.cancel(task.id);
            await store.settle([success(second)]);
          } else {
            await settle(store, state === "dead" ? death(second) : success(second));
          }
          const before = await read(store, task.id);
          expect(before.state).toBe(state);
          await store.replay(task.id);
          const replayed = await read(store, task.id);
          expect(replayed).toMatchObject({
            state: "ready",
            attempts: 0,
            firstAttemptAtMs: null,
            finishedAtMs: null,
          });
          expect(replayed.attemptLog).toEqual(before.attemptLog);
          expect(replayed.attemptLog.length).toBe(2);
          expect(replayed.createdAtMs).toBe(before.createdAtMs);
          expect(replayed.dueMs).toBeLessThanOrEqual(now());
          const again = await takeOne(store);
          expect(again).toMatchObject({ id: task.id, attempt: 1, firstAttemptAtMs: null });
          expect(again.fence).toBeGreaterThan(before.fence);
          await settle(store, success(again, { status: 204 }));
          const done = await read(store, task.id);
          expect(done).toMatchObject({ state: "succeeded", attempts: 1 });
          expect(done.attemptLog.map((attempt) => attempt.status)).toEqual([
            500,
            before.attemptLog[1]?.status ?? 0,
            204,
          ]);
        }),
      );
    }

    test(
      "of a task cancelled before it ran makes it run after all",
      withStore(open, async (opened) => {
        const { store } = opened;
        const { id } = await bring(opened, "cancelled");
        await store.replay(id);
        expect(await takeOne(store)).toMatchObject({ id, attempt: 1 });
      }),
    );
  });
}

/** A new task in the state asked for, and alone in being claimable. */
async function bring({ store, now }: OpenedStore, state: TaskState): Promise<Task> {
  const task = newTask(state === "scheduled" ? { scheduledAtMs: now() + HOUR_MS } : {});
  await put(store, task);
  if (state === "cancelled") await store.cancel(task.id);
  if (state !== "cancelled" && state !== "scheduled" && state !== "ready") {
    const claimed = await takeOne(store, { leaseMs: LEASE_MS });
    if (state === "succeeded") await settle(store, success(claimed));
    if (state === "dead") await settle(store, death(claimed));
    if (state === "retrying") await settle(store, retry(claimed, HOUR_MS));
  }
  const brought = await read(store, task.id);
  expect(brought.state).toBe(state);
  return brought;
}
