/** Does the work of a task once, though a delivery may come again, late, or beside another of the same task. */

import type { Received } from "./verify.ts";

/**
 * What came of a delivery. `first`: the work was done now. `repeat`: it had been done by an earlier delivery. `stale`: a
 * delivery with this fence or a later one has begun, so this one does not count, whatever it did.
 */
export type Verdict = "first" | "repeat" | "stale";

/** How far the work of a task is. */
export interface Mark {
  /** Of the latest delivery that began. */
  readonly fence: number;
  readonly done: boolean;
}

/** Keeps a mark for each task: a table, a hash, or {@link MemoryMarks}. */
export interface MarkStore {
  /**
   * Puts `to` in the place of a task's mark if that is `from` (null: if there is none), in one step; returns the mark as
   * it was before, which is `from` where it was replaced.
   */
  compareAndSet(taskId: string, from: Mark | null, to: Mark): Promise<Mark | null>;
}

/** Each time it is lost, another delivery of the same task began meanwhile. */
const MAX_TRIES = 10;

/**
 * Makes of a store the function that works once: it calls `work` unless that was done or a later delivery has begun, and
 * rejects as `work` does; the task's next delivery then begins anew. A process that dies between the work and its mark
 * leaves it to be done again: to exclude even that, let `work` and `store` write in one transaction.
 */
export function onceOnly(
  store: MarkStore,
): (delivery: Pick<Received, "taskId" | "fence">, work: () => unknown) => Promise<Verdict> {
  return async ({ taskId, fence }, work) => {
    const begun = { fence, done: false };
    const refused = await begin(store, taskId, begun);
    if (refused !== null) return refused;
    await work();
    // Lost where a later delivery began while this one worked: then it is that one that answers for the task.
    const before = await store.compareAndSet(taskId, begun, { fence, done: true });
    return isSame(before, begun) ? "first" : "stale";
  };
}

/** Null once the work is this delivery's to do. */
async function begin(store: MarkStore, taskId: string, begun: Mark): Promise<"repeat" | "stale" | null> {
  let from: Mark | null = null;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const before: Mark | null = await store.compareAndSet(taskId, from, begun);
    if (isSame(before, from)) return null;
    if (before !== null && before.fence > begun.fence) return "stale";
    if (before?.done) return "repeat";
    // The same delivery twice, as a proxy may send it: how the other one ends is not known yet.
    if (before?.fence === begun.fence) return "stale";
    from = before;
  }
  return "stale";
}

function isSame(one: Mark | null, other: Mark | null): boolean {
  return one?.fence === other?.fence && one?.done === other?.done;
}

/**
 * Marks in the memory of one process, for tests and for receivers that are one process: they are gone when it ends, and
 * the oldest ones when there are too many. A task whose mark is gone is done again if it is delivered again.
 */
export class MemoryMarks implements MarkStore {
  readonly #marks = new Map<string, Mark>();
  readonly #maxTasks: number;

  constructor(maxTasks = 100_000) {
    this.#maxTasks = maxTasks;
  }

  async compareAndSet(taskId: string, from: Mark | null, to: Mark): Promise<Mark | null> {
    const before = this.#marks.get(taskId) ?? null;
    if (!isSame(before, from)) return before;
    // Set anew, so that the map's order is that of the last changes.
    this.#marks.delete(taskId);
    this.#marks.set(taskId, to);
    if (this.#marks.size > this.#maxTasks) {
      for (const oldest of this.#marks.keys()) {
        this.#marks.delete(oldest);
        break;
      }
    }
    return before;
  }
}
