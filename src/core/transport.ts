/** The Transport seam: how a task leaves the house, whatever protocol its target speaks. */

import type { FieldProblem } from "./errors.ts";
import type { Target } from "./task.ts";

/** One delivery of one task, with everything a target is told of it. */
export interface Delivery {
  readonly taskId: string;
  readonly queue: string;
  readonly target: Target;
  /** 1-based. */
  readonly attempt: number;
  /** Grows with every lease of the task: a receiver can refuse what is older than what it has seen. */
  readonly fence: number;
  readonly scheduledAtMs: number;
  /** Bound of the whole exchange, from the first byte sent to the last byte read. */
  readonly timeoutMs: number;
  readonly traceparent: string | null;
  /** The hosts that its client may have called; null for all. Entries as in a client's settings (see client.ts). */
  readonly allowedHosts: readonly string[] | null;
  /** Secrets to sign it with, each of them; none leaves it unsigned. Never to be logged. */
  readonly signingSecrets: readonly string[];
}

/**
 * Why a delivery failed where no answer tells: one word of few, to count by. `timeout`: it took too long. `connection`: none
 * came about, or it broke off. `dns`: its host's name was not found. `tls`: no secure connection came about.
 * `forbidden`: its target is not allowed. `other`: none of these.
 */
export const FAILURE_CAUSES = ["timeout", "connection", "dns", "tls", "forbidden", "other"] as const;
export type FailureCause = (typeof FAILURE_CAUSES)[number];

/**
 * Why a task was given back: its worker stopped, its host's circuit breaker is open, its lease must have run out, or
 * something else.
 */
export type ReleaseCause = "stopped" | "breaker" | "lease" | "other";

/** How a delivery went. Expected failures are values: a transport never throws. */
export type Outcome =
  | { readonly kind: "delivered"; readonly status: number | null; readonly responseExcerpt: string | null }
  | {
      readonly kind: "failed";
      readonly status: number | null;
      /** One line that a person understands, without secrets. */
      readonly error: string;
      /** Without it the status tells. */
      readonly cause?: FailureCause;
      readonly responseExcerpt: string | null;
      /** True where repeating it cannot help. */
      readonly permanent: boolean;
      /** The target's wish for when to come back. */
      readonly retryAfterMs: number | null;
      /** Whether the failure speaks against the host itself (no connection, timeout, 5xx). */
      readonly hostAtFault: boolean;
    }
  /** Not tried, or broken off by us: to be given back without a charge. */
  | {
      readonly kind: "deferred";
      readonly afterMs: number;
      readonly reason: string;
      /** `other` unless told. */
      readonly cause?: ReleaseCause;
    };

/** A way to deliver. Implementations live in src/transport/ and in plugins. */
export interface Transport {
  readonly name: string;
  /** URL schemes with their colon, e.g. `["http:", "https:"]`. No two transports may own the same one. */
  readonly schemes: readonly string[];
  /** What is wrong with a target as far as can be told without sending; run when a task is accepted. */
  check(target: Target): readonly TargetProblem[];
  /**
   * Delivers once. Never throws. When `signal` aborts it stops at once and answers `deferred`: only the
   * worker aborts (a lost lease, a cancel, a shutdown); the timeout is the transport's own to keep.
   */
  deliver(delivery: Delivery, signal: AbortSignal): Promise<Outcome>;
  /** Gives back what it holds. Nothing is delivered afterwards. */
  close(): Promise<void>;
}

/** A refused target; `forbidden` tells a policy's refusal from a malformed one. */
export interface TargetProblem extends FieldProblem {
  readonly forbidden: boolean;
}
