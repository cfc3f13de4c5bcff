/** Pull queues: their tasks go to whoever asks for them by the queue's name, and to no worker. */

import { describe, expect, test } from "bun:test";
import { newTasks, retry, success } from "../../support/tasks.ts";
import { queueUseOf, setClient, setQueue } from "./admin.ts";
import {
  idsOf,
  LEASE_MS,
  type OpenStore,
  put,
  SECOND_MS,
  secondOf,
  settle,
  take,
  tally,
  withStore,
} from "./harness.ts";

const FROM_PULL = { worker: "consumer-1", queue: "pull" } as const;

export function pullTests(open: OpenStore, offers: { second: boolean }): void {
  describe("a pull queue", () => {
    test(
      "hands its tasks to whoever asks for them by its name, and to no worker",
      withStore(open, async ({ store }) => {
        await setQueue(store, "pull", { mode: "pull" });
        const pulled = newTasks(3, { queue: "pull" });
        const pushed = newTasks(2, { queue: "push" });
        await put(store, ...pulled, ...pushed);
        expect(idsOf(await take(store, 10))).toEqual(idsOf(pushed));
        expect(await take(store, 10, { queue: "push" })).toEqual([]);
        const [first, ...others] = await take(store, 2, FROM_PULL);
        if (!first) throw new Error("nothing was handed out");
        expect(idsOf([first, ...others])).toEqual(idsOf(pulled.slice(0, 2)));
        expect(await store.extend([{ taskId: first.id, fence: first.fence }], LEASE_MS)).toEqual([]);
        await settle(store, success(first), ...others.map((one) => retry(one, 0)));
        expect(idsOf(await take(store, 10, FROM_PULL)).sort()).toEqual(
          [pulled[1]?.id, pulled[2]?.id].sort() as string[],
        );
      }),
    );

    test(
      "says when there is more, now or at some time",
      withStore(open, async ({ store, now, advance }) => {
        await setQueue(store, "pull", { mode: "pull" });
        await put(store, ...newTasks(3, { queue: "pull" }));
        const ask = () => store.claim({ limit: 2, leaseMs: LEASE_MS, ...FROM_PULL });
        expect((await ask()).nextInMs).toBe(0);
        expect((await ask()).nextInMs).toBeNull();
        await put(store, ...newTasks(1, { queue: "pull", scheduledAtMs: now() + 5 * SECOND_MS }));
        const { tasks, nextInMs } = await ask();
        expect(tasks).toEqual([]);
        expect(nextInMs).toBeWithin(3_000, 5_001);
        // A worker is told of the time too, for it may be the one to move the task to its place.
        await advance(6 * SECOND_MS);
        expect(await take(store, 10)).toEqual([]);
        expect((await ask()).tasks.length).toBe(1);
      }),
    );

    test(
      "keeps to its clients' limits and its own, and to pauses",
      withStore(open, async ({ store }) => {
        await setQueue(store, "pull", { mode: "pull", maxConcurrent: 3 });
        await setClient(store, "a", { overrides: { maxConcurrent: 1 } });
        for (const clientId of ["a", "b"]) await put(store, ...newTasks(5, { queue: "pull", clientId }));
        const tasks = await take(store, 10, FROM_PULL);
        expect(tally(tasks, ({ clientId }) => clientId)).toEqual({ a: 1, b: 2 });
        expect((await queueUseOf(store, "pull")).running).toBe(3);
        await settle(store, ...tasks.filter(({ clientId }) => clientId === "a").map((one) => success(one)));
        expect((await take(store, 10, FROM_PULL)).length).toBe(1);
        await setQueue(store, "pull", { mode: "pull", maxConcurrent: null });
        expect((await take(store, 10, FROM_PULL)).length).toBeWithin(2, 4);
        await setQueue(store, "pull", { mode: "pull", paused: true });
        await put(store, ...newTasks(5, { queue: "pull", clientId: "c" }));
        expect(await take(store, 10, FROM_PULL)).toEqual([]);
        await setQueue(store, "pull", { mode: "pull", paused: false });
        const resumed = await take(store, 10, FROM_PULL);
        expect(tally(resumed, ({ clientId }) => clientId).c).toBe(5);
      }),
    );

    test(
      "serves its clients in turn and its priorities by weight",
      withStore(open, async ({ store }) => {
        await setQueue(store, "pull", { mode: "pull" });
        for (const clientId of ["a", "b"]) {
          for (const priority of ["low", "critical"] as const)
            await put(store, ...newTasks(100, { queue: "pull", clientId, priority }));
        }
        const tasks = await take(store, 90, FROM_PULL);
        expect(tally(tasks, ({ priority }) => priority)).toEqual({ critical: 80, low: 10 });
        expect(tally(tasks, ({ clientId }) => clientId)).toEqual({ a: 45, b: 45 });
      }),
    );

    test(
      "that has many clients costs a worker nothing, and all of their tasks are handed out",
      withStore(open, async ({ store }) => {
        await setQueue(store, "pull", { mode: "pull" });
        const tasks = Array.from({ length: 300 }, (_, at) =>
          newTasks(2, { queue: "pull", clientId: `c${at}` }),
        );
        await put(store, ...tasks.flat());
        const other = newTasks(1, { clientId: "other" });
        await put(store, ...other);
        expect(idsOf(await take(store, 1))).toEqual(idsOf(other));
        const first = await take(store, 300, FROM_PULL);
        expect(new Set(first.map(({ clientId }) => clientId)).size).toBe(300);
        expect((await take(store, 1_000, FROM_PULL)).length).toBe(300);
      }),
    );

    test(
      "may become a push queue and the other way round, with the tasks it has",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(4, { queue: "pull" }), ...newTasks(4, { queue: "pull", clientId: "b" }));
        await setQueue(store, "pull", { mode: "pull" });
        expect((await take(store, 2, FROM_PULL)).length).toBe(2);
        expect(await take(store, 10)).toEqual([]);
        await setQueue(store, "pull", { mode: "push" });
        expect(await take(store, 10, FROM_PULL)).toEqual([]);
        expect((await take(store, 2)).length).toBe(2);
        await setQueue(store, "pull", { mode: "pull" });
        expect(await take(store, 10)).toEqual([]);
        expect((await take(store, 10, FROM_PULL)).length).toBe(4);
      }),
    );

    test(
      "gives back what its consumers let run out",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        const other = offers.second ? await secondOf(opened) : store;
        await setQueue(store, "pull", { mode: "pull" });
        await put(store, ...newTasks(2, { queue: "pull", orderingKey: "k" }));
        const [held] = await take(store, 5, FROM_PULL);
        expect(await take(other, 5, FROM_PULL)).toEqual([]);
        await advance(LEASE_MS + SECOND_MS);
        expect(idsOf(await other.rescue(10))).toEqual([held?.id ?? ""]);
        const [again, ...more] = await take(other, 5, FROM_PULL);
        expect(again).toMatchObject({ id: held?.id, crashes: 1 });
        expect(more).toEqual([]);
        if (again) await settle(other, success(again));
        expect((await take(store, 5, FROM_PULL)).length).toBe(1);
      }),
    );

    test(
      "that is purged forgets what waits",
      withStore(open, async ({ store }) => {
        await setQueue(store, "pull", { mode: "pull" });
        await put(store, ...newTasks(50, { queue: "pull" }));
        await store.purge("pull", {
          atMs: 1,
          actor: "open",
          action: "queues.purge",
          subject: "pull",
          before: null,
          after: null,
        });
        for (let steps = 0; steps < 100 && (await store.purgeStep(20)) !== null; steps++);
        expect(await take(store, 10, FROM_PULL)).toEqual([]);
        const next = newTasks(2, { queue: "pull" });
        await put(store, ...next);
        expect(idsOf(await take(store, 10, FROM_PULL))).toEqual(idsOf(next));
      }),
    );
  });
}
