/** The one place where a delivery's end becomes a settlement: each reason for breaking off, with each outcome. */

import { describe, expect, test } from "bun:test";
import { defaultRetryPolicy } from "../../src/core/retry.ts";
import { MAX_CRASHES } from "../../src/core/task.ts";
import type { Outcome } from "../../src/core/transport.ts";
import { type BreakOff, Run } from "../../src/worker/run.ts";
import { settlementOf, undelivered } from "../../src/worker/settlement.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTarget } from "../support/tasks.ts";
import { claimed, rulesOf, STARTED_MS } from "./claimed.ts";

const JUDGE = {
  worker: "w",
  retry: defaultRetryPolicy(5),
  random: 0.5,
  nowMs: STARTED_MS + 250,
  newId: () => "next",
};
const CLOCK = new ManualClock(STARTED_MS);
const CALL = { target: newTarget(), timeoutMs: 1_000, allowedHosts: null };

function ended(why: BreakOff | null, outcome: Outcome, task = claimed()) {
  const run = new Run(task, CALL, CLOCK, CLOCK.monoMs());
  if (why !== null) run.breakOff(why);
  return settlementOf(run, outcome, JUDGE);
}

const DELIVERED: Outcome = { kind: "delivered", status: 200, responseExcerpt: "ok" };
const DEFERRED: Outcome = { kind: "deferred", afterMs: 5_000, reason: "breaker" };
const FAILED: Outcome = {
  kind: "failed",
  status: 500,
  error: "answered 500",
  responseExcerpt: "oops",
  permanent: false,
  retryAfterMs: null,
  hostAtFault: true,
};
const LEASE = { taskId: "task", fence: 7 };

describe("settlementOf", () => {
  test("a delivered task succeeds, with the attempt's number, start, duration and worker", () => {
    expect(ended(null, DELIVERED)).toEqual({
      lease: LEASE,
      verdict: { kind: "succeeded" },
      attempt: {
        number: 2,
        startedAtMs: STARTED_MS,
        durationMs: 250,
        status: 200,
        error: null,
        responseExcerpt: "ok",
        worker: "w",
      },
    });
  });

  test("a failed one is retried by the worker's policy, and by its own where it has one", () => {
    expect(ended(null, FAILED)?.verdict).toMatchObject({ kind: "retry", afterMs: 2_000 });
    const own = claimed({ retry: { minBackoffMs: 10, jitter: 0 } });
    expect(ended(null, FAILED, own)?.verdict).toMatchObject({ kind: "retry", afterMs: 20 });
    expect(ended(null, FAILED, claimed({ retry: { maxAttempts: 2 } }))?.verdict.kind).toBe("dead");
  });

  test("the queue's retry rules stand between the worker's and the task's own", () => {
    const rules = rulesOf({ retry: { minBackoffMs: 100, maxAttempts: 2, jitter: 0 } });
    expect(ended(null, FAILED, claimed({ rules }))?.verdict.kind).toBe("dead");
    const own = claimed({ rules, retry: { maxAttempts: 3 } });
    expect(ended(null, FAILED, own)?.verdict).toMatchObject({ kind: "retry", afterMs: 200 });
  });

  test("a failure with a status that the queue takes for final is the task's end, with its attempt charged", () => {
    const rules = rulesOf({ permanentStatuses: [410] });
    const gone: Outcome = { ...FAILED, status: 410, error: "answered 410 Gone", hostAtFault: false };
    expect(ended(null, gone, claimed({ rules }))).toMatchObject({
      verdict: { kind: "dead", reason: "answered 410, which its queue takes for final" },
      attempt: { number: 2, status: 410 },
    });
    expect(ended(null, gone, claimed({ rules: rulesOf() }))?.verdict.kind).toBe("retry");
  });

  test("a task's first attempt counts for its maximal duration when none was charged before", () => {
    const retry = { maxAttempts: 1, maxDurationMs: 300 };
    expect(ended(null, FAILED, claimed({ retry }))?.verdict.kind).toBe("retry");
    const before = claimed({ retry, firstAttemptAtMs: STARTED_MS - 100 });
    expect(ended(null, FAILED, before)?.verdict.kind).toBe("dead");
  });

  test("a deferred one is released uncharged until its time", () => {
    expect(ended(null, DEFERRED)).toEqual({
      lease: LEASE,
      verdict: { kind: "released", afterMs: 5_000, reason: "breaker" },
      attempt: null,
      cause: "other",
    });
  });

  for (const why of ["stopped", "expired"] as const) {
    test(`one broken off as ${why} is released at once uncharged, whatever the transport made of its abort`, () => {
      for (const outcome of [DEFERRED, FAILED]) {
        expect(ended(why, outcome)).toMatchObject({
          verdict: { kind: "released", afterMs: 0 },
          attempt: null,
          cause: why === "stopped" ? "stopped" : "lease",
        });
      }
    });
  }

  test("one that came through while it was broken off has succeeded", () => {
    for (const why of ["stopped", "expired", "cancelled", "overdue"] as const) {
      expect(ended(why, DELIVERED)).toMatchObject({
        verdict: { kind: "succeeded" },
        attempt: { status: 200 },
      });
    }
  });

  test("one whose lease was lost is not settled at all", () => {
    for (const outcome of [DELIVERED, DEFERRED, FAILED]) expect(ended("lost", outcome)).toBeNull();
  });

  test("a cancelled one leaves its attempt on record as cancelled", () => {
    expect(ended("cancelled", DEFERRED)?.attempt).toMatchObject({
      number: 2,
      error: "cancelled",
      status: null,
    });
  });

  test("one whose transport overran its timeout is a charged failure", () => {
    const settlement = ended("overdue", DEFERRED);
    expect(settlement?.verdict.kind).toBe("retry");
    expect(settlement?.attempt?.error).toContain("1000 ms");
  });

  const LAST = claimed({
    retry: { maxAttempts: 2 },
    rules: rulesOf({ deadTarget: { kind: "queue", queue: "dead-letters" } }),
  });

  test("a death carries the task that its queue wants to follow it, and nothing but a death does", () => {
    expect(ended(null, FAILED, LAST)?.followUps).toMatchObject([{ id: "next", queue: "dead-letters" }]);
    expect(ended("overdue", DEFERRED, LAST)?.followUps).toHaveLength(1);
    expect(ended(null, { ...FAILED, permanent: true }, LAST)?.followUps).toHaveLength(1);
    expect(ended(null, FAILED, { ...LAST, attempt: 1 })).not.toHaveProperty("followUps");
    for (const outcome of [DELIVERED, DEFERRED]) {
      expect(ended(null, outcome, LAST)).not.toHaveProperty("followUps");
    }
  });

  test("a cancelled task is not followed: nobody gave up on it", () => {
    const reported = { ...LAST, callbackUrl: "http://127.0.0.1:9/done" };
    expect(ended("cancelled", FAILED, reported)).not.toHaveProperty("followUps");
  });

  test("an end carries the report that the task asks for, and a run that is to be repeated none", () => {
    const callbackUrl = "http://127.0.0.1:9/done";
    const reported = claimed({ callbackUrl });
    expect(ended(null, DELIVERED, reported)?.followUps).toMatchObject([{ target: { url: callbackUrl } }]);
    expect(ended(null, FAILED, reported)).not.toHaveProperty("followUps");
    expect(ended(null, { ...FAILED, permanent: true }, reported)?.followUps).toHaveLength(1);
    expect(ended(null, { ...FAILED, permanent: true }, { ...LAST, callbackUrl })?.followUps).toHaveLength(2);
    for (const why of ["stopped", "expired", "lost"] as const) {
      expect(ended(why, FAILED, reported)?.followUps).toBeUndefined();
    }
  });

  test("a clock that was set back gives no negative duration", () => {
    const run = new Run(claimed(), CALL, CLOCK, CLOCK.monoMs());
    expect(settlementOf(run, DELIVERED, { ...JUDGE, nowMs: STARTED_MS - 60_000 })?.attempt?.durationMs).toBe(
      0,
    );
  });
});

describe("undelivered", () => {
  const before = (task = claimed()) => undelivered(new Run(task, CALL, CLOCK, CLOCK.monoMs()), JUDGE);

  test("a task that has brought down too many workers dies without an attempt, others are delivered", () => {
    expect(before(claimed({ crashes: MAX_CRASHES - 1 }))).toBeNull();
    expect(before(claimed({ crashes: MAX_CRASHES }))).toEqual({
      lease: LEASE,
      verdict: { kind: "dead", reason: `${MAX_CRASHES} workers died while running it` },
      attempt: null,
      cause: "crashes",
    });
  });

  test("its queue's dead target hears of it", () => {
    const rules = rulesOf({ deadTarget: { kind: "queue", queue: "dead-letters" } });
    expect(before(claimed({ crashes: MAX_CRASHES, rules }))?.followUps).toMatchObject([
      {
        queue: "dead-letters",
        metadata: {
          "task-runner.dead_task_id": "task",
          "task-runner.dead_reason": "5 workers died while running it",
        },
      },
    ]);
  });
});

describe("a run", () => {
  test("aborts its delivery once, for the first reason given", () => {
    const run = new Run(claimed(), CALL, CLOCK, CLOCK.monoMs());
    expect(run.breakOff("cancelled")).toBe(true);
    expect(run.signal.aborted).toBe(true);
    expect(run.breakOff("stopped")).toBe(false);
    expect(run.brokenOff).toBe("cancelled");
  });

  test("that has ended is not broken off any more", () => {
    const run = new Run(claimed(), CALL, CLOCK, CLOCK.monoMs());
    run.ended = true;
    expect(run.breakOff("lost")).toBe(false);
    expect(run.signal.aborted).toBe(false);
  });
});
