/** The calls about tasks that were handed in: read, list, change, explain, and wait until they end. */

import type { Caller, CallOptions } from "./call.ts";
import { ApiError } from "./error.ts";
import { itemsOf } from "./pages.ts";
import { pause } from "./pause.ts";
import type { Explanation, RescheduleRequest, Task, TaskFilter, TaskPage, TaskState } from "./shapes.ts";

export interface WaitOptions extends CallOptions {
  /** How long to wait for the end, in milliseconds; 60,000 unless told. Then it rejects with `timed_out`. */
  readonly withinMs?: number;
}

const ENDED: readonly TaskState[] = ["succeeded", "dead", "cancelled"];
const DEFAULT_WITHIN_MS = 60_000;
const FIRST_LOOK_MS = 100;
/** Looks become rarer up to this, so that a wait for hours is no load. */
const LONGEST_LOOK_MS = 2_000;
/** The last look may end so much later. */
const LAST_LOOK_MS = 1_000;

export class Tasks {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Rejects with `task_not_found`, also once the task's retention is over. */
  get(id: string, options?: CallOptions): Promise<Task> {
    return this.#caller.json({ method: "GET", path: pathOf(id), repeatable: true }, options);
  }

  /** A page of tasks, newest first. */
  list(filter: TaskFilter = {}, options?: CallOptions): Promise<TaskPage> {
    return this.#caller.json({ method: "GET", path: "/v1/tasks", query: filter, repeatable: true }, options);
  }

  /** All tasks that fit, newest first, a page being asked for when it is reached. The options are of each page. */
  all(filter: Omit<TaskFilter, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Task, void, undefined> {
    return itemsOf(
      (cursor) => this.list({ ...filter, ...cursor }, options),
      ({ tasks }) => tasks,
    );
  }

  /** A waiting task at once; a running one by breaking off its call. */
  cancel(id: string, options?: CallOptions): Promise<Task> {
    return this.#caller.json({ method: "DELETE", path: pathOf(id), repeatable: true }, options);
  }

  /** Moves a waiting task to another time or priority. */
  reschedule(id: string, change: RescheduleRequest, options?: CallOptions): Promise<Task> {
    return this.#caller.json({ method: "PATCH", path: pathOf(id), body: change, repeatable: true }, options);
  }

  /** Runs a waiting task now, whatever its schedule. */
  run(id: string, options?: CallOptions): Promise<Task> {
    return this.#caller.json({ method: "POST", path: `${pathOf(id)}/run`, repeatable: true }, options);
  }

  /** Starts a finished task over. Sent once: what it started may have ended before a second one came. */
  replay(id: string, options?: CallOptions): Promise<Task> {
    return this.#caller.json({ method: "POST", path: `${pathOf(id)}/replay`, repeatable: false }, options);
  }

  /** Why a task does not run, and when it is likely to. */
  explain(id: string, options?: CallOptions): Promise<Explanation> {
    return this.#caller.json({ method: "GET", path: `${pathOf(id)}/explain`, repeatable: true }, options);
  }

  /**
   * The task once it has succeeded, is dead or was cancelled. Rejects with `timed_out` when it has not by then, and with
   * `task_not_found` when it ended and was dropped between two looks, as with a retention of 0.
   */
  async wait(id: string, { withinMs = DEFAULT_WITHIN_MS, ...options }: WaitOptions = {}): Promise<Task> {
    const endMs = performance.now() + withinMs;
    const leftMsNow = () => endMs - performance.now();
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(lookMs * 2, LONGEST_LOOK_MS)) {
      // A server that does not answer must not make the wait much longer than it was to be.
      const mostMs = Math.max(leftMsNow(), LAST_LOOK_MS);
      const timeoutMs = Math.min(options.timeoutMs ?? this.#caller.timeoutMs, mostMs);
      const task = await this.get(id, { ...options, timeoutMs });
      if (ENDED.includes(task.state)) return task;
      const leftMs = leftMsNow();
      if (leftMs <= 0) {
        const message = `The task is ${task.state} after ${withinMs} ms; its explanation says what it waits for.`;
        throw new ApiError({ code: "timed_out", message });
      }
      await pause(Math.min(lookMs, leftMs), options.signal);
    }
  }
}

function pathOf(id: string): string {
  return `/v1/tasks/${encodeURIComponent(id)}`;
}
