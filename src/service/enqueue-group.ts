/** Group commit: enqueues that arrive together share one call of the store, and so one write to disk. */

import { setImmediate } from "node:timers";
import { TaskRunnerError } from "../core/errors.ts";
import type { EnqueueAnswer, ProducerStore } from "../core/store.ts";
import type { NewTask } from "../core/task.ts";

/** Bounds of an {@link EnqueueGroup}. Bytes are those of the tasks' bodies, to within an encoding's factor. */
export interface GroupLimits {
  readonly maxTasksPerCall: number;
  readonly maxBytesPerCall: number;
  readonly maxTasksWaiting: number;
  readonly maxBytesWaiting: number;
}

export const GROUP_LIMITS: GroupLimits = {
  maxTasksPerCall: 1_000,
  maxBytesPerCall: 8 * 1024 * 1024,
  maxTasksWaiting: 20_000,
  maxBytesWaiting: 64 * 1024 * 1024,
};

/** Tasks handed in together by one caller, who waits for their answer. */
interface Entry {
  readonly tasks: readonly NewTask[];
  readonly bytes: number;
  readonly resolve: (answer: EnqueueAnswer) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Collects what arrives within one turn of the event loop, and while the store is busy, and hands it over
 * in one call. At most one call is under way: what waits behind it makes the next one fuller, so the
 * busier it gets the less each task costs. Nothing waits for a timer.
 */
export class EnqueueGroup {
  readonly #store: Pick<ProducerStore, "enqueue">;
  readonly #limits: GroupLimits;
  /** In order of arrival. */
  readonly #waiting: Entry[] = [];
  #tasksWaiting = 0;
  #bytesWaiting = 0;
  /** Whether a flush is planned or a call under way: then nothing needs to be started. */
  #busy = false;

  constructor(store: Pick<ProducerStore, "enqueue">, limits: GroupLimits = GROUP_LIMITS) {
    this.#store = store;
    this.#limits = limits;
  }

  /**
   * Resolves when the store has decided on `tasks`, with one result each; the rates may tell of other callers' clients too. Rejects with what the store's call
   * rejected with, or with `overloaded` when too much waits already; then none of them was kept.
   * `tasks` of one call stay together, so they should be within the limits of one call ({@link chunked}).
   */
  add(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    let bytes = 0;
    for (const task of tasks) bytes += task.target.body?.length ?? 0;
    const limits = this.#limits;
    if (
      this.#tasksWaiting + tasks.length > limits.maxTasksWaiting ||
      this.#bytesWaiting + bytes > limits.maxBytesWaiting
    ) {
      return Promise.reject(
        new TaskRunnerError("overloaded", "More tasks are arriving than can be stored; try again shortly.", {
          retryAfterSec: 1,
        }),
      );
    }
    this.#tasksWaiting += tasks.length;
    this.#bytesWaiting += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ tasks, bytes, resolve, reject });
      if (this.#busy) return;
      this.#busy = true;
      setImmediate(this.#flush);
    });
  }

  /** Parts of `tasks` that each fit one call, in order. */
  chunked(tasks: readonly NewTask[]): readonly (readonly NewTask[])[] {
    const chunks: NewTask[][] = [];
    let chunk: NewTask[] = [];
    let bytes = 0;
    for (const task of tasks) {
      const taskBytes = task.target.body?.length ?? 0;
      const full = chunk.length >= this.#limits.maxTasksPerCall;
      if (chunk.length > 0 && (full || bytes + taskBytes > this.#limits.maxBytesPerCall)) {
        chunks.push(chunk);
        chunk = [];
        bytes = 0;
      }
      chunk.push(task);
      bytes += taskBytes;
    }
    if (chunk.length > 0) chunks.push(chunk);
    return chunks;
  }

  readonly #flush = (): void => {
    void this.#commit(this.#take());
  };

  /** Never rejects: what goes wrong is the callers' to hear. */
  async #commit(entries: readonly Entry[]): Promise<void> {
    const tasks = entries.length === 1 ? (entries[0]?.tasks ?? []) : entries.flatMap((entry) => entry.tasks);
    try {
      answerAll(entries, await this.#store.enqueue(tasks));
    } catch (reason) {
      for (const entry of entries) entry.reject(reason);
    }
    if (this.#waiting.length > 0) setImmediate(this.#flush);
    else this.#busy = false;
  }

  /** The next entries that fit one call; the first is taken whatever its size. */
  #take(): readonly Entry[] {
    let count = 0;
    let tasks = 0;
    let bytes = 0;
    for (const entry of this.#waiting) {
      const moreTasks = tasks + entry.tasks.length;
      const moreBytes = bytes + entry.bytes;
      const tooMuch = moreTasks > this.#limits.maxTasksPerCall || moreBytes > this.#limits.maxBytesPerCall;
      if (tooMuch && count > 0) break;
      count++;
      tasks = moreTasks;
      bytes = moreBytes;
    }
    this.#tasksWaiting -= tasks;
    this.#bytesWaiting -= bytes;
    return this.#waiting.splice(0, count);
  }
}

function answerAll(entries: readonly Entry[], answer: EnqueueAnswer): void {
  const { results, durability, rates } = answer;
  let start = 0;
  for (const entry of entries) {
    const end = start + entry.tasks.length;
    entry.resolve({ results: results.slice(start, end), durability, rates });
    start = end;
  }
}
