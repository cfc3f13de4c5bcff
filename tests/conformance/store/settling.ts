/** Conformance: what a delivery came to is kept with the task, and only what was judged is charged. */

import { describe, expect, test } from "bun:test";
import { MAX_KEPT_ATTEMPTS } from "../../../src/core/task.ts";
import { death, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import {
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

export function settleTests(open: OpenStore): void {
  describe("settle", () => {
    test(
      "succeeded ends the task and keeps the attempt as it was",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask();
        await put(store, task);
        const claimed = await takeOne(store, { worker: "worker-3" });
        await advance(1_500);
        const startedAtMs = now() - 1_400;
        const attempt = {
          number: 1,
          startedAtMs,
          durationMs: 1_387,
          status: 201,
          error: null,
          responseExcerpt: "grüße \u0000 🚀 {}",
          worker: "worker-3",
        };
        const before = now();
        await settle(store, success(claimed, attempt));
        const done = await read(store, task.id);
        expect(done).toMatchObject({ state: "succeeded", attempts: 1, crashes: 0, releases: 0, lease: null });
        expect(done.attemptLog).toEqual([attempt]);
        expect(done.firstAttemptAtMs).toBe(startedAtMs);
        expect(done.finishedAtMs).toBeGreaterThanOrEqual(before);
        expect(done.finishedAtMs).toBeLessThanOrEqual(now());
        await advance(2 * LEASE_MS);
        expect(await take(store, 1)).toEqual([]);
        expect(await store.rescue(10)).toEqual([]);
      }),
    );

    test(
      "retry makes the task wait, with its reason, and the attempt is charged",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask();
        await put(store, task);
        const before = now();
        await settle(
          store,
          retry(await takeOne(store), 10 * MINUTE_MS, { error: "answered 503", status: 503 }),
        );
        const waiting = await read(store, task.id);
        expect(waiting).toMatchObject({
          state: "retrying",
          reason: "answered 503",
          attempts: 1,
          crashes: 0,
          releases: 0,
          lease: null,
          finishedAtMs: null,
        });
        expect(waiting.dueMs).toBeGreaterThanOrEqual(before + 10 * MINUTE_MS);
        expect(waiting.dueMs).toBeLessThanOrEqual(now() + 10 * MINUTE_MS);
        expect(await take(store, 1)).toEqual([]);
        await advance(9 * MINUTE_MS);
        expect(await take(store, 1)).toEqual([]);
        await advance(MINUTE_MS);
        expect(await takeOne(store)).toMatchObject({ id: task.id, attempt: 2 });
      }),
    );

    test(
      "a task's scheduled time and first attempt stay what they were through retries",
      withStore(open, async ({ store, advance, now }) => {
        const scheduledAtMs = now() + MINUTE_MS;
        const task = newTask({ scheduledAtMs });
        await put(store, task);
        await advance(2 * MINUTE_MS);
        const first = await takeOne(store);
        const startedAtMs = now();
        await settle(store, retry(first, MINUTE_MS, { startedAtMs }));
        await advance(2 * MINUTE_MS);
        const second = await takeOne(store);
        expect(second).toMatchObject({ attempt: 2, firstAttemptAtMs: startedAtMs, scheduledAtMs });
        await settle(store, retry(second, 1, { startedAtMs: now() }));
        expect(await read(store, task.id)).toMatchObject({
          firstAttemptAtMs: startedAtMs,
          scheduledAtMs,
          attempts: 2,
        });
      }),
    );

    test(
      "dead ends the task with its reason",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        await settle(store, death(await takeOne(store), "answered 410: gone"));
        const dead = await read(store, task.id);
        expect(dead).toMatchObject({ state: "dead", reason: "answered 410: gone", attempts: 1, lease: null });
        expect(dead.finishedAtMs).not.toBeNull();
        expect(dead.attemptLog.length).toBe(1);
        await advance(2 * LEASE_MS);
        expect(await take(store, 1)).toEqual([]);
      }),
    );

    test(
      "released gives the task back without charging an attempt",
      withStore(open, async ({ store }) => {
        const task = newTask();
        await put(store, task);
        const claimed = await takeOne(store);
        await settle(store, release(claimed, 0, "shutting down"));
        expect(await read(store, task.id)).toMatchObject({
          state: "ready",
          reason: "shutting down",
          attempts: 0,
          crashes: 0,
          releases: 1,
          firstAttemptAtMs: null,
          finishedAtMs: null,
          lease: null,
          attemptLog: [],
        });
        expect(await takeOne(store)).toMatchObject({ id: task.id, attempt: 1, firstAttemptAtMs: null });
      }),
    );

    test(
      "a task given back at once goes before those that came after it",
      withStore(open, async ({ store, advance }) => {
        const [first, second] = [newTask(), newTask()];
        await put(store, first);
        const claimed = await takeOne(store);
        await advance(1_000);
        await put(store, second);
        await advance(1_000);
        await settle(store, release(claimed, 0));
        expect((await takeOne(store)).id).toBe(first.id);
      }),
    );

    test(
      "released for later is scheduled, and not handed out before",
      withStore(open, async ({ store, advance, now }) => {
        const task = newTask();
        await put(store, task);
        const before = now();
        await settle(store, release(await takeOne(store), 10 * MINUTE_MS, "breaker open"));
        const waiting = await read(store, task.id);
        expect(waiting).toMatchObject({ state: "scheduled", reason: "breaker open", releases: 1 });
        expect(waiting.dueMs).toBeGreaterThanOrEqual(before + 10 * MINUTE_MS);
        await advance(9 * MINUTE_MS);
        expect(await take(store, 1)).toEqual([]);
        await advance(MINUTE_MS);
        expect(await takeOne(store)).toMatchObject({ id: task.id, attempt: 1 });
      }),
    );

    test(
      "attempts and releases are counted apart",
      withStore(open, async ({ store, advance }) => {
        const task = newTask();
        await put(store, task);
        const verdicts = [release, retry, release, retry, release] as const;
        for (const verdict of verdicts) {
          await settle(store, verdict(await takeOne(store), 1));
          await advance(1);
        }
        expect(await read(store, task.id)).toMatchObject({ attempts: 2, releases: 3, crashes: 0 });
        expect((await takeOne(store)).attempt).toBe(3);
      }),
    );

    test(
      "many settlements in one call are answered in their order",
      withStore(open, async ({ store }) => {
        await put(store, ...newTasks(6));
        const [a, b, c, d, e, f] = await take(store, 6);
        if (!a || !b || !c || !d || !e || !f) throw new Error("expected six tasks");
        await settle(store, success(c));
        await store.cancel(e.id);
        const answers = await store.settle([
          success(a),
          retry(b, 1),
          success(c),
          death(d),
          success(e),
          release(f, 0),
        ]);
        expect(answers).toEqual(["settled", "settled", "stale", "settled", "cancelled", "settled"]);
        const states = await Promise.all(
          [a, b, c, d, e, f].map(async ({ id }) => (await read(store, id)).state),
        );
        expect(states).toEqual(["succeeded", "retrying", "succeeded", "dead", "cancelled", "ready"]);
      }),
    );

    test(
      `keeps ${MAX_KEPT_ATTEMPTS} attempts of many: the first and the latest`,
      withStore(open, async ({ store, advance }) => {
        const total = MAX_KEPT_ATTEMPTS + 6;
        const task = newTask();
        await put(store, task);
        for (let number = 1; number <= total; number++) {
          const claimed = await takeOne(store);
          expect(claimed.attempt).toBe(number);
          await settle(store, retry(claimed, 1, { error: `failure ${number}` }));
          await advance(1);
        }
        const { attempts, attemptLog } = await read(store, task.id);
        expect(attempts).toBe(total);
        const latest = Array.from(
          { length: MAX_KEPT_ATTEMPTS - 1 },
          (_, i) => total - MAX_KEPT_ATTEMPTS + 2 + i,
        );
        expect(attemptLog.map((attempt) => attempt.number)).toEqual([1, ...latest]);
        expect(attemptLog.at(-1)?.error).toBe(`failure ${total}`);
      }),
    );
  });
}
