/** What a delivery's end means for its task, however it came: by an outcome, or because the worker broke it off. */

import {
  attemptOf,
  type Judge,
  released as releasedTask,
  settlementAfter,
  settlementBefore,
} from "../core/settling.ts";
import type { Settlement } from "../core/store.ts";
import type { Outcome, ReleaseCause } from "../core/transport.ts";
import type { Run } from "./run.ts";

/** The settlement of a run that must not be delivered any more; null when it is to be. */
export function undelivered({ task }: Run, judge: Judge): Settlement | null {
  return settlementBefore(task, judge);
}

/**
 * The settlement of a run, or null where the lease is no longer ours and nothing is to be told.
 *
 * A delivery that came through counts as such even when it was being broken off: the target has the task.
 * Otherwise the reason of the break-off decides, whatever the transport made of its abort.
 */
export function settlementOf(run: Run, outcome: Outcome, judge: Judge): Settlement | null {
  if (run.brokenOff === "lost") return null;
  if (outcome.kind === "delivered") return settlementAfter(run, outcome, judge);
  switch (run.brokenOff) {
    case null:
      return settlementAfter(run, outcome, judge);
    case "stopped":
      return released(run, "worker stopped", "stopped");
    // Whether another worker has it by now only the store knows: a stale release changes nothing, and a
    // timely one spares the task a counted crash.
    case "expired":
      return released(run, "the lease ran out because the store could not be reached", "lease");
    // The store has already ended the task and only takes the attempt on record: the verdict has no effect.
    case "cancelled":
      return {
        lease: run.lease,
        verdict: { kind: "dead", reason: "cancelled" },
        attempt: attemptOf(run, judge, { status: null, error: "cancelled", responseExcerpt: null }),
      };
    case "overdue":
      return settlementAfter(run, overdue(run.timeoutMs), judge);
  }
}

/** The settlement that gives a task back at once, uncharged. */
export function released({ task }: Run, reason: string, cause: ReleaseCause): Settlement {
  return releasedTask(task, reason, cause);
}

function overdue(timeoutMs: number): Outcome {
  return {
    kind: "failed",
    status: null,
    error: `no outcome within ${timeoutMs} ms, and the transport did not keep that timeout itself`,
    cause: "timeout",
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: false,
  };
}
