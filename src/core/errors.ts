/** One error type with a stable code, so that every layer can tell what went wrong without reading prose. */

import type { RateState } from "./store.ts";

/** A field of a request or a setting that was refused, with the path to it. */
export interface FieldProblem {
  /** Dotted path to the field, e.g. `task.url` or `tasks[3].delay`. */
  readonly path: string;
  /** What is wrong with the value and what is allowed. */
  readonly message: string;
}

/** Every code a caller may see. They are part of the API's contract and never change their meaning. */
export type ErrorCode =
  | "validation_failed"
  | "malformed_json"
  | "unsupported_media_type"
  | "unauthorized"
  | "forbidden"
  | "client_disabled"
  | "rate_limited"
  | "too_many_attempts"
  | "not_found"
  | "task_not_found"
  | "queue_not_found"
  | "queue_disabled"
  | "client_not_found"
  | "tier_not_found"
  | "method_not_allowed"
  | "conflict"
  | "payload_too_large"
  | "target_forbidden"
  | "overloaded"
  | "store_unavailable"
  | "store_full"
  | "durability_unavailable"
  | "internal_error";

/** Extra facts of a {@link TaskRunnerError}. */
export interface ErrorDetails {
  /** Seconds after which repeating the request may succeed. */
  readonly retryAfterSec?: number;
  /** Of a request that was one too many: how its client stands. */
  readonly rate?: RateState;
  /** Every failing field, when the request was at fault. */
  readonly fields?: readonly FieldProblem[];
  /** The error that led to this one; for logs, never shown to a caller. */
  readonly cause?: unknown;
}

/** An expected failure that a caller can act on. Programmer errors stay plain `Error`s. */
export class TaskRunnerError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterSec: number | undefined;
  readonly fields: readonly FieldProblem[];
  readonly rate: RateState | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "TaskRunnerError";
    this.code = code;
    this.retryAfterSec = details.retryAfterSec;
    this.fields = details.fields ?? [];
    this.rate = details.rate;
  }
}

/** The message of whatever was thrown, on one line. Never throws: a plugin may throw what cannot even be read. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown)
      .replace(/\s+/g, " ")
      .trim();
  } catch {
    return "something was thrown that cannot be read";
  }
}
