/** Conformance: a listing shows what was asked for, newest first, and each page follows the one before whatever happens meanwhile. */

import { describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../../src/core/errors.ts";
import type { TaskFilter, TaskStore } from "../../../src/core/store.ts";
import { TASK_STATES, type Task } from "../../../src/core/task.ts";
import { death, newTask, newTasks, retry, success } from "../../support/tasks.ts";
import {
  HOUR_MS,
  idsOf,
  listAll,
  type OpenedStore,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function listTests(open: OpenStore): void {
  describe("list", () => {
    test(
      "shows the newest first, whole as get does",
      withStore(open, async ({ store, advance }) => {
        const tasks = newTasks(5);
        for (const task of tasks) {
          await put(store, task);
          await advance(1);
        }
        const listed = await listAll(store);
        expect(idsOf(listed)).toEqual(idsOf(tasks).reverse());
        for (const task of listed) expect(task).toEqual(await read(store, task.id));
      }),
    );

    test(
      "of nothing is an empty page with nothing to follow",
      withStore(open, async ({ store }) => {
        expect(await store.list({ limit: 10 })).toEqual({ tasks: [], nextCursor: null });
      }),
    );

    for (const limit of [1_000, 2]) {
      test(
        `holds every filter, alone and together, by pages of ${limit}`,
        withStore(open, async (opened) => {
          const { store } = opened;
          await populate(opened);
          const all = await listAll(store);
          expect(all.length).toBe(28);
          const middleMs = all[14]?.createdAtMs ?? 0;
          const filters: ReadonlyArray<readonly [Omit<TaskFilter, "limit">, (task: Task) => boolean]> = [
            ...TASK_STATES.map((state) => [{ state }, (task: Task) => task.state === state] as const),
            [{ queue: "a" }, (task) => task.queue === "a"],
            [{ queue: "nowhere" }, () => false],
            [{ clientId: "x" }, (task) => task.clientId === "x"],
            [{ fromMs: middleMs }, (task) => task.createdAtMs >= middleMs],
            [{ toMs: middleMs }, (task) => task.createdAtMs < middleMs],
            [{ fromMs: middleMs, toMs: middleMs + 1 }, (task) => task.createdAtMs === middleMs],
            [{ queue: "a", clientId: "y" }, (task) => task.queue === "a" && task.clientId === "y"],
            [
              { queue: "b", state: "succeeded", clientId: "x", fromMs: 1 },
              (task) => task.queue === "b" && task.state === "succeeded" && task.clientId === "x",
            ],
            [
              { state: "dead", toMs: middleMs },
              (task) => task.state === "dead" && task.createdAtMs < middleMs,
            ],
          ];
          for (const [filter, matches] of filters) {
            expect(idsOf(await listAll(store, filter, limit))).toEqual(idsOf(all.filter(matches)));
          }
          expect(all.filter((task) => task.state === "dead").length).toBe(4);
        }),
      );
    }

    test(
      "shows each task that stays exactly once while others come, finish and go",
      withStore(open, async ({ store, advance }) => {
        const staying: string[] = [];
        const gone: string[] = [];
        for (let i = 0; i < 12; i++) {
          const batch = newTasks(5).map((task, k) => ({ ...task, retentionMs: k % 2 === 0 ? null : 0 }));
          await put(store, ...batch);
          for (const { id, retentionMs } of batch) (retentionMs === null ? staying : gone).push(id);
          await advance(1);
        }
        const seen: string[] = [];
        let cursor: string | null = null;
        let pages = 0;
        do {
          const page: Awaited<ReturnType<TaskStore["list"]>> = await store.list({
            limit: 7,
            ...(cursor === null ? {} : { cursor }),
          });
          seen.push(...idsOf(page.tasks));
          cursor = page.nextCursor;
          // Some of those claimed are dropped as they finish, some stay as finished, some wait for a retry.
          const [a, b, c, d] = await take(store, 4);
          if (a && b && c && d) await settle(store, success(a), success(b), retry(c, HOUR_MS), death(d));
          await put(store, ...newTasks(3, { priority: "critical", retentionMs: HOUR_MS }));
          await advance(1);
        } while (cursor !== null && ++pages < 1_000);
        expect(cursor).toBeNull();
        expect(new Set(seen).size).toBe(seen.length);
        for (const id of staying) expect(seen).toContain(id);
        expect(gone.length).toBeGreaterThan(0);
      }),
    );

    test(
      "by pages shows every task of one and the same instant once",
      withStore(open, async ({ store }) => {
        const tasks = newTasks(50);
        await put(store, ...tasks);
        for (const limit of [1, 7, 49, 50]) {
          const listed = idsOf(await listAll(store, {}, limit));
          expect(listed.length).toBe(50);
          expect(new Set(listed)).toEqual(new Set(idsOf(tasks)));
        }
      }),
    );

    for (const cursor of ["no such cursor", "%%%", "'; --", "bnVsbA==", "-1"]) {
      test(
        `refuses a cursor it did not give out: ${cursor}`,
        withStore(open, async ({ store }) => {
          await put(store, ...newTasks(3));
          const refusal = await store.list({ limit: 2, cursor }).then(
            () => null,
            (error: unknown) => error,
          );
          expect(refusal).toBeInstanceOf(TaskRunnerError);
          expect((refusal as TaskRunnerError).code).toBe("validation_failed");
        }),
      );
    }
  });

  describe("counts", () => {
    test(
      "are empty where there is nothing",
      withStore(open, async ({ store }) => {
        for (const { states } of await store.counts())
          expect(new Set(Object.values(states))).toEqual(new Set([0]));
      }),
    );

    test(
      "tell the tasks of each queue, priority and state",
      withStore(open, async (opened) => {
        await populate(opened);
        await expectCounts(opened.store);
        const lanes = await opened.store.counts();
        expect(new Set(lanes.map(({ queue, priority }) => `${queue} ${priority}`)).size).toBe(lanes.length);
        for (const { states } of lanes) expect(Object.keys(states).sort()).toEqual([...TASK_STATES].sort());
      }),
    );
  });
}

/** The counts must be those of the tasks that a listing shows. */
export async function expectCounts(store: TaskStore, tasks?: readonly Task[]): Promise<void> {
  const listed: Record<string, number> = {};
  for (const { queue, priority, state } of tasks ?? (await listAll(store))) {
    const lane = `${queue} ${priority} ${state}`;
    listed[lane] = (listed[lane] ?? 0) + 1;
  }
  const counted: Record<string, number> = {};
  for (const { queue, priority, states } of await store.counts()) {
    for (const state of TASK_STATES) {
      if (states[state] !== 0) counted[`${queue} ${priority} ${state}`] = states[state];
    }
  }
  expect(counted).toEqual(listed);
}

/** Four tasks in every state, spread over two queues and two clients, each accepted at its own time. */
async function populate({ store, advance, now }: OpenedStore): Promise<void> {
  for (const queue of ["a", "b"]) {
    for (const clientId of ["x", "y"]) {
      for (const state of TASK_STATES) {
        const priority = queue === "a" && clientId === "x" ? "high" : "normal";
        const scheduledAtMs = now() + (state === "ready" || state === "scheduled" ? HOUR_MS : 0);
        const task = newTask({ queue, clientId, priority, scheduledAtMs });
        await put(store, task);
        await advance(1);
        if (state === "cancelled") await store.cancel(task.id);
        if (["running", "retrying", "succeeded", "dead"].includes(state)) {
          const claimed = await takeOne(store, { leaseMs: HOUR_MS });
          expect(claimed.id).toBe(task.id);
          if (state === "retrying") await settle(store, retry(claimed, HOUR_MS));
          if (state === "succeeded") await settle(store, success(claimed));
          if (state === "dead") await settle(store, death(claimed));
        }
      }
    }
  }
  // Ready ones are made so last, or the claims above would have taken them.
  for (const queue of ["a", "b"]) {
    for (const clientId of ["x", "y"]) {
      const scheduled = await listAll(store, { queue, clientId, state: "scheduled" });
      expect((await store.runNow(scheduled[0]?.id ?? "")).kind).toBe("changed");
    }
  }
}
