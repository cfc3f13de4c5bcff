/** Conformance: what has ended can be started over or removed by the hundred, and a held key has a known holder. */

import { describe, expect, test } from "bun:test";
import { MAX_PAGE } from "../../../src/core/store.ts";
import type { TaskState } from "../../../src/core/task.ts";
import { death, newTask, newTaskId, newTasks, retry, success } from "../../support/tasks.ts";
import { setClient, useOf } from "./admin.ts";
import {
  drain,
  HOUR_MS,
  idsOf,
  listAll,
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
import { listen, quiet } from "./hints.ts";
import { expectCounts } from "./listing.ts";

export function deadTests(open: OpenStore): void {
  describe("replayMany", () => {
    test(
      "starts over what has ended, each no earlier than its time, and tells what state each was in",
      withStore(open, async (opened) => {
        const { store, now, advance } = opened;
        const { dead, succeeded, cancelled, scheduled, retrying } = await oneOfEach(opened);
        const laterMs = now() + HOUR_MS;
        const asked = [dead, succeeded, newTaskId(), cancelled, scheduled, retrying];
        const before = await Promise.all([scheduled, retrying].map((id) => read(store, id)));
        const answer = await store.replayMany(
          asked.map((id) => ({ id, notBeforeMs: id === succeeded ? laterMs : 0 })),
        );
        expect(answer).toEqual(["dead", "succeeded", null, "cancelled", "scheduled", "retrying"]);
        expect(await Promise.all([scheduled, retrying].map((id) => read(store, id)))).toEqual(before);
        const fresh = { attempts: 0, crashes: 0, releases: 0, firstAttemptAtMs: null, finishedAtMs: null };
        for (const id of [dead, cancelled])
          expect(await read(store, id)).toMatchObject({ state: "ready", reason: null, ...fresh });
        expect(await read(store, succeeded)).toMatchObject({ state: "scheduled", dueMs: laterMs, ...fresh });
        expect((await read(store, dead)).attemptLog.length).toBe(1);
        await expectCounts(store);
        const claimed = await drain(store);
        expect(new Set(idsOf(claimed))).toEqual(new Set([dead, cancelled]));
        expect(claimed[0]?.attempt).toBe(1);
        await advance(HOUR_MS - MINUTE_MS);
        expect(await drain(store)).toEqual([]);
        await advance(MINUTE_MS);
        expect(idsOf(await drain(store))).toContain(succeeded);
      }),
    );

    test(
      "of nothing answers nothing, and of one task twice finds it started over",
      withStore(open, async ({ store }) => {
        expect(await store.replayMany([])).toEqual([]);
        const task = newTask();
        await put(store, task);
        await settle(store, death(await takeOne(store)));
        const asked = { id: task.id, notBeforeMs: 0 };
        expect(await store.replayMany([asked, asked])).toEqual(["dead", "ready"]);
        expect((await drain(store)).length).toBe(1);
      }),
    );

    test(
      "takes a whole page, keeps the order of a key, hints at work, and is not charged to the client",
      withStore(
        open,
        async (opened) => {
          const { store } = opened;
          await setClient(store, "client-a", {
            overrides: { requestsPerMinute: MAX_PAGE, maxConcurrent: null },
          });
          const keyed = newTasks(2, { orderingKey: "k" });
          await put(store, ...keyed, ...newTasks(MAX_PAGE - 2));
          for (let rounds = 0; rounds < 2; rounds++) {
            const claimed = await drain(store, MAX_PAGE);
            await settle(store, ...claimed.map((one) => death(one)));
          }
          const ids = idsOf(await listAll(store, { state: "dead" })).reverse();
          expect(ids.length).toBe(MAX_PAGE);
          await quiet(opened);
          const ear = listen(store);
          const answer = await store.replayMany(ids.map((id) => ({ id, notBeforeMs: 0 })));
          expect(new Set(answer)).toEqual(new Set<TaskState>(["dead"]));
          expect(await ear.heard(opened, "work")).toBe(true);
          expect((await drain(store, MAX_PAGE)).length).toBe(MAX_PAGE - 1);
          expect((await useOf(store, "client-a")).requests).toBe(MAX_PAGE);
          await expectCounts(store);
        },
        { limits: "built-in" },
      ),
      30_000,
    );
  });

  describe("forget", () => {
    test(
      "removes what has ended before its time, and nothing else",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        const { dead, succeeded, cancelled, scheduled, retrying } = await oneOfEach(opened);
        const [ready, running] = newTasks(2);
        if (!ready || !running) throw new Error("expected two tasks");
        await put(store, running);
        await takeOne(store);
        await put(store, ready);
        const kept = [scheduled, retrying, ready.id, running.id];
        expect(await store.forget([dead, ...kept, newTaskId(), succeeded, cancelled])).toBe(3);
        for (const id of [dead, succeeded, cancelled]) expect(await store.get(id)).toBeNull();
        expect(new Set(idsOf(await listAll(store)))).toEqual(new Set(kept));
        await expectCounts(store);
        expect(await store.forget([dead])).toBe(0);
        expect(await store.forget([])).toBe(0);
        await advance(HOUR_MS + MINUTE_MS);
        await store.sweep(1_000);
        await expectCounts(store);
      }),
    );

    test(
      "of a task named twice counts it once, and a whole page goes in one call",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(MAX_PAGE));
        const claimed = await drain(store, MAX_PAGE);
        await settle(store, ...claimed.map((one) => death(one)));
        const [first] = idsOf(claimed);
        expect(await store.forget([first ?? "", first ?? ""])).toBe(1);
        expect(await store.forget(idsOf(claimed))).toBe(MAX_PAGE - 1);
        expect(await listAll(store)).toEqual([]);
        expect(await store.sweep(1_000)).toMatchObject({ tasks: 0, more: false });
      }),
      30_000,
    );
  });

  describe("keyHolder", () => {
    test(
      "tells who holds a task's ordering key, as long as it does",
      withStore(open, async ({ store }) => {
        const [head, next] = newTasks(2, { orderingKey: "k" });
        const [elsewhere, free] = [newTask({ orderingKey: "k", queue: "other" }), newTask()];
        if (!head || !next) throw new Error("expected two tasks");
        await put(store, head, next, elsewhere, free);
        const claimed = (await take(store, 10)).find(({ id }) => id === head.id);
        if (claimed === undefined) throw new Error("expected the head of the key");
        for (const { id } of [head, next]) expect(await store.keyHolder(id)).toBe(head.id);
        expect(await store.keyHolder(elsewhere.id)).toBe(elsewhere.id);
        expect(await store.keyHolder(free.id)).toBeNull();
        expect(await store.keyHolder(newTaskId())).toBeNull();
        await settle(store, retry(claimed, MINUTE_MS));
        expect(await store.keyHolder(next.id)).toBe(head.id);
        await store.cancel(head.id);
        expect(await store.keyHolder(next.id)).toBe(next.id);
        await settle(store, success(await takeOne(store)));
        const late = newTask({ orderingKey: "k", queue: "third" });
        await put(store, late);
        await store.cancel(late.id);
        expect(await store.keyHolder(late.id)).toBeNull();
      }),
    );
  });
}

type Ended = "dead" | "succeeded" | "cancelled" | "scheduled" | "retrying";

/** The ids of a task in each of these states. */
async function oneOfEach({ store, now }: OpenedStore): Promise<Record<Ended, string>> {
  const [dead, succeeded, retrying, cancelled] = newTasks(4);
  if (!dead || !succeeded || !retrying || !cancelled) throw new Error("expected four tasks");
  const scheduled = newTask({ scheduledAtMs: now() + 3 * HOUR_MS });
  await put(store, dead, succeeded, retrying, cancelled, scheduled);
  await store.cancel(cancelled.id);
  const [a, b, c] = await take(store, 3);
  if (!a || !b || !c) throw new Error("expected three tasks");
  await settle(store, death(a), success(b), retry(c, 2 * HOUR_MS));
  return {
    dead: dead.id,
    succeeded: succeeded.id,
    cancelled: cancelled.id,
    scheduled: scheduled.id,
    retrying: retrying.id,
  };
}
