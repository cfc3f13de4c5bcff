/** What a consumer says of a task, as an outcome that is judged like that of a delivery. */

import type { Outcome } from "../core/transport.ts";
import type { AckRequest, NackRequest } from "./pull-request.ts";

/** What is said of the task of one lease. */
export interface Told {
  readonly lease: string;
  readonly outcome: Outcome;
  /** The answer where the store takes it. */
  readonly done: "acked" | "nacked";
}

/** As much of an answer is kept as of a target's. */
const MAX_RESPONSE_BYTES = 1_024;
const encoder = new TextEncoder();

/** It is done. */
export function acked(given: AckRequest["leases"][number]): Told {
  const { lease, response }: Exclude<typeof given, string> =
    typeof given === "string" ? { lease: given } : given;
  const responseExcerpt = response === undefined ? null : excerptOf(response);
  return { lease, outcome: { kind: "delivered", status: null, responseExcerpt }, done: "acked" };
}

/** It failed. */
export function nacked(given: NackRequest["leases"][number]): Told {
  const told: Exclude<typeof given, string> = typeof given === "string" ? { lease: given } : given;
  const { lease, error = "nacked by its consumer", permanent = false, retry_after_sec: afterSec } = told;
  return {
    lease,
    outcome: {
      kind: "failed",
      status: null,
      error: error.toWellFormed(),
      cause: "other",
      responseExcerpt: null,
      permanent,
      retryAfterMs: afterSec === undefined ? null : Math.round(afterSec * 1_000),
      hostAtFault: false,
    },
    done: "nacked",
  };
}

/** The start of an answer, no longer than it is kept, with no character cut in two. */
function excerptOf(response: string): string {
  const text = response.toWellFormed();
  const { read } = encoder.encodeInto(text, new Uint8Array(MAX_RESPONSE_BYTES));
  return text.slice(0, read);
}
