/** Conformance: a name in a queue and a client's idempotency key make one task, however often they are sent. */

import { describe, expect, test } from "bun:test";
import { newTask, success } from "../../support/tasks.ts";
import { idsIn } from "./admin.ts";
import {
  DAY_MS,
  HOUR_MS,
  idsOf,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  settle,
  takeOne,
  withStore,
} from "./harness.ts";

export function duplicateTests(open: OpenStore): void {
  describe("duplicates", () => {
    test(
      "a second task of a name in the queue is not made",
      withStore(open, async ({ store }) => {
        const first = newTask({ name: "n" });
        await put(store, first);
        const { results } = await store.enqueue([
          newTask({ name: "n", clientId: "client-b", priority: "low" }),
        ]);
        expect(results).toEqual([{ kind: "duplicate", id: first.id }]);
        expect(idsOf(await listAll(store))).toEqual([first.id]);
      }),
    );

    test(
      "the same name in another queue is another task",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ name: "n", queue: "a" }));
        await put(store, newTask({ name: "n", queue: "b" }));
      }),
    );

    test(
      "a second task of a client's idempotency key is not made, whatever its queue",
      withStore(open, async ({ store }) => {
        const first = newTask({ idempotencyKey: "k", queue: "a" });
        await put(store, first);
        const { results } = await store.enqueue([newTask({ idempotencyKey: "k", queue: "b" })]);
        expect(results).toEqual([{ kind: "duplicate", id: first.id }]);
      }),
    );

    test(
      "another client's same idempotency key is another task",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ idempotencyKey: "k", clientId: "a" }));
        await put(store, newTask({ idempotencyKey: "k", clientId: "b" }));
      }),
    );

    test(
      "a name and an idempotency key of the same text have nothing to do with each other",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ name: "x", queue: "same", clientId: "same" }));
        await put(store, newTask({ idempotencyKey: "x", queue: "same", clientId: "same" }));
      }),
    );

    test(
      "keys stay apart whatever characters they and their clients are made of",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ clientId: "a:b", idempotencyKey: "c" }));
        await put(store, newTask({ clientId: "a", idempotencyKey: "b:c" }));
        await put(store, newTask({ clientId: "a", idempotencyKey: "b:C" }));
        await put(store, newTask({ clientId: "a", idempotencyKey: "b:c " }));
        await put(store, newTask({ queue: "q", name: "a\u0000b" }));
        await put(store, newTask({ queue: "q", name: "a" }));
      }),
    );

    for (const taken of [{ name: "n" }, { idempotencyKey: "k" }]) {
      const what = "name" in taken ? "name" : "key";

      test(
        `within one call the first of a ${what} is made and the others point to it`,
        withStore(open, async ({ store }) => {
          const tasks = [newTask(taken), newTask(), newTask(taken), newTask(taken)];
          const { results } = await store.enqueue(tasks);
          expect(results.map((result) => result.kind)).toEqual([
            "created",
            "created",
            "duplicate",
            "duplicate",
          ]);
          expect(idsIn(results)).toEqual([0, 1, 0, 0].map((i) => tasks[i]?.id ?? ""));
          expect((await listAll(store)).length).toBe(2);
        }),
      );

      test(
        `of two calls at the same time with one ${what} exactly one makes it`,
        withStore(open, async ({ store }) => {
          const answers = await Promise.all([1, 2, 3].map(() => store.enqueue([newTask(taken)])));
          const results = answers.flatMap((answer) => answer.results);
          expect(results.filter((result) => result.kind === "created").length).toBe(1);
          expect(new Set(idsIn(results)).size).toBe(1);
        }),
      );

      test(
        `a ${what} stays taken as long as its task lives`,
        withStore(open, async ({ store, advance, now }) => {
          const task = newTask({ ...taken, scheduledAtMs: now() + 300 * DAY_MS });
          await put(store, task);
          await advance(200 * DAY_MS);
          await store.sweep(100);
          expect((await store.enqueue([newTask(taken)])).results).toEqual([
            { kind: "duplicate", id: task.id },
          ]);
        }),
      );

      test(
        `a ${what} stays taken for the dedup window after its task ended, then it is free`,
        withStore(open, async ({ store, advance }) => {
          const task = newTask(taken);
          await put(store, task);
          await advance(3 * HOUR_MS);
          await settle(store, success(await takeOne(store)));
          await advance(HOUR_MS - MINUTE_MS);
          await store.sweep(100);
          expect((await store.enqueue([newTask(taken)])).results).toEqual([
            { kind: "duplicate", id: task.id },
          ]);
          await advance(2 * MINUTE_MS);
          const next = newTask(taken);
          await put(store, next);
          expect((await store.enqueue([newTask(taken)])).results).toEqual([
            { kind: "duplicate", id: next.id },
          ]);
        }),
      );

      test(
        `a ${what} stays taken for the dedup window even when its task was dropped at once`,
        withStore(open, async ({ store, advance }) => {
          const task = newTask({ ...taken, retentionMs: 0 });
          await put(store, task);
          await settle(store, success(await takeOne(store)));
          await store.sweep(100);
          expect(await store.get(task.id)).toBeNull();
          expect((await store.enqueue([newTask(taken)])).results).toEqual([
            { kind: "duplicate", id: task.id },
          ]);
          await advance(HOUR_MS + MINUTE_MS);
          expect((await store.sweep(100)).names).toBeGreaterThanOrEqual(1);
          await put(store, newTask(taken));
        }),
      );

      test(
        `the old task of a ${what} that was taken anew can go without freeing it`,
        withStore(
          open,
          async ({ store, advance }) => {
            await put(store, newTask({ ...taken, retentionMs: 3 * HOUR_MS }));
            await settle(store, success(await takeOne(store)));
            await advance(HOUR_MS + MINUTE_MS);
            const next = newTask(taken);
            await put(store, next);
            await advance(3 * HOUR_MS);
            expect((await store.sweep(100)).tasks).toBe(1);
            expect((await store.enqueue([newTask(taken)])).results).toEqual([
              { kind: "duplicate", id: next.id },
            ]);
          },
          { dedupWindowMs: HOUR_MS },
        ),
      );

      test(
        `a ${what} is taken again while its task is replayed`,
        withStore(open, async ({ store, advance }) => {
          const task = newTask(taken);
          await put(store, task);
          await settle(store, success(await takeOne(store)));
          expect((await store.replay(task.id)).kind).toBe("changed");
          await advance(2 * HOUR_MS);
          await store.sweep(100);
          expect((await read(store, task.id)).state).toBe("ready");
          expect((await store.enqueue([newTask(taken)])).results).toEqual([
            { kind: "duplicate", id: task.id },
          ]);
        }),
      );
    }
  });
}
