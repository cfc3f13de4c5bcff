/** The task that follows a dead one: whether there is one, and what it carries. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DeadTarget } from "../../src/core/queue.ts";
import type { ClaimedTask } from "../../src/core/store.ts";
import type { Attempt } from "../../src/core/task.ts";
import { followUpOf } from "../../src/worker/dead-target.ts";
import { newTarget } from "../support/tasks.ts";
import { claimed, rulesOf, STARTED_MS } from "./claimed.ts";

const NOW_MS = STARTED_MS + 5_000;
const TO_QUEUE: DeadTarget = { kind: "queue", queue: "dead-letters" };
const TO_URL: DeadTarget = { kind: "callback", url: "https://example.com/dead" };
const ATTEMPT: Attempt = {
  number: 3,
  startedAtMs: STARTED_MS,
  durationMs: 250,
  status: 502,
  error: "answered 502",
  responseExcerpt: "oops",
  worker: "w",
};

function followUp(
  deadTarget: DeadTarget | null,
  overrides: Partial<ClaimedTask> = {},
  reason = "gave up",
  attempt: Attempt | null = ATTEMPT,
) {
  const task = claimed({ queue: "orders", rules: rulesOf({ deadTarget }), ...overrides });
  return followUpOf({ task, reason, attempt }, (nowMs) => `id-of-${nowMs}`, NOW_MS);
}

describe("a copy in another queue", () => {
  test("has the dead task's target, timeout, retries, client and priority, and no name, key or time of its own", () => {
    const own = {
      clientId: "shop",
      priority: "high",
      target: newTarget({ url: "http://own/", headers: { a: "1" }, body: "payload" }),
      timeoutMs: 9_000,
      retry: { maxAttempts: 2 },
      traceparent: "00-0123-4567-01",
    } as const;
    const rules = rulesOf({ deadTarget: TO_QUEUE, target: { url: "http://other/" }, timeoutMs: 1 });
    expect(followUp(TO_QUEUE, { ...own, metadata: { order: "17" }, rules })).toEqual({
      ...own,
      id: `id-of-${NOW_MS}`,
      queue: "dead-letters",
      clientRevision: null,
      scheduledAtMs: null,
      name: null,
      idempotencyKey: null,
      orderingKey: null,
      retentionMs: null,
      callbackUrl: null,
      failureCallbackUrl: null,
      metadata: { order: "17", dead_task_id: "task", dead_queue: "orders", dead_reason: "gave up" },
    });
  });

  test("tells the reason in 200 characters, without half a surrogate pair", () => {
    const reasonOf = (reason: string) => followUp(TO_QUEUE, {}, reason)?.metadata.dead_reason ?? "";
    expect(reasonOf("x".repeat(500))).toBe("x".repeat(200));
    const cut = reasonOf(`${"x".repeat(199)}🙂`);
    expect(cut.length).toBeLessThanOrEqual(200);
    expect(cut.isWellFormed()).toBe(true);
  });

  test("keeps to the bounds of metadata: the marks always fit, and of the rest the first entries", () => {
    const names = fc.string({ minLength: 1, maxLength: 30 }).filter((name) => name !== "__proto__");
    const metadatas = fc
      .uniqueArray(fc.tuple(names, fc.string({ maxLength: 400 })), {
        maxLength: 64,
        selector: ([name]) => name,
      })
      .map((entries) => Object.fromEntries(entries));
    fc.assert(
      fc.property(metadatas, fc.string({ maxLength: 300 }), (metadata, reason) => {
        fc.pre(!Object.hasOwn(metadata, "dead_task_id"));
        const kept = followUp(TO_QUEUE, { metadata }, reason)?.metadata ?? {};
        expect(kept).toMatchObject({ dead_task_id: "task", dead_queue: "orders" });
        const entries = Object.entries(kept);
        expect(entries.length).toBeLessThanOrEqual(64);
        expect(charsOf(entries)).toBeLessThanOrEqual(4_096);
        const marks = new Set(["dead_task_id", "dead_queue", "dead_reason"]);
        const own = Object.keys(metadata).filter((name) => !marks.has(name));
        const keptOwn = own.filter((name) => Object.hasOwn(kept, name));
        expect(keptOwn).toEqual(own.slice(0, keptOwn.length));
        for (const name of keptOwn) expect(kept[name]).toBe(metadata[name] ?? "");
        // No more was dropped than had to be.
        const next = own[keptOwn.length];
        if (next !== undefined && entries.length < 64) {
          expect(charsOf(entries) + charsOf([[next, metadata[next] ?? ""]])).toBeGreaterThan(4_096);
        }
      }),
    );
  });

  test("drops the last entries where sixty-four are there already", () => {
    const metadata = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`key-${i}`, "v"]));
    const kept = followUp(TO_QUEUE, { metadata })?.metadata ?? {};
    expect(Object.keys(kept)).toHaveLength(64);
    expect(kept["key-60"]).toBe("v");
    expect(kept["key-61"]).toBeUndefined();
    expect(kept.dead_task_id).toBe("task");
  });
});

describe("a report to a URL", () => {
  test("is a POST of JSON in the default queue that tells what died, why and of what", () => {
    const report = followUp(TO_URL, {
      clientId: "shop",
      priority: "low",
      attempt: 3,
      metadata: { order: "17" },
    });
    expect(report).toMatchObject({
      id: `id-of-${NOW_MS}`,
      queue: "default",
      clientId: "shop",
      priority: "low",
      target: {
        url: "https://example.com/dead",
        method: "POST",
        headers: { "content-type": "application/json" },
      },
      timeoutMs: null,
      retry: {},
      orderingKey: null,
      metadata: { dead_task_id: "task" },
    });
    expect(JSON.parse(String(report?.target.body))).toEqual({
      event: "task.dead",
      task_id: "task",
      queue: "orders",
      client_id: "shop",
      reason: "gave up",
      attempts: 3,
      last_attempt: {
        status: 502,
        error: "answered 502",
        duration_ms: 250,
        started_at: "2023-11-14T22:13:20.000Z",
      },
      metadata: { order: "17" },
    });
  });

  test("of a task that died without a delivery counts only the attempts that were made", () => {
    const report = followUp(TO_URL, { attempt: 3, crashes: 5 }, "5 workers died while running it", null);
    expect(JSON.parse(String(report?.target.body))).toMatchObject({ attempts: 2, last_attempt: null });
  });
});

describe("nothing follows", () => {
  test("where no rule asks for it", () => {
    expect(followUp(null)).toBeNull();
    expect(followUp(TO_QUEUE, { rules: null })).toBeNull();
  });

  test("a task in the queue that its own queue names, for it would come back for ever", () => {
    expect(followUp({ kind: "queue", queue: "orders" })).toBeNull();
  });

  test("a task that itself follows a dead one: two queues that name each other make no loop", () => {
    for (const deadTarget of [TO_QUEUE, TO_URL]) {
      const metadata = followUp(deadTarget)?.metadata ?? {};
      for (const next of [TO_QUEUE, TO_URL]) expect(followUp(next, { metadata })).toBeNull();
    }
  });
});

function charsOf(entries: readonly (readonly [string, string])[]): number {
  return entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
}
