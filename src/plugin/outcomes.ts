/** The outcomes of a delivery and the problems of a target, in fewer words than spelling them out takes. */

import type { Outcome, TargetProblem } from "../core/transport.ts";

type Failure = Extract<Outcome, { kind: "failed" }>;

/** The target took it. `status` and `responseExcerpt` are kept with the attempt, where there are any. */
export function delivered(answer: { status?: number; responseExcerpt?: string } = {}): Outcome {
  return {
    kind: "delivered",
    status: answer.status ?? null,
    responseExcerpt: answer.responseExcerpt ?? null,
  };
}

/**
 * It did not. Unless told otherwise it may be repeated and the host is not at fault; a host at fault (no connection,
 * no answer) makes its circuit breaker count.
 */
export function failed(error: string, facts: Partial<Omit<Failure, "kind" | "error">> = {}): Failure {
  return {
    kind: "failed",
    status: null,
    error,
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: false,
    ...facts,
  };
}

/** It was not tried, or broken off by this side: the task is given back without an attempt being charged. */
export function deferred(reason: string, afterMs = 0): Outcome {
  return { kind: "deferred", afterMs, reason };
}

/** What is wrong with a target. `path` is e.g. `task.url`; `forbidden` tells a policy's refusal from a slip. */
export function problem(path: string, message: string, forbidden = false): TargetProblem {
  return { path, message, forbidden };
}
