/** Conformance: a queue's rules are handed out with its tasks, hold for those that wait, and say who may add to it. */

import { describe, expect, test } from "bun:test";
import { newQueue, type Queue } from "../../../src/core/queue.ts";
import type { ClaimedTask, Settlement, TaskStore } from "../../../src/core/store.ts";
import { death, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import { alter, keptOf, send, setQueue } from "./admin.ts";
import {
  DAY_MS,
  drain,
  HOUR_MS,
  idsOf,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

const FULL: Queue = {
  enabled: true,
  paused: false,
  maxDispatchesPerSec: 1_000,
  maxBurst: 2_000,
  maxConcurrent: 50,
  weight: 7,
  retry: { maxAttempts: 3, minBackoffMs: 0, maxDurationMs: null, jitter: 0.5 },
  timeoutMs: 1_234,
  target: { url: "https://example.com/ü?q=1#x", method: "PUT", headers: { "X-Key": "v", "x-empty": "" } },
  retentionSucceededMs: 0,
  retentionDeadMs: HOUR_MS,
  permanentStatuses: [400, 404],
  afterDeath: "hold",
  deadTarget: { kind: "callback", url: "https://example.com/dead" },
  mode: "push",
  signing: [{ id: "0a1b2c3d", sealed: "c2VhbGVk", createdAtMs: 18 }],
  createdAtMs: 17,
};

export function queueRuleTests(open: OpenStore): void {
  describe("a queue", () => {
    test(
      "is made by its first task without rules, and stays as it was made",
      withStore(open, async ({ store, now, advance }) => {
        expect(await store.read("queue", "emails")).toBeNull();
        const before = now();
        await put(store, newTask({ queue: "emails" }));
        const kept = await keptOf(store, "queue", "emails");
        expect(kept.value).toEqual(newQueue(kept.value.createdAtMs));
        expect(kept.value.createdAtMs).toBeGreaterThanOrEqual(before);
        expect(kept.value.createdAtMs).toBeLessThanOrEqual(now());
        await advance(MINUTE_MS);
        await put(store, newTask({ queue: "emails" }));
        await drain(store);
        expect(await store.read("queue", "emails")).toEqual(kept);
      }),
    );

    test(
      "hands its rules out with its tasks, as they are at that time, to those that waited too",
      withStore(open, async ({ store, now }) => {
        await setQueue(store, "ruled", FULL);
        await put(store, ...newTasks(3, { queue: "ruled", scheduledAtMs: now() + MINUTE_MS }));
        const tasks = newTasks(3, { queue: "ruled" });
        await put(store, ...tasks);
        expect(await takeOne(store)).toMatchObject({ id: tasks[0]?.id ?? "", rules: FULL });
        const changed: Queue = { ...newQueue(18), timeoutMs: 5, deadTarget: { kind: "queue", queue: "q" } };
        await setQueue(store, "ruled", changed);
        const claimed = await takeOne(store);
        expect(claimed.rules).toEqual(changed);
        await settle(store, release(claimed, 0));
        await setQueue(store, "ruled", { ...changed, weight: 3 });
        expect(await takeOne(store)).toMatchObject({ id: claimed.id, rules: { ...changed, weight: 3 } });
        const { claim } = await store.settleAndClaim([], { worker: "w", limit: 1, leaseMs: 1_000 });
        expect(claim.tasks[0]?.rules).toEqual({ ...changed, weight: 3 });
        // The task's own are as it said, whatever its queue says.
        expect(claim.tasks[0]).toMatchObject({ timeoutMs: null, retry: {}, target: tasks[2]?.target ?? {} });
      }),
    );

    test(
      "without rules hands out none, or those that do nothing",
      withStore(open, async ({ store }) => {
        await put(store, newTask(), newTask({ queue: "other" }));
        for (const { queue, rules } of await take(store, 2)) {
          const { value } = await keptOf(store, "queue", queue);
          expect(value).toEqual(newQueue(value.createdAtMs));
          expect([null, JSON.stringify(value)]).toContain(rules && JSON.stringify(rules));
        }
      }),
    );

    test(
      "that is disabled refuses new tasks, goes on with those it has, and tells of taken names",
      withStore(open, async ({ store, now, advance }) => {
        const named = newTask({ name: "n" });
        await put(store, named, newTask({ scheduledAtMs: now() + MINUTE_MS }), newTask());
        await setQueue(store, "default", { enabled: false });
        const { results } = await store.enqueue([
          newTask(),
          newTask({ name: "n" }),
          newTask({ queue: "other" }),
        ]);
        expect(results).toMatchObject([
          { kind: "refused", why: "queue_disabled" },
          { kind: "duplicate", id: named.id },
          { kind: "created" },
        ]);
        expect((await listAll(store, { queue: "default" })).length).toBe(3);
        expect((await drain(store)).length).toBe(3);
        await advance(MINUTE_MS);
        await settle(store, retry(await takeOne(store), 0));
        expect((await takeOne(store)).attempt).toBe(2);
        await setQueue(store, "default", { enabled: true });
        expect(await send(store, 1)).toEqual(["created"]);
      }),
    );

    test(
      "that was not made is not there where queues are not made by use; the default one always is",
      withStore(
        open,
        async ({ store }) => {
          expect(await send(store, 1)).toEqual(["created"]);
          const { results } = await store.enqueue([newTask({ queue: "emails", name: "n" }), newTask()]);
          expect(results).toMatchObject([{ kind: "refused", why: "queue_not_found" }, { kind: "created" }]);
          expect(await store.read("queue", "emails")).toBeNull();
          expect(await listAll(store, { queue: "emails" })).toEqual([]);
          await setQueue(store, "emails", {});
          expect(await send(store, 1, { queue: "emails", name: "n" })).toEqual(["created"]);
          await alter(store, "queue", "emails", () => null);
          expect(await send(store, 1, { queue: "emails" })).toEqual(["refused"]);
          expect((await drain(store)).length).toBe(3);
        },
        { autoCreateQueues: false },
      ),
    );

    test(
      "that is deleted is made anew by its next task, without the rules it had",
      withStore(open, async ({ store }) => {
        await setQueue(store, "again", { paused: true, enabled: false });
        await alter(store, "queue", "again", () => null);
        await put(store, newTask({ queue: "again" }));
        const { value } = await keptOf(store, "queue", "again");
        expect(value).toEqual(newQueue(value.createdAtMs));
        expect((await takeOne(store)).queue).toBe("again");
      }),
    );
  });

  describe("a queue's retention", () => {
    const ENDS: ReadonlyArray<
      readonly [string, keyof Queue, (store: TaskStore, claimed: ClaimedTask) => Promise<unknown>]
    > = [
      ["succeeded", "retentionSucceededMs", (store, claimed) => store.settle([success(claimed)])],
      ["dead", "retentionDeadMs", (store, claimed) => store.settle([death(claimed)])],
      ["cancelled", "retentionSucceededMs", (store, claimed) => cancelled(store, claimed)],
    ];
    for (const [state, field, end] of ENDS) {
      test(
        `is how long its ${state} tasks stay that do not say, whenever they were accepted`,
        withStore(open, async ({ store, advance }) => {
          const [plain, own, early] = [newTask(), newTask({ retentionMs: 5 * DAY_MS }), newTask()];
          await put(store, plain, own);
          await setQueue(store, "default", { [field]: 3 * DAY_MS });
          for (const claimed of await take(store, 2)) await end(store, claimed);
          await advance(3 * DAY_MS - MINUTE_MS);
          await store.sweep(100);
          expect((await read(store, plain.id)).state).toBe(state as "dead");
          await advance(2 * MINUTE_MS);
          await store.sweep(100);
          expect(idsOf(await listAll(store))).toEqual([own.id]);
          await put(store, early);
          await setQueue(store, "default", { [field]: 0 });
          await end(store, await takeOne(store));
          expect(await store.get(early.id)).toBeNull();
        }),
      );
    }
  });

  describe("after a death, a queue that holds", () => {
    const HEADS: ReadonlyArray<
      readonly [string, (store: TaskStore, dead: string) => Promise<unknown>, string]
    > = [
      ["replayed", (store, dead) => store.replay(dead), "dead"],
      ["replayed with others", (store, id) => store.replayMany([{ id, notBeforeMs: 0 }]), "dead"],
      ["forgotten", (store, dead) => store.forget([dead]), "next"],
    ];
    for (const [what, act, first] of HEADS) {
      test(
        `gives the key to nobody until the dead task is ${what}`,
        withStore(open, async ({ store, advance }) => {
          await setQueue(store, "default", { afterDeath: "hold" });
          const [dead, next] = [newTask({ orderingKey: "k" }), newTask({ orderingKey: "k" })];
          const other = newTask({ orderingKey: "other" });
          await put(store, dead, next);
          await settle(store, death(await takeOne(store)));
          await put(store, other);
          expect(idsOf(await drain(store))).toEqual([other.id]);
          await advance(HOUR_MS);
          expect(await drain(store)).toEqual([]);
          expect(await store.keyHolder(next.id)).toBe(dead.id);
          await act(store, dead.id);
          const claimed = await drain(store);
          expect(idsOf(claimed)).toEqual([first === "dead" ? dead.id : next.id]);
          await settle(store, ...claimed.map((one) => success(one)));
          expect(idsOf(await drain(store))).toEqual(first === "dead" ? [next.id] : []);
        }),
      );
    }

    test(
      "gives it to the next when the dead task's retention is over, or was none",
      withStore(open, async ({ store, advance }) => {
        await setQueue(store, "default", { afterDeath: "hold", retentionDeadMs: HOUR_MS });
        const tasks = [0, 1, 2].map((i) => newTask({ orderingKey: "k", retentionMs: i === 1 ? 0 : null }));
        await put(store, ...tasks);
        await settle(store, death(await takeOne(store)));
        await advance(HOUR_MS - MINUTE_MS);
        await store.sweep(100);
        expect(await drain(store)).toEqual([]);
        await advance(2 * MINUTE_MS);
        await store.sweep(100);
        const second = await takeOne(store);
        expect(second.id).toBe(tasks[1]?.id ?? "");
        await settle(store, death(second));
        expect((await takeOne(store)).id).toBe(tasks[2]?.id ?? "");
      }),
    );

    test(
      "gives it to the next after any other end, and new tasks of a held key wait too",
      withStore(open, async ({ store }) => {
        await setQueue(store, "default", { afterDeath: "hold" });
        const ends: readonly ((claimed: ClaimedTask) => Settlement)[] = [success, death];
        await put(store, newTask({ orderingKey: "k" }), newTask({ orderingKey: "k" }));
        for (const end of ends) await settle(store, end(await takeOne(store)));
        await put(store, newTask({ orderingKey: "k", priority: "critical" }), newTask());
        const claimed = await drain(store);
        expect(claimed.length).toBe(1);
        // A key of that name in another queue is another key.
        await put(store, newTask({ orderingKey: "k", queue: "other" }));
        expect((await drain(store)).length).toBe(1);
      }),
    );
  });
}

async function cancelled(store: TaskStore, claimed: ClaimedTask): Promise<void> {
  expect((await store.cancel(claimed.id)).kind).toBe("changed");
  expect(await store.settle([success(claimed)])).toEqual(["cancelled"]);
}
