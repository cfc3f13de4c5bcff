/** Holds the rules of retrying: when a task is tried again, how long it waits, and when it is given up. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  backoffMs,
  decide,
  decideBeforeDelivery,
  defaultRetryPolicy,
  jitteredBackoffMs,
  type RetryPolicy,
  type Tried,
} from "../../src/core/retry.ts";
import { MAX_CRASHES } from "../../src/core/task.ts";
import type { Outcome } from "../../src/core/transport.ts";

const NOW_MS = 1_800_000_000_000;

const policies: fc.Arbitrary<RetryPolicy> = fc
  .record({
    maxAttempts: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 200 })),
    minBackoffMs: fc.integer({ min: 0, max: 3_600_000 }),
    moreMs: fc.integer({ min: 0, max: 86_400_000 }),
    maxDoublings: fc.integer({ min: 0, max: 40 }),
    maxDurationMs: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 86_400_000 })),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ moreMs, ...rest }) => ({ ...rest, maxBackoffMs: rest.minBackoffMs + moreMs }));

const retries = fc.integer({ min: 1, max: 5_000 });
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("backoff", () => {
  test("follows the example of Cloud Tasks' reference: 10, 20, 40, 80, 160, 240, 300, 300 s", () => {
    const policy = policyOf({ minBackoffMs: 10_000, maxBackoffMs: 300_000, maxDoublings: 3 });
    const seconds = [1, 2, 3, 4, 5, 6, 7, 8].map((k) => backoffMs(policy, k) / 1_000);
    expect(seconds).toEqual([10, 20, 40, 80, 160, 240, 300, 300]);
  });

  test("doubles maxDoublings times, then grows by the last step, up to the cap", () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 300 }), (policy, k) => {
        // Said as the reference says it, step by step, rather than as a closed formula.
        let interval = policy.minBackoffMs;
        const step = policy.minBackoffMs * 2 ** policy.maxDoublings;
        for (let retry = 2; retry <= k; retry++)
          interval += retry <= policy.maxDoublings + 1 ? interval : step;
        expect(backoffMs(policy, k)).toBe(Math.min(interval, policy.maxBackoffMs));
      }),
    );
  });

  test("never shrinks from one retry to the next, and never exceeds its maximum", () => {
    fc.assert(
      fc.property(policies, retries, (policy, k) => {
        expect(backoffMs(policy, k + 1)).toBeGreaterThanOrEqual(backoffMs(policy, k));
        expect(backoffMs(policy, k)).toBeLessThanOrEqual(policy.maxBackoffMs);
      }),
    );
  });

  test("stays within its maximum however often a task was tried and however often it may double", () => {
    const extremes = fc.constantFrom(1, 17, 1_024, 1_025, 1_100, 100_000, 2 ** 31);
    const doublings = fc.constantFrom(0, 16, 1_023, 1_024, 5_000, 2 ** 31);
    const backoffs = fc.constantFrom(0, 1, 100, 3_600_000);
    fc.assert(
      fc.property(extremes, doublings, backoffs, backoffs, (k, maxDoublings, a, b) => {
        const policy = policyOf({ maxDoublings, minBackoffMs: Math.min(a, b), maxBackoffMs: Math.max(a, b) });
        for (const delayMs of [backoffMs(policy, k), jitteredBackoffMs(policy, k, 0.5)]) {
          expect(delayMs).toBeGreaterThanOrEqual(0);
          expect(delayMs).toBeLessThanOrEqual(policy.maxBackoffMs);
        }
      }),
    );
  });

  test("with jitter is a whole number within the fraction, and never above the maximum", () => {
    fc.assert(
      fc.property(policies, retries, randoms, (policy, k, random) => {
        const base = backoffMs(policy, k);
        const varied = jitteredBackoffMs(policy, k, random);
        expect(Number.isInteger(varied)).toBe(true);
        expect(varied).toBeGreaterThanOrEqual(0);
        expect(varied).toBeLessThanOrEqual(policy.maxBackoffMs);
        // Rounding moves it by half a millisecond at most; the rest is the imprecision of large products.
        expect(Math.abs(varied - base)).toBeLessThanOrEqual(base * policy.jitter + 0.5 + 1e-6);
      }),
    );
  });

  test("with jitter spreads over the whole fraction, down and up, around the backoff", () => {
    const policy = policyOf({ minBackoffMs: 10_000, jitter: 0.2 });
    expect(jitteredBackoffMs(policy, 1, 0)).toBe(8_000);
    expect(jitteredBackoffMs(policy, 1, 0.5)).toBe(10_000);
    expect(jitteredBackoffMs(policy, 1, 0.999_999_999)).toBe(12_000);
  });

  test("without jitter is the backoff itself", () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 50 }), randoms, (policy, k, random) => {
        expect(jitteredBackoffMs({ ...policy, jitter: 0 }, k, random)).toBe(backoffMs(policy, k));
      }),
    );
  });

  test("of a task that says nothing: 6 attempts for 5 retries, 1 s doubling up to 1 h", () => {
    const policy = defaultRetryPolicy(5);
    expect(policy.maxAttempts).toBe(6);
    expect([1, 2, 3, 12, 13, 100].map((k) => backoffMs(policy, k))).toEqual([
      1_000, 2_000, 4_000, 2_048_000, 3_600_000, 3_600_000,
    ]);
    expect(defaultRetryPolicy(0).maxAttempts).toBe(1);
  });
});

describe("decide", () => {
  test("a delivery that arrived ends the task, whatever number it had", () => {
    fc.assert(
      fc.property(tries(), randoms, (tried, random) => {
        const outcome: Outcome = { kind: "delivered", status: 200, responseExcerpt: null };
        expect(decide(tried, outcome, NOW_MS, random)).toEqual({ kind: "succeeded" });
      }),
    );
  });

  test("a deferred delivery is released and never charged or given up", () => {
    fc.assert(
      fc.property(tries(), randoms, fc.nat(), (tried, random, afterMs) => {
        const verdict = decide(tried, { kind: "deferred", afterMs, reason: "breaker open" }, NOW_MS, random);
        expect(verdict).toEqual({ kind: "released", afterMs, reason: "breaker open" });
      }),
    );
  });

  test("a permanent failure is never retried", () => {
    fc.assert(
      fc.property(tries(), randoms, (tried, random) => {
        const verdict = decide(
          tried,
          failed({ permanent: true, error: "gone", retryAfterMs: 1_000 }),
          NOW_MS,
          random,
        );
        expect(verdict).toMatchObject({ kind: "dead" });
        expect("reason" in verdict && verdict.reason).toContain("gone");
      }),
    );
  });

  test("a status that the queue takes for final is never retried, whatever is left of attempts and time", () => {
    fc.assert(
      fc.property(tries(), randoms, (tried, random) => {
        const strict = { ...tried, permanentStatuses: [404, 410] };
        const gone = failed({ status: 410, error: "answered 410 Gone", retryAfterMs: 1_000 });
        expect(decide(strict, gone, NOW_MS, random)).toEqual({
          kind: "dead",
          reason: "answered 410, which its queue takes for final",
        });
        for (const outcome of [failed({ status: 500 }), failed({ status: null })]) {
          expect(decide(strict, outcome, NOW_MS, random)).toEqual(decide(tried, outcome, NOW_MS, random));
        }
      }),
    );
  });

  test("with limited attempts a task is dead exactly when they are used up and the duration, if any, has passed", () => {
    fc.assert(
      fc.property(tries(), randoms, (tried, random) => {
        const { maxAttempts, maxDurationMs } = tried.retry;
        fc.pre(maxAttempts !== -1);
        const used = tried.attempt >= maxAttempts;
        const passed = maxDurationMs === null || NOW_MS - tried.firstAttemptAtMs >= maxDurationMs;
        expect(decide(tried, failed({}), NOW_MS, random).kind).toBe(used && passed ? "dead" : "retry");
      }),
      { numRuns: 500 },
    );
  });

  test("the last attempt and the last instant of the duration are exact", () => {
    const retry = policyOf({ maxAttempts: 3, maxDurationMs: 10_000 });
    const kind = (attempt: number, ageMs: number) =>
      decide(triedOf({ attempt, firstAttemptAtMs: NOW_MS - ageMs, retry }), failed({}), NOW_MS, 0.5).kind;
    expect([kind(2, 10_000), kind(3, 9_999), kind(3, 10_000), kind(4, 9_999), kind(9, 20_000)]).toEqual([
      "retry",
      "retry",
      "dead",
      "retry",
      "dead",
    ]);
    expect(decide(triedOf({ retry: policyOf({ maxAttempts: 1 }) }), failed({}), NOW_MS, 0).kind).toBe("dead");
  });

  test("unlimited attempts are never used up, and a duration that runs is waited for", () => {
    fc.assert(
      fc.property(tries(), randoms, fc.boolean(), (tried, random, limited) => {
        const ageMs = NOW_MS - tried.firstAttemptAtMs;
        const retry = { ...tried.retry, maxAttempts: -1, maxDurationMs: limited ? ageMs + 1 : null };
        expect(decide({ ...tried, retry }, failed({}), NOW_MS, random).kind).toBe("retry");
      }),
    );
  });

  test("a dead task's reason tells the attempts and the last error", () => {
    const tried = triedOf({ attempt: 6, retry: defaultRetryPolicy(5) });
    const verdict = decide(tried, failed({ error: "answered 502" }), NOW_MS, 0.5);
    expect(verdict).toEqual({ kind: "dead", reason: "gave up after 6 attempts: answered 502" });
  });

  test("a retry waits for the backoff of its attempt, or longer where the target asked, at most the maximum", () => {
    fc.assert(
      fc.property(tries(), randoms, fc.oneof(fc.constant(null), fc.nat()), (tried, random, retryAfterMs) => {
        const verdict = decide(tried, failed({ error: "answered 503", retryAfterMs }), NOW_MS, random);
        fc.pre(verdict.kind === "retry");
        const own = jitteredBackoffMs(tried.retry, tried.attempt, random);
        expect(verdict.afterMs).toBe(Math.max(own, Math.min(retryAfterMs ?? 0, tried.retry.maxBackoffMs)));
        expect(verdict.afterMs).toBeLessThanOrEqual(tried.retry.maxBackoffMs);
        expect(verdict.reason).toBe("answered 503");
      }),
    );
  });

  test("a Retry-After is honoured where it is longer, ignored where it is shorter, and capped", () => {
    const tried = triedOf({ retry: policyOf({ minBackoffMs: 5_000, maxBackoffMs: 60_000 }) });
    const after = (retryAfterMs: number | null) => {
      const verdict = decide(tried, failed({ retryAfterMs }), NOW_MS, 0.5);
      return verdict.kind === "retry" ? verdict.afterMs : null;
    };
    expect([null, 0, 1_000, 30_000, 600_000].map(after)).toEqual([5_000, 5_000, 5_000, 30_000, 60_000]);
  });
});

describe("decideBeforeDelivery", () => {
  test("a task goes on until as many workers died with it as make it the cause, and is dead from then on", () => {
    for (let crashes = 0; crashes < MAX_CRASHES; crashes++) expect(decideBeforeDelivery(crashes)).toBeNull();
    for (const crashes of [MAX_CRASHES, MAX_CRASHES + 3]) {
      expect(decideBeforeDelivery(crashes)).toEqual({
        kind: "dead",
        reason: `${crashes} workers died while running it`,
      });
    }
  });
});

function triedOf(overrides: Partial<Tried>): Tried {
  return { attempt: 1, firstAttemptAtMs: NOW_MS, retry: policyOf({}), permanentStatuses: [], ...overrides };
}

function policyOf(overrides: Partial<RetryPolicy>): RetryPolicy {
  return { ...defaultRetryPolicy(5), jitter: 0, ...overrides };
}

function failed(overrides: Partial<Extract<Outcome, { kind: "failed" }>>): Outcome {
  return {
    kind: "failed",
    status: 500,
    error: "answered 500",
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: true,
    ...overrides,
  };
}

function tries(): fc.Arbitrary<Tried> {
  return fc
    .record({
      attempt: fc.integer({ min: 1, max: 300 }),
      ageMs: fc.integer({ min: 0, max: 172_800_000 }),
      retry: policies,
    })
    .map(({ attempt, ageMs, retry }) => triedOf({ attempt, firstAttemptAtMs: NOW_MS - ageMs, retry }));
}
