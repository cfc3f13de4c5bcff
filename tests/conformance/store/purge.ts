/** Conformance: a purge removes what waited in its queue when it was asked for, step by step, and nothing else. */

import { describe, expect, test } from "bun:test";
import type { PurgeProgress, TaskStore } from "../../../src/core/store.ts";
import { death, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import { auditEntry, queueUseOf, setClient, setQueue, useOf } from "./admin.ts";
import {
  drain,
  HOUR_MS,
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  reopened,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";
import { expectCounts } from "./listing.ts";

export function purgeTests(open: OpenStore, offers: { reopen: boolean }): void {
  describe("a purge", () => {
    test(
      "removes what waits in every state, and leaves what runs or has ended, and other queues",
      withStore(open, async ({ store, now }) => {
        const retried = newTask();
        const [running, keyed, done, dead] = newTasks(4);
        if (!running || !keyed || !done || !dead) throw new Error("expected four tasks");
        await put(store, retried, running, done, dead, { ...keyed, orderingKey: "k" });
        const [a, , c, d] = await take(store, 5);
        if (!a || !c || !d) throw new Error("expected five tasks");
        await settle(store, retry(a, HOUR_MS), success(c), death(d));
        const waiting = [
          ...newTasks(3),
          ...newTasks(2, { clientId: "b", priority: "critical" }),
          newTask({ scheduledAtMs: now() + HOUR_MS }),
          newTask({ orderingKey: "k" }),
          newTask({ orderingKey: "free" }),
        ];
        const others = [
          newTask({ queue: "other" }),
          newTask({ queue: "other", scheduledAtMs: now() + HOUR_MS }),
        ];
        await put(store, ...waiting, ...others);
        const kept = new Set(idsOf([running, keyed, done, dead, ...others]));
        expect(await purge(store)).toMatchObject({ queue: "default", removed: waiting.length + 1, share: 1 });
        expect(new Set(idsOf(await listAll(store)))).toEqual(kept);
        expect(await store.get(retried.id)).toBeNull();
        for (const { id } of waiting) expect(await store.get(id)).toBeNull();
        await expectCounts(store);
        expect(idsOf(await drain(store))).toEqual([others[0]?.id ?? ""]);
      }),
    );

    test(
      "lets what runs finish, and its key goes on to tasks that come after",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ orderingKey: "k" }), newTask({ orderingKey: "k" }));
        const running = await takeOne(store);
        await put(store, newTask({ orderingKey: "waiting" }));
        await purge(store);
        const after = [newTask({ orderingKey: "k" }), newTask({ orderingKey: "waiting" })];
        await put(store, ...after);
        expect(idsOf(await drain(store))).toEqual([after[1]?.id ?? ""]);
        await store.extend([{ taskId: running.id, fence: running.fence }], LEASE_MS);
        await settle(store, success(running));
        expect((await read(store, running.id)).state).toBe("succeeded");
        expect(idsOf(await drain(store))).toEqual([after[0]?.id ?? ""]);
      }),
    );

    test(
      "of a key whose head is to be retried lets the key go",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ orderingKey: "k" }));
        await settle(store, retry(await takeOne(store), HOUR_MS));
        await purge(store);
        const next = newTask({ orderingKey: "k" });
        await put(store, next);
        expect((await takeOne(store)).id).toBe(next.id);
      }),
    );

    test(
      "leaves the tasks that came after it, though they wait when it is gone on with",
      withStore(open, async ({ store, now }) => {
        await put(store, ...newTasks(20), newTask({ clientId: "b" }));
        await store.purge("default", auditEntry());
        const after = [
          ...newTasks(10),
          newTask({ scheduledAtMs: now() + MINUTE_MS }),
          newTask({ priority: "low" }),
        ];
        await put(store, ...after);
        expect((await purgeOn(store))?.removed).toBe(21);
        expect(new Set(idsOf(await listAll(store)))).toEqual(new Set(idsOf(after)));
        expect((await drain(store)).length).toBe(11);
        await expectCounts(store);
      }),
    );

    test(
      "leaves what did not wait when it was asked for, though it waits again before the purge has come to it",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(4));
        const [retried, released, replayed] = await take(store, 3);
        if (!retried || !released || !replayed) throw new Error("expected three tasks");
        await settle(store, death(replayed));
        await store.purge("default", auditEntry());
        await settle(store, retry(retried, HOUR_MS), release(released, 0));
        await store.replay(replayed.id);
        expect((await purgeOn(store))?.removed).toBe(1);
        expect(new Set(idsOf(await listAll(store)))).toEqual(new Set(idsOf([retried, released, replayed])));
        expect((await drain(store)).length).toBe(2);
      }),
    );

    test(
      "frees the names and keys of what it removes, at once",
      withStore(open, async ({ store, now }) => {
        const scheduledAtMs = now() + HOUR_MS;
        await put(
          store,
          newTask({ name: "n" }),
          newTask({ idempotencyKey: "k", scheduledAtMs }),
          newTask({ name: "both", idempotencyKey: "both" }),
        );
        await purge(store);
        await put(
          store,
          newTask({ name: "n" }),
          newTask({ idempotencyKey: "k" }),
          newTask({ name: "both" }),
          newTask({ idempotencyKey: "both" }),
        );
      }),
    );

    test(
      "goes on by steps of about their limit, tells how far it is, and ends",
      withStore(open, async ({ store, now }) => {
        expect(await store.purgeStep(100)).toBeNull();
        for (const clientId of ["a", "b", "c"]) await put(store, ...newTasks(200, { clientId }));
        await put(store, ...newTasks(200, { queue: "other" }));
        const before = now();
        await store.purge("default", auditEntry());
        const after = now();
        expect((await queueUseOf(store, "other")).purge).toBeNull();
        expect((await queueUseOf(store, "default")).purge).toMatchObject({ queue: "default", removed: 0 });
        let last: PurgeProgress | null = null;
        for (let steps = 0; ; steps++) {
          expect(steps).toBeLessThan(40);
          const progress = await store.purgeStep(50);
          if (progress === null) break;
          expect(progress.queue).toBe("default");
          expect(progress.startedAtMs).toBeGreaterThanOrEqual(before);
          expect(progress.startedAtMs).toBeLessThanOrEqual(after);
          expect(progress.share).toBeGreaterThanOrEqual(last?.share ?? 0);
          expect(progress.share).toBeLessThanOrEqual(1);
          const removed = progress.removed - (last?.removed ?? 0);
          expect(removed).toBeGreaterThanOrEqual(0);
          expect(removed).toBeLessThanOrEqual(128);
          expect((await listAll(store, { queue: "default" })).length).toBe(600 - progress.removed);
          const use = await queueUseOf(store, "default");
          if (progress.share < 1) expect(use.purge).toEqual(progress);
          last = progress;
        }
        expect(last).toMatchObject({ removed: 600, share: 1 });
        expect(await store.purgeStep(50)).toBeNull();
        expect((await queueUseOf(store, "default")).purge).toBeNull();
        expect((await listAll(store, { queue: "other" })).length).toBe(200);
        await expectCounts(store);
      }),
    );

    test(
      "of one queue waits for that of another asked for before, and a second one takes the place of the first",
      withStore(open, async ({ store, advance }) => {
        for (const queue of ["a", "b"]) {
          await put(store, ...newTasks(5, { queue }));
          await store.purge(queue, auditEntry());
          await advance(1_000);
        }
        await put(store, ...newTasks(3, { queue: "b" }));
        await store.purge("b", auditEntry());
        const queues: string[] = [];
        for (let steps = 0; steps < 100; steps++) {
          const progress = await store.purgeStep(4);
          if (progress === null) break;
          if (queues.at(-1) !== progress.queue) queues.push(progress.queue);
        }
        expect(queues).toEqual(["a", "b"]);
        expect(await listAll(store)).toEqual([]);
      }),
    );

    test(
      "of a queue without tasks, and of one that is not there, ends too",
      withStore(open, async ({ store }) => {
        await put(store, newTask({ queue: "other" }));
        for (const queue of ["default", "nowhere"]) {
          const last = await purge(store, queue);
          if (last !== null) expect(last).toMatchObject({ queue, removed: 0, share: 1 });
          expect(await store.purgeStep(10)).toBeNull();
        }
        expect((await listAll(store)).length).toBe(1);
      }),
    );

    test(
      "of lanes that wait for their clients or their queue leaves no slot and no lane stuck",
      withStore(open, async ({ store }) => {
        await setClient(store, "client-a", { overrides: { maxConcurrent: 1 } });
        await setQueue(store, "default", { maxConcurrent: 2 });
        await put(store, ...newTasks(5), ...newTasks(5, { clientId: "b" }), newTask({ queue: "other" }));
        const running = await drain(store, 1);
        expect(running.length).toBe(2);
        await setQueue(store, "default", { paused: true });
        await purge(store);
        expect(await useOf(store, "client-a")).toMatchObject({
          running: running.filter(({ clientId }) => clientId === "client-a").length,
        });
        await put(store, ...newTasks(3), ...newTasks(3, { clientId: "b" }));
        await setQueue(store, "default", { paused: false });
        await settle(store, ...running.map((one) => success(one)));
        let ran = 0;
        for (let rounds = 0; rounds < 10; rounds++) {
          const claimed = await drain(store);
          ran += claimed.length;
          await settle(store, ...claimed.map((one) => success(one)));
        }
        expect(ran + running.filter(({ queue }) => queue === "other").length).toBe(7);
      }),
    );

    test.skipIf(!offers.reopen)(
      "that was begun goes on after the store was opened again",
      withStore(open, async (opened) => {
        await put(opened.store, ...newTasks(60));
        await opened.store.purge("default", auditEntry());
        await opened.store.purgeStep(10);
        const again = await reopened(opened);
        expect((await queueUseOf(again, "default")).purge).toMatchObject({ queue: "default" });
        expect((await purgeOn(again))?.removed).toBe(60);
        expect(await listAll(again)).toEqual([]);
      }),
    );
  });
}

/** Purges a queue to the end; how far the last step says it is. */
async function purge(store: TaskStore, queue = "default"): Promise<PurgeProgress | null> {
  await store.purge(queue, auditEntry({ action: "queues.purge", subject: queue }));
  return purgeOn(store);
}

async function purgeOn(store: TaskStore): Promise<PurgeProgress | null> {
  let last: PurgeProgress | null = null;
  for (let steps = 0; steps < 100; steps++) {
    const progress = await store.purgeStep(10);
    if (progress === null) return last;
    last = progress;
  }
  throw new Error("the purge does not end");
}
