/** Conformance: what is enqueued is kept whole, all of it or none. */

import { describe, expect, test } from "bun:test";
import type { NewTask, Target, Task } from "../../../src/core/task.ts";
import { newTarget, newTask, newTaskId, newTasks } from "../../support/tasks.ts";
import { idsIn } from "./admin.ts";
import {
  DAY_MS,
  idsOf,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

export function enqueueTests(open: OpenStore): void {
  describe("enqueue", () => {
    test(
      "a task that is due is ready at once and answered with its id and time",
      withStore(open, async ({ store, now }) => {
        const task = newTask();
        const before = now();
        const { results, durability } = await store.enqueue([task]);
        expect(["disk", "memory", "primary", "replicated"]).toContain(durability);
        const [result] = results;
        if (result?.kind !== "created") throw new Error(`not created: ${JSON.stringify(results)}`);
        expect(result.id).toBe(task.id);
        expect(result.state).toBe("ready");
        expect(result.scheduledAtMs).toBeGreaterThanOrEqual(before);
        expect(result.scheduledAtMs).toBeLessThanOrEqual(now());
      }),
    );

    test(
      "a task for later is scheduled at exactly the time asked for",
      withStore(open, async ({ store, now }) => {
        const scheduledAtMs = now() + 5 * MINUTE_MS;
        const task = newTask({ scheduledAtMs });
        const { results } = await store.enqueue([task]);
        expect(results).toEqual([{ kind: "created", id: task.id, state: "scheduled", scheduledAtMs }]);
        expect(await read(store, task.id)).toMatchObject({
          state: "scheduled",
          scheduledAtMs,
          dueMs: scheduledAtMs,
        });
      }),
    );

    test(
      "a time past means now, and does not jump the queue",
      withStore(open, async ({ store, now }) => {
        const first = newTask();
        const backdated = newTask({ scheduledAtMs: now() - DAY_MS });
        await put(store, first);
        const { results } = await store.enqueue([backdated]);
        expect(results[0]).toMatchObject({ kind: "created", state: "ready" });
        expect(idsOf(await take(store, 2))).toEqual([first.id, backdated.id]);
      }),
    );

    test(
      "many tasks in one call are answered in their order, and all are kept",
      withStore(open, async ({ store }) => {
        const tasks = newTasks(500);
        const { results } = await store.enqueue(tasks);
        expect(idsIn(results)).toEqual(idsOf(tasks));
        expect(new Set(idsOf(await listAll(store)))).toEqual(new Set(idsOf(tasks)));
      }),
    );

    test(
      "an empty call answers nothing and does no harm",
      withStore(open, async ({ store }) => {
        expect((await store.enqueue([])).results).toEqual([]);
        expect(await listAll(store)).toEqual([]);
      }),
    );

    test(
      "a task that cannot be kept takes the rest of its call with it, and no other call's",
      withStore(open, async ({ store }) => {
        const [good, doomed, broken, other] = [
          newTask({ name: "good" }),
          newTask({ name: "doomed" }),
          newTask(),
          newTask(),
        ];
        // Whatever a store does with a task, it has to read its target: a programmer's error half way through.
        const unreadable = Object.defineProperty({ ...broken }, "target", {
          get: () => {
            throw new Error("unreadable target");
          },
        });
        const calls = [store.enqueue([good]), store.enqueue([doomed, unreadable]), store.enqueue([other])];
        const outcomes = await Promise.allSettled(calls);
        expect(outcomes.map((outcome) => outcome.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
        expect(new Set(idsOf(await listAll(store)))).toEqual(new Set([good.id, other.id]));
        expect(new Set(idsOf(await take(store, 10)))).toEqual(new Set([good.id, other.id]));
        await put(store, newTask({ name: "doomed" }));
      }),
    );

    test(
      "a new task has no history",
      withStore(open, async ({ store, now }) => {
        const task = newTask();
        const before = now();
        await put(store, task);
        const kept = await read(store, task.id);
        expect(kept).toMatchObject({
          state: "ready",
          reason: null,
          firstAttemptAtMs: null,
          finishedAtMs: null,
          attempts: 0,
          crashes: 0,
          releases: 0,
          fence: 0,
          lease: null,
          attemptLog: [],
        });
        expect(kept.createdAtMs).toBeGreaterThanOrEqual(before);
        expect(kept.createdAtMs).toBeLessThanOrEqual(now());
      }),
    );

    test(
      "get answers null for an id that was never enqueued",
      withStore(open, async ({ store }) => {
        expect(await store.get(newTaskId())).toBeNull();
        expect(await store.get("no-such-id")).toBeNull();
      }),
    );

    test(
      "every field survives, on reading and on claiming",
      withStore(open, async ({ store }) => {
        const task = newTask({
          queue: "emails-2_B",
          clientId: "team.a:svc-1",
          priority: "critical",
          target: {
            url: "https://example.com:8443/a%20b?q=1&q=2#x",
            method: "PATCH",
            headers: {
              "Content-Type": "text/plain; charset=utf-8",
              "X-Empty": "",
              authorization: "Bearer a.b-c",
            },
            body: "plain",
          },
          timeoutMs: 1_234,
          name: "order-17/welcome",
          orderingKey: "user 17",
          retry: {
            maxAttempts: -1,
            minBackoffMs: 0,
            maxBackoffMs: 60_000,
            maxDoublings: 0,
            maxDurationMs: 5_000,
            jitter: 0,
          },
          retentionMs: 12_345,
          metadata: {
            order: "17",
            "": "empty key",
            constructor: "a word with a meaning of its own",
            grüße: "✓",
          },
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        });
        await put(store, task);
        expectKept(await read(store, task.id), task);
        const claimed = await takeOne(store);
        expectTarget(claimed.target, task.target);
        const { id, queue, clientId, priority, timeoutMs, retry, metadata, traceparent } = task;
        expect(claimed).toMatchObject({ id, queue, clientId, priority, timeoutMs, traceparent });
        expect(claimed.retry).toEqual(retry);
        expect(claimed.metadata).toEqual(metadata);
      }),
    );

    test(
      "retry overrides keep what is said, even where it is null or zero, and add nothing",
      withStore(open, async ({ store }) => {
        for (const retry of [
          {},
          { maxAttempts: 1 },
          { maxDurationMs: null },
          { jitter: 0, minBackoffMs: 0 },
        ]) {
          const task = newTask({ retry });
          await put(store, task);
          expect((await read(store, task.id)).retry).toEqual(retry);
          expect((await takeOne(store)).retry).toEqual(retry);
        }
      }),
    );

    const bodies: ReadonlyArray<readonly [string, Target["body"]]> = [
      ["no body", null],
      ["an empty text", ""],
      ["no bytes", new Uint8Array(0)],
      ["every byte there is", Uint8Array.from({ length: 256 }, (_, i) => i)],
      ["bytes that are no UTF-8", Uint8Array.from([0xff, 0xfe, 0xc0, 0x80, 0x00, 0xed, 0xa0, 0x80])],
      ["a view into a larger buffer", new Uint8Array(Uint8Array.from([9, 1, 2, 3, 9]).buffer, 1, 3)],
      ["text of many scripts", "grüße 你好 שלום 🚀👩‍👩‍👧 e\u0301 \u2028\u2029"],
      ["text with control characters", 'a\u0000b\r\n\t"\\\u001f\u007f'],
      ["JSON, byte for byte", '{ "b":1.0,\n "a":[1e2, "\\u00e9"] }'],
      ["1 MiB of text", "0123456789abcdef".repeat(65_536)],
      ["1 MiB of bytes", Uint8Array.from({ length: 1_048_576 }, (_, i) => (i * 31) & 255)],
    ];
    for (const [what, body] of bodies) {
      test(
        `a body survives: ${what}`,
        withStore(open, async ({ store }) => {
          const task = newTask({ target: newTarget({ body }) });
          await put(store, task);
          expectTarget((await read(store, task.id)).target, task.target);
          expectTarget((await takeOne(store)).target, task.target);
        }),
      );
    }
  });
}

/** Checks all that a {@link NewTask} says of itself, except its idempotency key, which a {@link Task} does not show. */
function expectKept(kept: Task, task: NewTask): void {
  expectTarget(kept.target, task.target);
  const {
    idempotencyKey: _key,
    clientRevision: _seen,
    scheduledAtMs: _time,
    delayMs: _delay,
    target: _target,
    ...rest
  } = task;
  const keptRest = Object.fromEntries(Object.keys(rest).map((key) => [key, kept[key as keyof typeof rest]]));
  expect(keptRest).toEqual(rest);
}

function expectTarget(kept: Target, target: Target): void {
  const { body: keptBody, ...keptRest } = kept;
  const { body, ...rest } = target;
  expect(keptRest).toEqual(rest);
  if (!(body instanceof Uint8Array)) {
    // Compared outside of expect, which would print a megabyte.
    expect(typeof keptBody).toBe(typeof body);
    expect(keptBody === body).toBe(true);
    return;
  }
  if (!(keptBody instanceof Uint8Array)) throw new Error(`bytes came back as ${typeof keptBody}`);
  expect(Buffer.compare(keptBody, body)).toBe(0);
}
