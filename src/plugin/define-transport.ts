/** Makes a transport of what is its own; the rest of the contract, which every one would have to write anew, is kept here. */

import { messageOf } from "../core/errors.ts";
import type { Target } from "../core/task.ts";
import type { Delivery, Outcome, TargetProblem, Transport } from "../core/transport.ts";
import { deferred, failed } from "./outcomes.ts";

export interface TransportParts {
  readonly name: string;
  /** With their colon, e.g. `["nats:"]`. */
  readonly schemes: readonly string[];
  /** What is wrong with a target, as far as can be told without sending. */
  readonly check: (target: Target) => readonly TargetProblem[];
  /**
   * Sends one delivery whose target passed `check`. What it throws is a failure through the host's fault. `signal`
   * aborts when nobody waits for the answer any more: its time is over, the worker stopped it, or all is closed.
   */
  readonly exchange: (delivery: Delivery, signal: AbortSignal) => Promise<Outcome>;
  /** Gives back what it holds; called once, when nothing is under way any more. */
  readonly close?: () => Promise<void>;
}

/**
 * The transport of these parts. It never throws; keeps `delivery.timeoutMs`; answers `deferred` at once when the worker
 * aborts or it is closed; refuses for good what `check` refuses; sends nothing once it is closed.
 */
export function defineTransport(parts: TransportParts): Transport {
  return new DefinedTransport(parts);
}

class DefinedTransport implements Transport {
  readonly name: string;
  readonly schemes: readonly string[];
  readonly #parts: TransportParts;
  readonly #running = new Set<(outcome: Outcome) => void>();
  #closed: Promise<void> | null = null;

  constructor(parts: TransportParts) {
    this.name = parts.name;
    this.schemes = parts.schemes;
    this.#parts = parts;
  }

  check(target: Target): readonly TargetProblem[] {
    return this.#parts.check(target);
  }

  deliver(delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
    return new Promise((resolve) => {
      if (this.#closed !== null) return resolve(CLOSED);
      if (signal.aborted) return resolve(ABORTED);
      const unwanted = new AbortController();
      const end = (outcome: Outcome) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        this.#running.delete(end);
        resolve(outcome);
        unwanted.abort();
      };
      const abort = () => end(ABORTED);
      const { timeoutMs } = delivery;
      const timer = setTimeout(
        () => end(failed(`timed out after ${timeoutMs / 1_000} s`, { cause: "timeout", hostAtFault: true })),
        timeoutMs,
      );
      signal.addEventListener("abort", abort);
      this.#running.add(end);
      // What throws at once is caught like what rejects.
      Promise.try(() => this.#exchange(delivery, unwanted.signal)).then(end, (thrown: unknown) =>
        end(failed(messageOf(thrown) || "it failed without a reason", { hostAtFault: true })),
      );
    });
  }

  #exchange(delivery: Delivery, signal: AbortSignal): Outcome | Promise<Outcome> {
    const problems = this.#parts.check(delivery.target);
    if (problems.length === 0) return this.#parts.exchange(delivery, signal);
    const what = problems.map(({ path, message }) => `${path} ${message}`).join("; ");
    return failed(`it cannot be sent: ${what}`, { permanent: true });
  }

  close(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = Promise.try(() => this.#parts.close?.());
      for (const end of this.#running) end(CLOSED);
    }
    return this.#closed;
  }
}

const ABORTED = deferred("broken off by the worker");
const CLOSED = deferred("the transport was closed");
