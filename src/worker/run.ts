/** One claimed task on its way through this worker: its lease, its abort, and how it ends. */

import type { Clock } from "../core/clock.ts";
import type { ClaimedTask, LeaseRef, Settlement } from "../core/store.ts";
import type { Target } from "../core/task.ts";
import type { Call } from "./rules.ts";

/**
 * Why a delivery is broken off by the worker, not by its target.
 * `stopped`: the worker shuts down. `cancelled`: the task was cancelled. `lost`: the store says that the
 * lease is no longer ours. `expired`: by our own reckoning it must have run out. `overdue`: the transport
 * did not keep the timeout it was given.
 */
export type BreakOff = "stopped" | "cancelled" | "lost" | "expired" | "overdue";

/** Held in a slot from the claim until its settlement is in the store. */
export class Run {
  readonly task: ClaimedTask;
  readonly lease: LeaseRef;
  readonly startedAtMs: number;
  /** What is called: the task's own target, with its queue's override. */
  readonly target: Target;
  /** Bound of the attempt, which the transport is to keep. */
  readonly timeoutMs: number;
  /** The hosts that may be called; null for all. */
  readonly allowedHosts: readonly string[] | null;
  /** When the lease was last known to be granted, on the monotonic clock. */
  leasedAtMonoMs: number;
  /** Since when it is being delivered, on the same clock. */
  readonly startedAtMonoMs: number;
  /** The trace context of this attempt, its task's own where it is not recorded; null where there is none. */
  traceparent: string | null;
  /** Set once the delivery is over. Null while it runs. */
  settlement: Settlement | null = null;
  /** Whether the delivery is over, one way or another. */
  ended = false;
  /** Ends the wait for a transport that ignores its abort; set once the transport has been called. */
  abandon: () => void = () => {};
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #brokenOff: BreakOff | null = null;
  #brokenOffAtMonoMs = 0;

  constructor(task: ClaimedTask, call: Call, clock: Clock, leasedAtMonoMs: number) {
    this.task = task;
    this.lease = { taskId: task.id, fence: task.fence };
    this.traceparent = task.traceparent;
    this.#clock = clock;
    this.startedAtMs = clock.now();
    this.target = call.target;
    this.timeoutMs = call.timeoutMs;
    this.allowedHosts = call.allowedHosts;
    this.leasedAtMonoMs = leasedAtMonoMs;
    this.startedAtMonoMs = clock.monoMs();
  }

  /** Aborts when the delivery is broken off. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Why it was broken off; null when it was not. */
  get brokenOff(): BreakOff | null {
    return this.#brokenOff;
  }

  /** Whether it was broken off at least `ms` ago and its transport has still not let go. */
  ignoresAbort(nowMonoMs: number, ms: number): boolean {
    return !this.ended && this.#brokenOff !== null && nowMonoMs - this.#brokenOffAtMonoMs >= ms;
  }

  /** Aborts the delivery. The first reason stands; a delivery that is over is left alone. */
  breakOff(why: BreakOff): boolean {
    if (this.ended || this.#brokenOff !== null) return false;
    this.#brokenOff = why;
    this.#brokenOffAtMonoMs = this.#clock.monoMs();
    this.#abort.abort();
    return true;
  }
}
