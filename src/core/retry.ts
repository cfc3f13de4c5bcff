/** When a task is tried again and when it is given up: all of that branching, in pure functions. */

import { MAX_CRASHES } from "./task.ts";
import type { Outcome } from "./transport.ts";

/** How often and how fast a task is retried. */
export interface RetryPolicy {
  /** Deliveries in all, the first included; -1 for no limit but maxDuration, where that is set. */
  readonly maxAttempts: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** How often the backoff doubles before it grows by a fixed step. */
  readonly maxDoublings: number;
  /** Keeps retrying at least this long after the first attempt, whatever maxAttempts says; null for no such time. */
  readonly maxDurationMs: number | null;
  /** Fraction of the backoff, 0 to 1, by which it is varied up or down. */
  readonly jitter: number;
}

/** What a task says of its own retries; what it leaves out is the worker's to fill in. */
export type RetryOverrides = { readonly [K in keyof RetryPolicy]?: RetryPolicy[K] };

/** The policy of a task that says nothing, where the worker allows `maxRetries` after the first attempt. */
export function defaultRetryPolicy(maxRetries: number): RetryPolicy {
  return {
    maxAttempts: maxRetries + 1,
    minBackoffMs: 1_000,
    maxBackoffMs: 3_600_000,
    maxDoublings: 16,
    maxDurationMs: null,
    jitter: 0.1,
  };
}

/**
 * The backoff before retry `k` (1-based) without jitter, in milliseconds.
 *
 * With m = minBackoff and d = maxDoublings: m·2^(k-1) while k <= d+1, later m·2^d·(k-d), never more than
 * maxBackoff. This is Google Cloud Tasks' rule (RetryConfig.max_doublings in its reference).
 */
export function backoffMs(policy: RetryPolicy, k: number): number {
  const { minBackoffMs: m, maxDoublings: d, maxBackoffMs } = policy;
  if (m === 0) return 0;
  const grown = k <= d + 1 ? m * 2 ** (k - 1) : m * 2 ** d * (k - d);
  return Math.min(grown, maxBackoffMs);
}

/** A backoff varied by ±jitter, a whole number of milliseconds, never more than maxBackoff. */
export function jitteredBackoffMs(policy: RetryPolicy, k: number, random: number): number {
  const base = backoffMs(policy, k);
  const varied = base * (1 + policy.jitter * (2 * random - 1));
  return Math.round(Math.min(varied, policy.maxBackoffMs));
}

/** What becomes of a task after a delivery. Delays count from the store's own time. */
export type Verdict =
  | { readonly kind: "succeeded" }
  | { readonly kind: "retry"; readonly afterMs: number; readonly reason: string }
  | { readonly kind: "dead"; readonly reason: string }
  /** Given back without being charged an attempt; not before `afterMs` have passed. */
  | { readonly kind: "released"; readonly afterMs: number; readonly reason: string };

/** What {@link decide} needs to know of the task that was delivered. */
export interface Tried {
  /** The number of the attempt that just ended, 1-based. */
  readonly attempt: number;
  /** Start of the first attempt, in milliseconds since the epoch. */
  readonly firstAttemptAtMs: number;
  readonly retry: RetryPolicy;
  /** Statuses that its queue takes for final: a failure with one of them is not repeated. */
  readonly permanentStatuses: readonly number[];
}

/**
 * What is decided of a task before it is delivered: dead when `crashes` workers have died with it and that is too
 * many, for it must be taken for the cause; null when it is to be delivered.
 */
export function decideBeforeDelivery(crashes: number): Verdict | null {
  if (crashes < MAX_CRASHES) return null;
  return { kind: "dead", reason: `${crashes} workers died while running it` };
}

/**
 * The one decision of what follows an outcome.
 *
 * A failure is retried until maxAttempts is used up and, where maxDuration is set, that has passed too.
 * `random` in [0, 1) drives the jitter. A `Retry-After` lengthens the backoff, at most to maxBackoff.
 */
export function decide(tried: Tried, outcome: Outcome, nowMs: number, random: number): Verdict {
  switch (outcome.kind) {
    case "delivered":
      return { kind: "succeeded" };
    case "deferred":
      return { kind: "released", afterMs: outcome.afterMs, reason: outcome.reason };
    case "failed":
      return decideFailure(tried, outcome, nowMs, random);
  }
}

function decideFailure(
  { attempt, firstAttemptAtMs, retry, permanentStatuses }: Tried,
  outcome: Extract<Outcome, { kind: "failed" }>,
  nowMs: number,
  random: number,
): Verdict {
  if (outcome.permanent) return { kind: "dead", reason: outcome.error };
  if (outcome.status !== null && permanentStatuses.includes(outcome.status)) {
    return { kind: "dead", reason: `answered ${outcome.status}, which its queue takes for final` };
  }
  const attemptsUsed = retry.maxAttempts === -1 ? retry.maxDurationMs !== null : attempt >= retry.maxAttempts;
  const durationUsed = retry.maxDurationMs === null || nowMs - firstAttemptAtMs >= retry.maxDurationMs;
  if (attemptsUsed && durationUsed) {
    return {
      kind: "dead",
      reason: `gave up after ${attempt} ${attempt === 1 ? "attempt" : "attempts"}: ${outcome.error}`,
    };
  }
  const backoff = jitteredBackoffMs(retry, attempt, random);
  const asked = Math.min(outcome.retryAfterMs ?? 0, retry.maxBackoffMs);
  return { kind: "retry", afterMs: Math.max(backoff, asked), reason: outcome.error };
}
