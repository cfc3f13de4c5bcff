/** From how a run of a task went to the settlement that ends its lease: the one way, for workers and for consumers. */

import { followUpsOf } from "./follow-ups.ts";
import { decide, decideBeforeDelivery, type RetryPolicy, type Verdict } from "./retry.ts";
import type { ClaimedTask, Settlement } from "./store.ts";
import type { Attempt } from "./task.ts";
import type { Outcome, ReleaseCause } from "./transport.ts";

/** What judging takes besides the run and its outcome. */
export interface Judge {
  /** Who ran it; kept with the attempt. */
  readonly worker: string;
  /** Of a task that says nothing of its retries, in a queue that does not either. */
  readonly retry: RetryPolicy;
  /** In [0, 1); drives the jitter of a retry. */
  readonly random: number;
  readonly nowMs: number;
  /** Ids of the tasks that follow one that ended. */
  readonly newId: (nowMs: number) => string;
}

/** A task that was run, and since when. */
export interface Ran {
  readonly task: ClaimedTask;
  readonly startedAtMs: number;
}

const NO_STATUSES: readonly number[] = [];

/** The settlement of a claimed task that must not be run any more; null when it is to be. */
export function settlementBefore(task: ClaimedTask, judge: Judge): Settlement | null {
  const verdict = decideBeforeDelivery(task.crashes);
  return verdict === null ? null : { ...settled(task, verdict, null, judge), cause: "crashes" };
}

/** The settlement of a run that came to an outcome. */
export function settlementAfter(ran: Ran, outcome: Outcome, judge: Judge): Settlement {
  const { task, startedAtMs } = ran;
  const verdict = decide(
    {
      attempt: task.attempt,
      firstAttemptAtMs: task.firstAttemptAtMs ?? startedAtMs,
      // Only a failure asks for the policy, so that a success does not pay for putting it together.
      retry: outcome.kind === "failed" ? retryOf(task, judge.retry) : judge.retry,
      permanentStatuses: task.rules?.permanentStatuses ?? NO_STATUSES,
    },
    outcome,
    judge.nowMs,
    judge.random,
  );
  switch (outcome.kind) {
    case "delivered": {
      const { status, responseExcerpt } = outcome;
      return settled(task, verdict, attemptOf(ran, judge, { status, error: null, responseExcerpt }), judge);
    }
    case "failed": {
      const { cause } = outcome;
      const settlement = settled(task, verdict, attemptOf(ran, judge, outcome), judge);
      return cause === undefined ? settlement : { ...settlement, cause };
    }
    case "deferred":
      return { ...settled(task, verdict, null, judge), cause: outcome.cause ?? "other" };
  }
}

/** The settlement that gives a task back at once, uncharged. */
export function released(
  { id, fence }: Pick<ClaimedTask, "id" | "fence">,
  reason: string,
  cause: ReleaseCause,
): Settlement {
  return {
    lease: { taskId: id, fence },
    verdict: { kind: "released", afterMs: 0, reason },
    attempt: null,
    cause,
  };
}

/** The policy of a task: what it says itself, else its queue, else whoever runs it. */
export function retryOf({ retry, rules }: ClaimedTask, own: RetryPolicy): RetryPolicy {
  return { ...own, ...rules?.retry, ...retry };
}

/** The record of a run. */
export function attemptOf(
  { task, startedAtMs }: Ran,
  { worker, nowMs }: Judge,
  { status, error, responseExcerpt }: Pick<Attempt, "status" | "error" | "responseExcerpt">,
): Attempt {
  return {
    number: task.attempt,
    startedAtMs,
    // A clock that was set back must not give a negative duration.
    durationMs: Math.max(0, nowMs - startedAtMs),
    status,
    error,
    responseExcerpt,
    worker,
  };
}

/** The one way to a settlement that may be a task's end, so that nobody who asked to hear of it is forgotten. */
function settled(task: ClaimedTask, verdict: Verdict, attempt: Attempt | null, judge: Judge): Settlement {
  const settlement = { lease: { taskId: task.id, fence: task.fence }, verdict, attempt };
  if (verdict.kind !== "succeeded" && verdict.kind !== "dead") return settlement;
  if (!mayHaveFollowUps(task)) return settlement;
  const reason = verdict.kind === "dead" ? verdict.reason : null;
  const end = { task, state: verdict.kind, reason, attempt, atMs: judge.nowMs };
  const followUps = followUpsOf(end, judge.newId);
  return followUps.length === 0 ? settlement : { ...settlement, followUps };
}

/** Most tasks ask for nothing, and so pay nothing. */
function mayHaveFollowUps({ callbackUrl, failureCallbackUrl, rules }: ClaimedTask): boolean {
  return callbackUrl !== null || failureCallbackUrl !== null || (rules !== null && rules.deadTarget !== null);
}
