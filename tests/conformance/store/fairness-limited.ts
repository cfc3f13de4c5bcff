/** Conformance: turns are fair by weight, and stay so where limits hold many lanes back. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES, PRIORITY_WEIGHTS } from "../../../src/core/priority.ts";
import type { ClaimedTask, TaskStore } from "../../../src/core/store.ts";
import { newTask, newTasks, success } from "../../support/tasks.ts";
import { auditEntry, setClient, setQueue, setTier } from "./admin.ts";
import { drain, idsOf, LEASE_MS, type OpenStore, put, settle, take, tally, withStore } from "./harness.ts";

export function limitedFairnessTests(open: OpenStore): void {
  describe("a queue's weight", () => {
    for (const [way, size] of [
      ["one task each", 1],
      ["seven tasks each", 7],
      ["a hundred tasks each", 100],
    ] as const) {
      test(
        `is what its clients get in a turn, over claims of ${way}`,
        withStore(open, async ({ store }) => {
          await setQueue(store, "heavy", { weight: 4 });
          await put(store, ...newTasks(300, { queue: "light" }), ...newTasks(300, { queue: "heavy" }));
          expectShare(await takeMany(store, 300, size), "heavy", 240);
          // A rule that changes does so for tasks that wait.
          await setQueue(store, "heavy", { weight: 1 });
          await setQueue(store, "light", { weight: 2 });
          await put(store, ...newTasks(300, { queue: "heavy" }));
          expectShare(await takeMany(store, 150, size), "light", 100);
        }),
      );
    }

    test(
      "keeps its clients equal among themselves, and starves nobody",
      withStore(open, async ({ store }) => {
        await setQueue(store, "heavy", { weight: 100 });
        for (const clientId of ["a", "b"]) await put(store, ...newTasks(400, { queue: "heavy", clientId }));
        const single = newTask({ queue: "light" });
        await put(store, single);
        const claimed = await takeMany(store, 401, 1);
        expect(idsOf(claimed)).toContain(single.id);
        const shares = tally(claimed.slice(0, 400), ({ clientId }) => clientId);
        expect(Math.abs((shares.a ?? 0) - (shares.b ?? 0))).toBeLessThanOrEqual(101);
      }),
    );
  });

  describe("turns beside limits", () => {
    test(
      "a thousand clients' single tasks come early beside one with twenty thousand in the same queue",
      withStore(open, async ({ store }) => {
        for (let i = 0; i < 20; i++) await put(store, ...newTasks(1_000, { clientId: "busy" }));
        await takeMany(store, 10, 10);
        await put(store, ...Array.from({ length: 1_000 }, (_, i) => newTask({ clientId: `client-${i}` })));
        const claimed = await takeMany(store, 2_100, 100);
        expect(new Set(claimed.map(({ clientId }) => clientId)).size).toBe(1_001);
      }),
      30_000,
    );

    test(
      "two thousand lanes held back by their clients' limits do not delay a free lane's task",
      withStore(open, async ({ store }) => {
        await setTier(store, "free", { maxConcurrent: 1 });
        const clients = Array.from({ length: 2_000 }, (_, i) => `client-${i}`);
        for (const half of [clients.slice(0, 1_000), clients.slice(1_000)])
          await put(store, ...half.flatMap((clientId) => newTasks(2, { clientId })));
        const running = await drain(store, 1_000);
        expect(running.length).toBe(2_000);
        for (let i = 0; i < 5; i++) {
          const task = newTask({ clientId: `free-${i}`, priority: i % 2 ? "normal" : "low" });
          await put(store, task);
          expect(idsOf(await take(store, 1))).toEqual([task.id]);
        }
        // Each one's next follows when its first has ended, and only that one's.
        await settle(store, ...running.slice(0, 300).map((one) => success(one)));
        const next = await drain(store);
        expect(next.map(({ clientId }) => clientId).sort()).toEqual(
          running
            .slice(0, 300)
            .map(({ clientId }) => clientId)
            .sort(),
        );
      }),
      30_000,
    );

    for (const held of ["by its limit", "by being disabled", "by their paused queues"]) {
      test(
        `five hundred lanes of one client held back ${held} cost a claim once, and come back one by one`,
        withStore(open, async ({ store }) => {
          const queues = Array.from({ length: 500 }, (_, i) => `q${i}`);
          await setClient(store, "wide", { overrides: { maxConcurrent: 1 } });
          await put(store, ...queues.map((queue) => newTask({ queue, clientId: "wide" })));
          let running: readonly ClaimedTask[] = [];
          if (held === "by its limit") running = await take(store, 1);
          if (held === "by being disabled") await setClient(store, "wide", { enabled: false });
          if (held === "by their paused queues")
            for (const queue of queues) await setQueue(store, queue, { paused: true });
          const task = newTask({ clientId: "free" });
          await put(store, task);
          expect(await claimsUntil(store, task.id)).toBeLessThanOrEqual(40);
          expect(await drain(store, 1)).toEqual([]);
          const later = newTask({ clientId: "free" });
          await put(store, later);
          expect(await claimsUntil(store, later.id)).toBe(1);
          await setClient(store, "wide", { enabled: true });
          for (const queue of queues.slice(0, held === "by their paused queues" ? 500 : 0))
            await setQueue(store, queue, { paused: false });
          for (let i = running.length; i < 500; i++) {
            await settle(store, ...running.map((one) => success(one)));
            running = await drain(store, 5);
            expect(running.map(({ clientId }) => clientId)).toEqual(["wide"]);
          }
        }),
        30_000,
      );
    }

    for (const [held, by] of [
      ["a client", "cancelling"],
      ["a client", "a purge"],
      ["a queue", "cancelling"],
    ] as const) {
      test(
        `lanes that wait for ${held} and are emptied by ${by} do not keep the one behind them from going on`,
        withStore(open, async ({ store }) => {
          const lanes = Array.from({ length: 300 }, (_, i) =>
            held === "a client" ? newTask({ queue: `q${i}` }) : newTask({ clientId: `c${i}` }),
          );
          await setClient(store, "client-a", { overrides: { maxConcurrent: 1 } });
          await setQueue(store, "default", { maxConcurrent: 1 });
          await put(store, newTask());
          const running = await drain(store);
          await put(store, ...lanes);
          expect(await drain(store)).toEqual([]);
          for (const { id, queue } of lanes.slice(0, -1)) {
            if (by === "cancelling") await store.cancel(id);
            else await store.purge(queue, auditEntry());
          }
          for (let steps = 0; (await store.purgeStep(1_000)) !== null; steps++)
            expect(steps).toBeLessThan(2_000);
          await settle(store, ...running.map((one) => success(one)));
          expect(idsOf(await drain(store, 1))).toEqual(idsOf(lanes.slice(-1)));
        }),
        30_000,
      );
    }

    test(
      "priorities are served by weight though others of them are held back",
      withStore(open, async ({ store }) => {
        await setClient(store, "held", { overrides: { maxConcurrent: 2 } });
        await setQueue(store, "closed", { paused: true });
        for (const priority of PRIORITIES) {
          await put(store, ...newTasks(100, { priority, clientId: "held" }));
          await put(store, ...newTasks(100, { priority, queue: "closed", clientId: "other" }));
          for (const clientId of ["a", "b"]) await put(store, ...newTasks(60, { priority, clientId }));
        }
        for (const size of [50, 1]) {
          const claimed = (await takeMany(store, 77, size)).filter(({ clientId }) => clientId !== "held");
          const shares = tally(claimed, ({ priority }) => priority);
          for (const [rank, priority] of PRIORITIES.entries()) {
            const fair = (PRIORITY_WEIGHTS[rank] ?? 0) * 5;
            expect(Math.abs((shares[priority] ?? 0) - fair)).toBeLessThanOrEqual(4);
          }
        }
      }),
    );
  });
}

/** Claims of one task until this one comes; how many it took. A claim must not tell a worker to wait before. */
async function claimsUntil(store: TaskStore, id: string): Promise<number> {
  for (let calls = 1; calls <= 1_000; calls++) {
    const { tasks, nextInMs } = await store.claim({ worker: "w", limit: 1, leaseMs: LEASE_MS });
    if (tasks[0]?.id === id) return calls;
    expect(tasks).toEqual([]);
    expect(nextInMs).toBe(0);
  }
  throw new Error("the task does not come");
}

/** Claims `count` tasks, at most `size` a call; every call must find some. */
async function takeMany(store: TaskStore, count: number, size: number): Promise<ClaimedTask[]> {
  const claimed: ClaimedTask[] = [];
  while (claimed.length < count) {
    const tasks = await take(store, Math.min(size, count - claimed.length));
    expect(tasks.length).toBeGreaterThan(0);
    claimed.push(...tasks);
  }
  return claimed;
}

function expectShare(claimed: readonly ClaimedTask[], queue: string, fair: number): void {
  const share = tally(claimed, (task) => task.queue)[queue] ?? 0;
  expect(share).toBeGreaterThanOrEqual(fair * 0.92);
  expect(share).toBeLessThanOrEqual(fair * 1.08);
}
