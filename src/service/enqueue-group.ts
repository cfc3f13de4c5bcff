/** Group commit: enqueues that arrive together share one call of the store, and so one write to disk. */

import { setImmediate } from "node:timers";
import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import type { EnqueueAnswer, ProducerStore } from "../core/store.ts";
import type { NewTask } from "../core/task.ts";

/** Bounds of an {@link EnqueueGroup}. Bytes are those of the tasks' bodies, to within an encoding's factor. */
export interface GroupLimits {
  readonly maxTasksPerCall: number;
  readonly maxBytesPerCall: number;
  readonly maxTasksWaiting: number;
  readonly maxBytesWaiting: number;
  /** Nobody begins to wait who would be answered later than this, in milliseconds, going by the latest calls. */
  readonly maxWaitMs: number;
}

export const GROUP_LIMITS: GroupLimits = {
  maxTasksPerCall: 1_000,
  maxBytesPerCall: 8 * 1024 * 1024,
  maxTasksWaiting: 20_000,
  maxBytesWaiting: 64 * 1024 * 1024,
  maxWaitMs: 500,
};

/** How much the latest call counts in what a call is expected to take. */
const LATEST_SHARE = 0.25;

/** Tasks handed in together by one caller, who waits for their answer. */
interface Entry {
  readonly tasks: readonly NewTask[];
  readonly resolve: (answer: EnqueueAnswer) => void;
  readonly reject: (reason: unknown) => void;
}

/** What will be one call of the store. */
interface Call {
  readonly entries: Entry[];
  tasks: number;
  bytes: number;
}

/**
 * Collects what arrives within one turn of the event loop, and while the store is busy, and hands it over
 * in one call. At most one call is under way: what waits behind it makes the next one fuller, so the
 * busier it gets the less each task costs. Nothing waits for a timer.
 *
 * What arrives beyond what the store takes is refused while that is still cheap: by the room there is, and by how
 * long what waits will take. One call may always wait, for a slow store is fastest when its calls are full.
 */
export class EnqueueGroup {
  readonly #store: Pick<ProducerStore, "enqueue">;
  readonly #limits: GroupLimits;
  readonly #clock: Pick<Clock, "monoMs">;
  /** In order of arrival. */
  readonly #waiting: Call[] = [];
  #tasksWaiting = 0;
  #bytesWaiting = 0;
  /** Whether a flush is planned or a call under way: then nothing needs to be started. */
  #busy = false;
  /** When the call under way began; null while there is none. */
  #sinceMs: number | null = null;
  /** What a call takes, the latest counting most; null before the first has ended. */
  #callMs: number | null = null;

  constructor(
    store: Pick<ProducerStore, "enqueue">,
    limits: GroupLimits = GROUP_LIMITS,
    clock: Pick<Clock, "monoMs"> = { monoMs: () => performance.now() },
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#clock = clock;
  }

  /**
   * Resolves when the store has decided on `tasks`, with one result each; the rates may tell of other callers' clients too. Rejects with what the store's call
   * rejected with, or with `overloaded` when too much waits already; then none of them was kept.
   * `tasks` of one call stay together, so they should be within the limits of one call ({@link chunked}).
   */
  add(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    let bytes = 0;
    for (const task of tasks) bytes += task.target.body?.length ?? 0;
    const refusal = this.overload(tasks.length, bytes);
    if (refusal !== null) return Promise.reject(refusal);
    this.#tasksWaiting += tasks.length;
    this.#bytesWaiting += bytes;
    return new Promise((resolve, reject) => {
      const call = this.#callFor(tasks.length, bytes);
      call.entries.push({ tasks, resolve, reject });
      call.tasks += tasks.length;
      call.bytes += bytes;
      if (this.#busy) return;
      this.#busy = true;
      setImmediate(this.#flush);
    });
  }

  /** Why so much would be refused now; null when it would not be. Cheap, so that a request can be refused unread. */
  overload(tasks: number, bytes: number): TaskRunnerError | null {
    const limits = this.#limits;
    const hasRoom =
      this.#tasksWaiting + tasks <= limits.maxTasksWaiting &&
      this.#bytesWaiting + bytes <= limits.maxBytesWaiting;
    if (hasRoom && (this.#waiting.length === 0 || this.#joinsLast(tasks, bytes))) return null;
    const { storedMs, callMs } = this.#expected();
    if (hasRoom && storedMs + callMs <= limits.maxWaitMs) return null;
    return new TaskRunnerError(
      "overloaded",
      "More tasks are arriving than can be stored; try again shortly.",
      {
        retryAfterSec: Math.max(1, Math.ceil(storedMs / 1_000)),
      },
    );
  }

  /** How long until all that waits now is stored, the call under way included, and how long each call takes. */
  #expected(): { readonly storedMs: number; readonly callMs: number } {
    const underWayMs = this.#sinceMs === null ? 0 : this.#clock.monoMs() - this.#sinceMs;
    // A store that stands still shows in the call under way long before that ends.
    const callMs = Math.max(this.#callMs ?? 0, underWayMs);
    const restMs = this.#sinceMs === null ? 0 : callMs - underWayMs;
    return { storedMs: restMs + this.#waiting.length * callMs, callMs };
  }

  #joinsLast(tasks: number, bytes: number): boolean {
    const last = this.#waiting.at(-1);
    if (last === undefined) return false;
    return (
      last.tasks + tasks <= this.#limits.maxTasksPerCall && last.bytes + bytes <= this.#limits.maxBytesPerCall
    );
  }

  /** The last call that waits where it has room, or a new one; a new one takes its first entry whatever its size. */
  #callFor(tasks: number, bytes: number): Call {
    const last = this.#waiting.at(-1);
    if (last !== undefined && this.#joinsLast(tasks, bytes)) return last;
    const call = { entries: [], tasks: 0, bytes: 0 };
    this.#waiting.push(call);
    return call;
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
    const call = this.#waiting.shift();
    if (call === undefined) return;
    this.#tasksWaiting -= call.tasks;
    this.#bytesWaiting -= call.bytes;
    void this.#commit(call.entries);
  };

  /** Never rejects: what goes wrong is the callers' to hear. */
  async #commit(entries: readonly Entry[]): Promise<void> {
    const tasks = entries.length === 1 ? (entries[0]?.tasks ?? []) : entries.flatMap((entry) => entry.tasks);
    const sinceMs = this.#clock.monoMs();
    this.#sinceMs = sinceMs;
    try {
      answerAll(entries, await this.#store.enqueue(tasks));
    } catch (reason) {
      for (const entry of entries) entry.reject(reason);
    }
    this.#sinceMs = null;
    const tookMs = this.#clock.monoMs() - sinceMs;
    this.#callMs = this.#callMs === null ? tookMs : this.#callMs + (tookMs - this.#callMs) * LATEST_SHARE;
    if (this.#waiting.length > 0) setImmediate(this.#flush);
    else this.#busy = false;
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
