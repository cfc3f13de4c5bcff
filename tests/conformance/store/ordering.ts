/** Conformance: tasks of one ordering key run one at a time and in order, and hold up nobody else. */

import { describe, expect, test } from "bun:test";
import type { NewTask } from "../../../src/core/task.ts";
import { death, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import {
  idsOf,
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

export function orderingTests(open: OpenStore): void {
  describe("an ordering key", () => {
    test(
      "lets its tasks run one at a time, in order",
      withStore(open, async ({ store }) => {
        const tasks = newTasks(5, { orderingKey: "k" });
        await put(store, ...tasks.slice(0, 3));
        for (const task of tasks.slice(3)) await put(store, task);
        for (const task of tasks) {
          const claimed = await take(store, 10);
          expect(idsOf(claimed)).toEqual([task.id]);
          expect(await take(store, 10)).toEqual([]);
          await settle(store, ...claimed.map((one) => success(one)));
        }
      }),
    );

    test(
      "is held by several claims at once for one task only",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(20, { orderingKey: "k" }));
        const claims = await Promise.all(
          Array.from({ length: 8 }, (_, i) => take(store, 5, { worker: `w${i}` })),
        );
        expect(claims.flat().length).toBe(1);
      }),
    );

    test(
      "waits for a head that is to be retried",
      withStore(open, async ({ store, advance }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await settle(store, retry(await takeOne(store), 10 * MINUTE_MS));
        expect(await take(store, 10)).toEqual([]);
        await advance(10 * MINUTE_MS);
        const again = await takeOne(store);
        expect(again).toMatchObject({ id: head.id, attempt: 2 });
        expect(await take(store, 10)).toEqual([]);
        await settle(store, success(again));
        expect((await takeOne(store)).id).toBe(next.id);
      }),
    );

    test(
      "waits for a head that was given back, at once or for later",
      withStore(open, async ({ store, advance }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await settle(store, release(await takeOne(store), 0));
        const again = await takeOne(store);
        expect(again.id).toBe(head.id);
        await settle(store, release(again, 10 * MINUTE_MS));
        expect(await take(store, 10)).toEqual([]);
        await advance(10 * MINUTE_MS);
        expect(idsOf(await take(store, 10))).toEqual([head.id]);
      }),
    );

    test(
      "waits for a head whose worker died, which then goes first",
      withStore(open, async ({ store, advance }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await takeOne(store);
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        expect(idsOf(await take(store, 10))).toEqual([head.id]);
        expect((await read(store, next.id)).state).toBe("ready");
      }),
    );

    test(
      "goes on after a dead head",
      withStore(open, async ({ store }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await settle(store, death(await takeOne(store)));
        expect(idsOf(await take(store, 10))).toEqual([next.id]);
      }),
    );

    test(
      "goes on after a head that was cancelled while it waited",
      withStore(open, async ({ store }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await store.cancel(head.id);
        expect(idsOf(await take(store, 10))).toEqual([next.id]);
      }),
    );

    test(
      "goes on after a head that was cancelled while it waited for its retry",
      withStore(open, async ({ store }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await settle(store, retry(await takeOne(store), 10 * MINUTE_MS));
        await store.cancel(head.id);
        expect(idsOf(await take(store, 10))).toEqual([next.id]);
      }),
    );

    test(
      "goes on after a head that was cancelled while it ran, once its worker let go",
      withStore(open, async ({ store }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        const claimed = await takeOne(store);
        await store.cancel(head.id);
        expect(await store.settle([success(claimed)])).toEqual(["cancelled"]);
        expect(idsOf(await take(store, 10))).toEqual([next.id]);
      }),
    );

    test(
      "goes on after a head that was cancelled while it ran, once its lease ran out",
      withStore(open, async ({ store, advance }) => {
        const [head, next] = pair({ orderingKey: "k" });
        await put(store, head, next);
        await takeOne(store);
        await store.cancel(head.id);
        await advance(LEASE_MS + 1);
        await store.rescue(10);
        expect(idsOf(await take(store, 10))).toEqual([next.id]);
      }),
    );

    test(
      "goes on when a task is enqueued long after the one before it ended",
      withStore(open, async ({ store }) => {
        for (let round = 0; round < 3; round++) {
          const task = newTask({ orderingKey: "k" });
          await put(store, task);
          const claimed = await takeOne(store);
          expect(claimed.id).toBe(task.id);
          await settle(store, success(claimed));
        }
      }),
    );

    test(
      "holds across priorities",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ orderingKey: "k", priority: "low" }));
        await takeOne(store);
        await put(store, newTask({ orderingKey: "k", priority: "critical" }));
        expect(await take(store, 10)).toEqual([]);
      }),
    );

    test(
      "runs beside another key and beside tasks without one",
      withStore(open, async ({ store }) => {
        const [a1, a2] = pair({ orderingKey: "a" });
        const [b1, b2] = pair({ orderingKey: "b" });
        const free = newTask();
        await put(store, a1, a2, b1, b2, free);
        expect(new Set(idsOf(await take(store, 10)))).toEqual(new Set([a1.id, b1.id, free.id]));
      }),
    );

    test(
      "of another queue is another key",
      withStore(open, async ({ store }) => {
        const here = newTask({ orderingKey: "k", queue: "here" });
        const there = newTask({ orderingKey: "k", queue: "there" });
        await put(store, here, there);
        expect(new Set(idsOf(await take(store, 10)))).toEqual(new Set([here.id, there.id]));
      }),
    );

    test(
      "is one of a thousand: none blocks another, each gives its head",
      withStore(open, async ({ store }) => {
        const heads = Array.from({ length: 1_000 }, (_, i) => newTask({ orderingKey: `key-${i}` }));
        await put(store, ...heads, ...heads.slice(0, 400).map(({ orderingKey }) => newTask({ orderingKey })));
        const claimed = [...(await take(store, 600)), ...(await take(store, 600))];
        expect(new Set(idsOf(claimed))).toEqual(new Set(idsOf(heads)));
        expect(await take(store, 10)).toEqual([]);
        await settle(store, ...claimed.map((one) => success(one)));
        expect((await take(store, 1_000)).length).toBe(400);
      }),
    );

    test(
      "with 2,000 waiting does not hide the work behind it",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(2_000, { orderingKey: "busy" }));
        const keyed = newTask({ orderingKey: "quiet" });
        const free = newTask();
        await put(store, keyed, free);
        const claimed = await take(store, 10);
        expect(claimed.length).toBe(3);
        expect(idsOf(claimed)).toContain(keyed.id);
        expect(idsOf(claimed)).toContain(free.id);
      }),
    );
  });
}

function pair(overrides: Partial<NewTask>): [NewTask, NewTask] {
  return [newTask(overrides), newTask(overrides)];
}
