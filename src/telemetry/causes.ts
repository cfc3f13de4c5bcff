/** Why a lease came to its outcome, as one word of few: for labels and span attributes, where free text would have no bound. */

import type { Settlement } from "../core/store.ts";
import type { FailureCause, Outcome } from "../core/transport.ts";

/** By an answer's status, where no other cause was told. */
type StatusCause = "status_3xx" | "status_4xx" | "status_429" | "status_5xx";
/** `ok` for none. */
export type Cause = "ok" | StatusCause | FailureCause | NonNullable<Settlement["cause"]>;

/** Why a lease came to its settlement. */
export function causeOf({ cause, attempt }: Pick<Settlement, "cause" | "attempt">): Cause {
  if (cause !== undefined) return cause;
  if (attempt === null) return "other";
  return attempt.error === null ? "ok" : causeOfStatus(attempt.status);
}

/** Why a delivery failed. */
export function causeOfFailure({ cause, status }: Extract<Outcome, { kind: "failed" }>): Cause {
  return cause ?? causeOfStatus(status);
}

function causeOfStatus(status: number | null): Cause {
  if (status === null || status < 300) return "other";
  if (status === 429) return "status_429";
  if (status >= 500) return "status_5xx";
  return status >= 400 ? "status_4xx" : "status_3xx";
}
