/** What a delivery's end means for its task: the one place where outcomes and break-offs become settlements. */

import { decide, decideBeforeDelivery, type RetryPolicy, type Verdict } from "../core/retry.ts";
import type { Settlement } from "../core/store.ts";
import type { Attempt } from "../core/task.ts";
import type { Outcome } from "../core/transport.ts";
import { followUpOf } from "./dead-target.ts";
import { retryOf } from "./rules.ts";
import type { Run } from "./run.ts";

/** What judging takes besides the run and its outcome. */
export interface Judge {
  readonly workerId: string;
  /** Of a task that says nothing of its retries, in a queue that does not either. */
  readonly retry: RetryPolicy;
  /** In [0, 1); drives the jitter of a retry. */
  readonly random: number;
  readonly nowMs: number;
  /** Ids of the tasks that follow a dead one. */
  readonly newId: (nowMs: number) => string;
}

const NO_STATUSES: readonly number[] = [];

/** The settlement of a run that must not be delivered any more; null when it is to be. */
export function undelivered(run: Run, judge: Judge): Settlement | null {
  const verdict = decideBeforeDelivery(run.task.crashes);
  return verdict === null ? null : settled(run, verdict, null, judge);
}

/**
 * The settlement of a run, or null where the lease is no longer ours and nothing is to be told.
 *
 * A delivery that came through counts as such even when it was being broken off: the target has the task.
 * Otherwise the reason of the break-off decides, whatever the transport made of its abort.
 */
export function settlementOf(run: Run, outcome: Outcome, judge: Judge): Settlement | null {
  if (run.brokenOff === "lost") return null;
  if (outcome.kind === "delivered") return judged(run, outcome, judge);
  switch (run.brokenOff) {
    case null:
      return judged(run, outcome, judge);
    case "stopped":
      return released(run, "worker stopped");
    // Whether another worker has it by now only the store knows: a stale release changes nothing, and a
    // timely one spares the task a counted crash.
    case "expired":
      return released(run, "the lease ran out because the store could not be reached");
    // The store has already ended the task and only takes the attempt on record: the verdict has no effect.
    case "cancelled":
      return {
        lease: run.lease,
        verdict: { kind: "dead", reason: "cancelled" },
        attempt: attemptOf(run, judge, { status: null, error: "cancelled", responseExcerpt: null }),
      };
    case "overdue":
      return judged(run, overdue(run.timeoutMs), judge);
  }
}

/** The settlement that gives a task back at once, uncharged. */
export function released(run: Run, reason: string): Settlement {
  return { lease: run.lease, verdict: { kind: "released", afterMs: 0, reason }, attempt: null };
}

function judged(run: Run, outcome: Outcome, judge: Judge): Settlement {
  const { task } = run;
  const verdict = decide(
    {
      attempt: task.attempt,
      firstAttemptAtMs: task.firstAttemptAtMs ?? run.startedAtMs,
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
      return settled(run, verdict, attemptOf(run, judge, { status, error: null, responseExcerpt }), judge);
    }
    case "failed":
      return settled(run, verdict, attemptOf(run, judge, outcome), judge);
    case "deferred":
      return settled(run, verdict, null, judge);
  }
}

/** The one way to a settlement that may be a task's death, so that its queue hears of every one. */
function settled(run: Run, verdict: Verdict, attempt: Attempt | null, judge: Judge): Settlement {
  const { task, lease } = run;
  if (verdict.kind !== "dead") return { lease, verdict, attempt };
  const followUp = followUpOf({ task, reason: verdict.reason, attempt }, judge.newId, judge.nowMs);
  return followUp === null ? { lease, verdict, attempt } : { lease, verdict, attempt, followUps: [followUp] };
}

function attemptOf(
  run: Run,
  judge: Judge,
  answer: Pick<Attempt, "status" | "error" | "responseExcerpt">,
): Attempt {
  return {
    number: run.task.attempt,
    startedAtMs: run.startedAtMs,
    // A clock that was set back must not give a negative duration.
    durationMs: Math.max(0, judge.nowMs - run.startedAtMs),
    status: answer.status,
    error: answer.error,
    responseExcerpt: answer.responseExcerpt,
    worker: judge.workerId,
  };
}

function overdue(timeoutMs: number): Outcome {
  return {
    kind: "failed",
    status: null,
    error: `no outcome within ${timeoutMs} ms, and the transport did not keep that timeout itself`,
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: false,
  };
}
