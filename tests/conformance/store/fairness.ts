/** Conformance: urgent work goes first by weight, nobody starves, and one tenant's backlog is not another's delay. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES, PRIORITY_WEIGHTS } from "../../../src/core/priority.ts";
import type { ClaimedTask, TaskStore } from "../../../src/core/store.ts";
import { newTask, newTasks } from "../../support/tasks.ts";
import { idsOf, type OpenStore, put, take, takeOne, tally, withStore } from "./harness.ts";

/** The ways of claiming `count` tasks that fairness must hold for. */
const WAYS = [
  ["in one claim", 1_000],
  ["by claims of seven", 7],
  ["by claims of one", 1],
] as const;

export function fairnessTests(open: OpenStore): void {
  describe("priorities", () => {
    for (const [way, size] of WAYS) {
      test(
        `are served 8:4:2:1 while all have work, ${way}`,
        withStore(open, async ({ store }) => {
          for (const priority of PRIORITIES) await put(store, ...newTasks(100, { priority }));
          const shares = tally(await takeMany(store, 150, size), (task) => task.priority);
          for (const [rank, priority] of PRIORITIES.entries()) {
            const fair = (PRIORITY_WEIGHTS[rank] ?? 0) * 10;
            expect(Math.abs((shares[priority] ?? 0) - fair)).toBeLessThanOrEqual(3);
          }
        }),
      );
    }

    test(
      "are served by weight across queues and clients too",
      withStore(open, async ({ store }) => {
        for (const [rank, priority] of PRIORITIES.entries()) {
          await put(store, ...newTasks(100, { priority, queue: `q${rank % 2}`, clientId: `c${rank}` }));
        }
        const shares = tally(await takeMany(store, 75, 5), (task) => task.priority);
        expect(Math.abs((shares.critical ?? 0) - 40)).toBeLessThanOrEqual(3);
        expect(Math.abs((shares.low ?? 0) - 5)).toBeLessThanOrEqual(2);
      }),
    );

    test(
      "never starve: a single low task gets its turn among a thousand critical ones",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(1_000, { priority: "critical" }));
        const low = newTask({ priority: "low" });
        await put(store, low);
        expect(idsOf(await takeMany(store, 30, 1))).toContain(low.id);
      }),
    );

    test(
      "do not hold a claim back: turns that one cannot use go to the others",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(2, { priority: "critical" }), ...newTasks(50, { priority: "low" }));
        const claimed = await take(store, 40);
        expect(tally(claimed, (task) => task.priority)).toEqual({ critical: 2, low: 38 });
      }),
    );

    test(
      "a lone low task is handed out at once",
      withStore(open, async ({ store }) => {
        const low = newTask({ priority: "low" });
        await put(store, low);
        expect((await takeOne(store)).id).toBe(low.id);
      }),
    );
  });

  describe("turns", () => {
    for (const [way, size] of WAYS) {
      for (const [who, field] of [
        ["clients of a queue", "clientId"],
        ["queues", "queue"],
      ] as const) {
        test(
          `${who} take turns, ${way}`,
          withStore(open, async ({ store }) => {
            for (const value of ["a", "b", "c"]) await put(store, ...newTasks(90, { [field]: value }));
            const shares = tally(await takeMany(store, 90, size), (task) => task[field]);
            for (const value of ["a", "b", "c"]) {
              expect(Math.abs((shares[value] ?? 0) - 30)).toBeLessThanOrEqual(2);
            }
          }),
        );
      }

      test(
        `2,000 waiting of one client do not delay another's single task, ${way}`,
        withStore(open, async ({ store }) => {
          await put(store, ...newTasks(2_000, { clientId: "busy" }));
          await takeMany(store, 3, 1);
          const single = newTask({ clientId: "quiet" });
          await put(store, single);
          const firstFew = await takeMany(store, 4, Math.min(size, 4));
          expect(idsOf(firstFew)).toContain(single.id);
        }),
      );
    }

    test(
      "2,000 waiting in one queue do not delay another queue's single task of the same client",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(2_000, { queue: "busy" }));
        const single = newTask({ queue: "quiet" });
        await put(store, single);
        expect(idsOf(await take(store, 4))).toContain(single.id);
      }),
    );

    test(
      "hundreds of clients each get a turn before any gets a second one",
      withStore(open, async ({ store }) => {
        const clients = Array.from({ length: 300 }, (_, i) => `client-${i}`);
        await put(store, ...clients.flatMap((clientId) => newTasks(3, { clientId })));
        const claimed = await takeMany(store, 300, 50);
        expect(new Set(claimed.map((task) => task.clientId)).size).toBe(300);
      }),
    );

    test(
      "tasks of a lane go first in, first out, within a call and across calls",
      withStore(open, async ({ store }) => {
        const batch = newTasks(20);
        const singles = newTasks(20);
        await put(store, ...batch);
        for (const task of singles) await put(store, task);
        expect(idsOf(await takeMany(store, 40, 7))).toEqual(idsOf([...batch, ...singles]));
      }),
    );
  });
}

/** Claims `count` tasks, at most `size` a call; every call must be filled. */
async function takeMany(store: TaskStore, count: number, size: number): Promise<ClaimedTask[]> {
  const claimed: ClaimedTask[] = [];
  while (claimed.length < count) {
    const limit = Math.min(size, count - claimed.length);
    const tasks = await take(store, limit);
    expect(tasks.length).toBe(limit);
    claimed.push(...tasks);
  }
  return claimed;
}
