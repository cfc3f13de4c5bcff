/** What an end or a failure must bring, worked out apart from the program: backoffs, and the tasks that follow. */

import type { ClaimedTask, Settlement } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";

/** Half a millisecond of rounding, and what a fraction loses. */
const ROUNDING_MS = 1;

/** What is wrong with a retry or a death after a delivery that failed; null when it is as the task's policy has it. */
export function problemOfFailure(
  claimed: ClaimedTask,
  { verdict, attempt }: Settlement,
  outcome: {
    readonly permanent: boolean;
    readonly retryAfterMs: number | null;
    readonly status: number | null;
  },
  maxRetries: number,
): string | null {
  const own = { ...claimed.rules?.retry, ...claimed.retry };
  const maxAttempts = own.maxAttempts ?? maxRetries + 1;
  const isPermanent =
    outcome.permanent || (claimed.rules?.permanentStatuses ?? []).includes(outcome.status ?? 0);
  const isUsedUp = maxAttempts !== -1 && claimed.attempt >= maxAttempts;
  if (attempt === null) return "a failed delivery was not charged";
  if (verdict.kind === "dead")
    return isPermanent || isUsedUp ? null : `given up after ${claimed.attempt} of ${maxAttempts} attempts`;
  if (verdict.kind !== "retry") return `a failed delivery came to ${verdict.kind}`;
  if (isPermanent) return "a permanent failure is retried";
  if (isUsedUp) return `retried after ${claimed.attempt} of ${maxAttempts} attempts`;
  const maxMs = own.maxBackoffMs ?? 3_600_000;
  const jitter = own.jitter ?? 0.1;
  let baseMs = own.minBackoffMs ?? 1_000;
  const step = baseMs * 2 ** (own.maxDoublings ?? 16);
  for (let k = 2; k <= claimed.attempt; k++)
    baseMs = k - 1 <= (own.maxDoublings ?? 16) ? baseMs * 2 : baseMs + step;
  baseMs = Math.min(baseMs, maxMs);
  const askedMs = Math.min(outcome.retryAfterMs ?? 0, maxMs);
  const leastMs = Math.max(baseMs * (1 - jitter), askedMs) - ROUNDING_MS;
  const mostMs = Math.max(Math.min(baseMs * (1 + jitter), maxMs), askedMs) + ROUNDING_MS;
  if (verdict.afterMs >= leastMs && verdict.afterMs <= mostMs) return null;
  return `retried after ${verdict.afterMs} ms, not ${Math.round(leastMs)} to ${Math.round(mostMs)}`;
}

/** Where the tasks that follow an end have to go: a URL, or a queue. */
export function followersOf(claimed: ClaimedTask, kind: "succeeded" | "dead"): readonly string[] {
  const names = Object.keys(claimed.metadata);
  if (names.some((name) => name.endsWith("report_of"))) return [];
  const expected: string[] = [];
  const target = claimed.rules?.deadTarget ?? null;
  if (kind === "dead" && target !== null && !names.some((name) => name.endsWith("dead_task_id"))) {
    if (target.kind === "callback") expected.push(target.url);
    else if (target.queue !== claimed.queue) expected.push(target.queue);
  }
  const report = kind === "dead" ? (claimed.failureCallbackUrl ?? claimed.callbackUrl) : claimed.callbackUrl;
  if (report !== null) expected.push(report);
  return expected;
}

/** What is wrong with the tasks that a settlement brings. */
export function problemOfFollowers(claimed: ClaimedTask, settlement: Settlement): string | null {
  const { verdict, followUps = [] } = settlement;
  const isEnd = verdict.kind === "succeeded" || verdict.kind === "dead";
  const expected = isEnd ? followersOf(claimed, verdict.kind) : [];
  const goesTo = ({ queue, target }: NewTask, place: string) => queue === place || target.url === place;
  const fits =
    followUps.length === expected.length &&
    expected.every((place) => followUps.some((task) => goesTo(task, place)));
  return fits ? null : `${followUps.length} tasks follow and not ${expected.length} (${expected.join(", ")})`;
}
