/** What a task is, the states it goes through, and which way it may go from each. */

import type { Priority } from "./priority.ts";
import type { RetryOverrides } from "./retry.ts";

/** The names used everywhere: API, stores, metrics, page. */
export const TASK_STATES = [
  "scheduled",
  "ready",
  "running",
  "retrying",
  "succeeded",
  "dead",
  "cancelled",
] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** The transition table: from each state, the states that may follow. */
export const TRANSITIONS: Readonly<Record<TaskState, readonly TaskState[]>> = {
  scheduled: ["ready", "cancelled"],
  ready: ["running", "scheduled", "cancelled"],
  running: ["succeeded", "retrying", "dead", "ready", "scheduled", "cancelled"],
  retrying: ["ready", "scheduled", "cancelled"],
  succeeded: ["ready"],
  dead: ["ready"],
  cancelled: ["ready"],
};

/** Whether a task may go from one state to another in one step. */
export function canGo(from: TaskState, to: TaskState): boolean {
  return TRANSITIONS[from].includes(to);
}

/** A task in one of these is over; only a replay brings it back. */
export function isFinal(state: TaskState): state is "succeeded" | "dead" | "cancelled" {
  return state === "succeeded" || state === "dead" || state === "cancelled";
}

/** A task in one of these has not been handed to a worker and can be cancelled or moved at once. */
export function isWaiting(state: TaskState): state is "scheduled" | "ready" | "retrying" {
  return state === "scheduled" || state === "ready" || state === "retrying";
}

/** The number of worker deaths after which a task is taken for the cause of them. */
export const MAX_CRASHES = 5;

/** A task's attempts that are kept to be read; the first and the latest survive, the middle is dropped. */
export const MAX_KEPT_ATTEMPTS = 20;

/** The bounds of a task's metadata. */
export const MAX_METADATA_ENTRIES = 64;
/** Names and values together. */
export const MAX_METADATA_CHARS = 4_096;
/** Metadata whose name begins so is ours: callers can read it, and not set it. */
export const RESERVED_METADATA = "task-runner.";

/** What is sent, and where to. */
export interface Target {
  readonly url: string;
  /** Upper case. */
  readonly method: string;
  /** As the caller gave them, less those that are never passed on. */
  readonly headers: Readonly<Record<string, string>>;
  /** Text, raw bytes, or nothing. */
  readonly body: string | Uint8Array | null;
}

/** How one delivery to the target went, as it is kept and shown. */
export interface Attempt {
  /** 1 for the first; a crash or a release does not count one. */
  readonly number: number;
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** The answer's status; null when there was no answer. */
  readonly status: number | null;
  /** Why it failed; null when it succeeded. */
  readonly error: string | null;
  /** The start of the answer's body, at most 1 KiB. */
  readonly responseExcerpt: string | null;
  /** The worker that made it. */
  readonly worker: string;
}

/** A task that the service has accepted and the store is to keep. */
export interface NewTask {
  readonly id: string;
  readonly queue: string;
  readonly clientId: string;
  /** The revision of the client's settings that it was held against; null when it was held against none. */
  readonly clientRevision: number | null;
  readonly priority: Priority;
  readonly target: Target;
  /** Limit of one attempt; null takes the worker's. */
  readonly timeoutMs: number | null;
  /** Milliseconds since the epoch before which it must not run; a time past or null means now. */
  readonly scheduledAtMs: number | null;
  /** Milliseconds from when the store takes it in, by the store's own clock, in place of a planned time. */
  readonly delayMs?: number;
  /** A second task of that name in the queue is not made. */
  readonly name: string | null;
  /** A second task of that key by the same client is not made. */
  readonly idempotencyKey: string | null;
  /** Tasks of one key in a queue run one at a time, in order. */
  readonly orderingKey: string | null;
  readonly retry: RetryOverrides;
  /** How long it stays readable once it ended; null takes the store's, 0 drops it at once. */
  readonly retentionMs: number | null;
  readonly metadata: Readonly<Record<string, string>>;
  /** W3C trace context of the caller; null when there was none. */
  readonly traceparent: string | null;
  /** Called with the outcome once it has ended, whichever way; null for no call. */
  readonly callbackUrl: string | null;
  /** Called instead when it has died; null leaves that to callbackUrl. */
  readonly failureCallbackUrl: string | null;
}

/** A task as the store knows it. */
export interface Task {
  readonly id: string;
  readonly queue: string;
  readonly clientId: string;
  readonly priority: Priority;
  readonly target: Target;
  readonly timeoutMs: number | null;
  readonly name: string | null;
  readonly orderingKey: string | null;
  readonly retry: RetryOverrides;
  readonly retentionMs: number | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly traceparent: string | null;
  readonly callbackUrl: string | null;
  readonly failureCallbackUrl: string | null;
  readonly state: TaskState;
  /** Why it is in that state, where there is a reason: of a dead one, a released one, a failed attempt. */
  readonly reason: string | null;
  readonly createdAtMs: number;
  /** The time it was first asked to run at. */
  readonly scheduledAtMs: number;
  /** When it may run next; of a finished task, when it last could. */
  readonly dueMs: number;
  /** Start of the first delivery that was charged as an attempt. */
  readonly firstAttemptAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** Deliveries that were made and judged. */
  readonly attempts: number;
  /** Workers that died with it. */
  readonly crashes: number;
  /** Times it was given back without being judged. */
  readonly releases: number;
  /** Grows with every lease. 0 before the first. */
  readonly fence: number;
  /** Who runs it, while it runs. */
  readonly lease: { readonly worker: string; readonly untilMs: number } | null;
  readonly attemptLog: readonly Attempt[];
}

/** Adds an attempt to the kept ones, dropping from the middle once there are too many. */
export function keepAttempt(log: readonly Attempt[], attempt: Attempt): readonly Attempt[] {
  if (log.length < MAX_KEPT_ATTEMPTS) return [...log, attempt];
  return [...log.slice(0, 1), ...log.slice(2 - MAX_KEPT_ATTEMPTS), attempt];
}
