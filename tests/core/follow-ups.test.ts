/** The tasks that follow one that ended: whether there are any, and what they carry. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { followUpsOf, isReport, reportTo } from "../../src/core/follow-ups.ts";
import type { DeadTarget } from "../../src/core/queue.ts";
import type { ClaimedTask } from "../../src/core/store.ts";
import type { Attempt, NewTask } from "../../src/core/task.ts";
import { newTarget } from "../support/tasks.ts";
import { claimed, rulesOf, STARTED_MS } from "../worker/claimed.ts";

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

/** What follows a task that died, in a queue with this dead target. */
function followUps(
  deadTarget: DeadTarget | null,
  overrides: Partial<ClaimedTask> = {},
  reason = "gave up",
  attempt: Attempt | null = ATTEMPT,
): readonly NewTask[] {
  const task = claimed({ queue: "orders", rules: rulesOf({ deadTarget }), ...overrides });
  return followUpsOf({ task, state: "dead", reason, attempt, atMs: NOW_MS }, (nowMs) => `id-of-${nowMs}`);
}

/** The one task that follows. */
function followUp(...given: Parameters<typeof followUps>): NewTask | undefined {
  const all = followUps(...given);
  expect(all.length).toBeLessThanOrEqual(1);
  return all[0];
}

/** What follows a task that succeeded. */
function afterSuccess(overrides: Partial<ClaimedTask>): readonly NewTask[] {
  const rules = rulesOf({ deadTarget: TO_QUEUE });
  const task = claimed({ queue: "orders", rules, ...overrides });
  const attempt = { ...ATTEMPT, status: 200, error: null };
  return followUpsOf({ task, state: "succeeded", reason: null, attempt, atMs: NOW_MS }, () => "next");
}

const urls = (tasks: readonly NewTask[]) => tasks.map(({ target }) => target.url);
const CALLBACKS = {
  callbackUrl: "https://example.com/done",
  failureCallbackUrl: "https://example.com/failed",
};

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
      metadata: {
        order: "17",
        "task-runner.dead_task_id": "task",
        "task-runner.dead_queue": "orders",
        "task-runner.dead_reason": "gave up",
      },
    });
  });

  test("tells the reason in 200 characters, without half a surrogate pair", () => {
    const reasonOf = (reason: string) =>
      followUp(TO_QUEUE, {}, reason)?.metadata["task-runner.dead_reason"] ?? "";
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
        fc.pre(!Object.keys(metadata).some((name) => name.startsWith("task-runner.")));
        const kept = followUp(TO_QUEUE, { metadata }, reason)?.metadata ?? {};
        expect(kept).toMatchObject({
          "task-runner.dead_task_id": "task",
          "task-runner.dead_queue": "orders",
        });
        const entries = Object.entries(kept);
        expect(entries.length).toBeLessThanOrEqual(64);
        expect(charsOf(entries)).toBeLessThanOrEqual(4_096);
        const own = Object.keys(metadata);
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
    expect(kept["task-runner.dead_task_id"]).toBe("task");
  });
});

describe("a report to a URL", () => {
  test("is a POST of JSON in a queue of its own that tells what ended, how and of what", () => {
    const report = followUp(TO_URL, {
      clientId: "shop",
      priority: "low",
      attempt: 3,
      metadata: { order: "17" },
    });
    expect(report).toMatchObject({
      id: `id-of-${NOW_MS}`,
      queue: "callbacks",
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
      metadata: { "task-runner.report_of": "task", "task-runner.report_to": "dead_target" },
    });
    expect(JSON.parse(String(report?.target.body))).toEqual({
      event: "task.dead",
      task_id: "task",
      queue: "orders",
      client_id: "shop",
      state: "dead",
      reason: "gave up",
      attempts: 3,
      last_attempt: {
        number: 3,
        status: 502,
        error: "answered 502",
        duration_ms: 250,
        started_at: "2023-11-14T22:13:20.000Z",
        response_excerpt: "oops",
      },
      metadata: { order: "17" },
      finished_at: "2023-11-14T22:13:25.000Z",
    });
  });

  test("of a task that died without a delivery counts only the attempts that were made", () => {
    const report = followUp(TO_URL, { attempt: 3, crashes: 5 }, "5 workers died while running it", null);
    expect(JSON.parse(String(report?.target.body))).toMatchObject({ attempts: 2, last_attempt: null });
  });
});

describe("a task's own callbacks", () => {
  test("hear of a success at callback_url, with the outcome", () => {
    const [report, ...others] = afterSuccess({ ...CALLBACKS, metadata: { order: "17" } });
    expect(others).toEqual([]);
    expect(report?.target.url).toBe(CALLBACKS.callbackUrl);
    expect(report?.metadata).toEqual({
      "task-runner.report_of": "task",
      "task-runner.report_to": "callback_url",
    });
    expect(JSON.parse(String(report?.target.body))).toMatchObject({
      event: "task.succeeded",
      state: "succeeded",
      reason: null,
      last_attempt: { number: 3, status: 200, error: null, response_excerpt: "oops" },
      metadata: { order: "17" },
    });
  });

  test("hear of a death at failure_callback_url, and where there is none at callback_url", () => {
    expect(urls(followUps(null, CALLBACKS))).toEqual([CALLBACKS.failureCallbackUrl]);
    const { callbackUrl, failureCallbackUrl } = CALLBACKS;
    expect(urls(followUps(null, { callbackUrl }))).toEqual([callbackUrl]);
    expect(urls(followUps(null, { failureCallbackUrl, rules: null }))).toEqual([failureCallbackUrl]);
    expect(reportTo(followUps(null, CALLBACKS)[0]?.metadata ?? {})).toBe("failure_callback_url");
  });

  test("that are only for failures hear nothing of a success, and a dead target nothing either", () => {
    expect(afterSuccess({ failureCallbackUrl: CALLBACKS.failureCallbackUrl })).toEqual([]);
    expect(afterSuccess({})).toEqual([]);
  });

  test("come beside what the queue's dead target gets, which takes no callbacks along", () => {
    const [copy, report, ...others] = followUps(TO_QUEUE, CALLBACKS);
    expect(others).toEqual([]);
    expect(copy).toMatchObject({ queue: "dead-letters", callbackUrl: null, failureCallbackUrl: null });
    expect(report).toMatchObject({ queue: "callbacks", target: { url: CALLBACKS.failureCallbackUrl } });
    expect(urls(followUps(TO_URL, CALLBACKS))).toEqual([
      "https://example.com/dead",
      CALLBACKS.failureCallbackUrl,
    ]);
  });
});

describe("nothing follows", () => {
  test("where nobody asks for it", () => {
    expect(followUps(null)).toEqual([]);
    expect(followUps(TO_QUEUE, { rules: null })).toEqual([]);
  });

  test("a task in the queue that its own queue names, for it would come back for ever", () => {
    expect(followUps({ kind: "queue", queue: "orders" })).toEqual([]);
  });

  test("a copy into another queue: two queues that name each other make no loop", () => {
    const metadata = followUp(TO_QUEUE)?.metadata ?? {};
    expect(isReport(metadata)).toBe(false);
    for (const next of [TO_QUEUE, TO_URL]) expect(followUps(next, { metadata })).toEqual([]);
  });

  test("a report, whatever the queue of reports asks for and however the report ended", () => {
    for (const [report] of [followUps(TO_URL), followUps(null, CALLBACKS), afterSuccess(CALLBACKS)]) {
      const { metadata = {} } = report ?? {};
      expect(isReport(metadata)).toBe(true);
      for (const next of [TO_QUEUE, TO_URL]) expect(followUps(next, { metadata, ...CALLBACKS })).toEqual([]);
      expect(afterSuccess({ metadata, ...CALLBACKS })).toEqual([]);
    }
  });
});

function charsOf(entries: readonly (readonly [string, string])[]): number {
  return entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
}
