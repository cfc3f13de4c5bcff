/** Priorities and the weighted order in which they are served, so that urgent work goes first and nothing starves. */

/** Most urgent first; the index is the priority's rank. */
export const PRIORITIES = ["critical", "high", "normal", "low"] as const;
export type Priority = (typeof PRIORITIES)[number];

/** Turns out of 15 that each rank gets while all of them have work. */
export const PRIORITY_WEIGHTS = [8, 4, 2, 1] as const;

/** 0 for critical to 3 for low. */
export function rankOf(priority: Priority): number {
  return PRIORITIES.indexOf(priority);
}

/** The priority of a rank; throws on a rank that does not exist, which only a corrupt store can hold. */
export function priorityOf(rank: number): Priority {
  const priority = PRIORITIES[rank];
  if (priority === undefined) throw new RangeError(`no priority has rank ${rank}`);
  return priority;
}

/**
 * Deals turns to the ranks that have work by smooth weighted round robin (the algorithm of nginx'
 * upstream balancing): every turn each active rank earns its weight, and the richest takes the turn
 * and pays the total. Credits outlive a call, so single turns taken one by one are as fair as a batch.
 */
export class PriorityTurns {
  readonly #credits = PRIORITY_WEIGHTS.map(() => 0);

  /** How many of `turns` each rank gets; ranks not in `active` get none. */
  deal(turns: number, active: readonly number[]): number[] {
    const dealt = PRIORITY_WEIGHTS.map(() => 0);
    const only = active[0];
    if (only === undefined) return dealt;
    if (active.length === 1) {
      dealt[only] = turns;
      return dealt;
    }
    const total = active.reduce((sum, rank) => sum + (PRIORITY_WEIGHTS[rank] ?? 0), 0);
    for (let turn = 0; turn < turns; turn++) {
      let richest = only;
      for (const rank of active) {
        this.#credits[rank] = (this.#credits[rank] ?? 0) + (PRIORITY_WEIGHTS[rank] ?? 0);
        if ((this.#credits[rank] ?? 0) > (this.#credits[richest] ?? 0)) richest = rank;
      }
      this.#credits[richest] = (this.#credits[richest] ?? 0) - total;
      dealt[richest] = (dealt[richest] ?? 0) + 1;
    }
    return dealt;
  }
}
