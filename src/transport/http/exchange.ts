/** One exchange under way, and the outcomes of those that bring no answer. */

import type { Delivery, FailureCause, Outcome } from "../../core/transport.ts";
import { checkTarget } from "./check.ts";
import { causeOf, durationWords, ProxyFailure, wordsFor } from "./failure.ts";

/** Why an exchange was ended by this side. */
export type Ending = "timeout" | "worker" | "close";

export type Failure = Extract<Outcome, { kind: "failed" }>;

/** How far an exchange came, and who ended it when it did not end by itself. */
export class Exchange {
  readonly delivery: Delivery;
  readonly url: URL;
  readonly signal: AbortSignal;
  /** The answer's status, once its head has come. */
  status: number | null = null;
  readonly #stop = new AbortController();
  #ending: Ending | null = null;

  constructor(delivery: Delivery, url: URL) {
    this.delivery = delivery;
    this.url = url;
    this.signal = this.#stop.signal;
  }

  end(ending: Ending): void {
    this.#ending ??= ending;
    this.#stop.abort();
  }

  /** The outcome of an exchange that did not come to its end. */
  broken(thrown: unknown): Outcome {
    const { status } = this;
    if (this.#ending === "timeout") {
      return { ...noAnswer(`timed out after ${durationWords(this.delivery.timeoutMs)}`, "timeout"), status };
    }
    if (this.#ending !== null) return deferred(this.#ending);
    if (thrown instanceof ProxyFailure) {
      return { ...noAnswer(thrown.message, "connection"), status, hostAtFault: thrown.hostAtFault };
    }
    // A runtime's error does not tell reliably that the request was at fault; the request itself does.
    const [problem] = status === null ? checkTarget(this.delivery.target, null) : [];
    if (problem !== undefined)
      return refused(`the request cannot be sent: ${problem.path} ${problem.message}`, "other");
    return { ...noAnswer(wordsFor(thrown, this.url.hostname), causeOf(thrown)), status };
  }
}

export function deferred(by: "worker" | "close"): Outcome {
  const reason = by === "worker" ? "broken off by the worker" : "the transport was closed";
  return { kind: "deferred", afterMs: 0, reason };
}

/** A failure that no repetition can turn into a success: nothing was sent. */
export function refused(error: string, cause: FailureCause): Failure {
  return { ...noAnswer(error, cause), permanent: true, hostAtFault: false };
}

/** A failure without an answer, which speaks against the host. */
export function noAnswer(error: string, cause: FailureCause): Failure {
  return {
    kind: "failed",
    status: null,
    error,
    cause,
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: true,
  };
}
