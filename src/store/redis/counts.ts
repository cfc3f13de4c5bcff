/** Tasks by queue, priority and state, out of the counters of lanes; and the time that the first of them have waited. */

import { priorityOf, rankOf } from "../../core/priority.ts";
import { type LaneCounts, MAX_LANES_LOOKED_AT } from "../../core/store.ts";
import { TASK_STATES, type TaskState } from "../../core/task.ts";
import { type LaneName, parseLane, stateOf } from "./codec.ts";

/** Lanes looked at in one step: for so long Redis does nothing else. */
const LANES_A_STEP = 100;
/** The letter of tasks that stand in their lane to be claimed. */
const READY = "r";

/** The counters of all lanes, added up. */
export interface Counted {
  readonly sums: readonly LaneCounts[];
  /** Lanes with something to claim, by number, in the order of these. */
  readonly ready: readonly (readonly [number: number, lane: LaneName])[];
}

/** Adds up what counts.lua answers. */
export function countsOf(counts: readonly string[], lanes: readonly string[]): Counted {
  const names = new Map<string, LaneName>();
  for (const [field, value] of pairs(lanes)) {
    if (field.startsWith("i")) names.set(field.slice(1), parseLane(value));
  }
  const sums = new Map<string, { lane: LaneName; states: Record<TaskState, number> }>();
  const ready: [number, LaneName][] = [];
  for (const [field, value] of pairs(counts)) {
    const lane = names.get(field.slice(1));
    if (lane === undefined) continue;
    const key = keyOf(lane);
    const sum = sums.get(key) ?? { lane, states: noTasks() };
    const letter = field[0] ?? "";
    sum.states[stateOf(letter)] += Number(value);
    sums.set(key, sum);
    if (letter === READY && Number(value) > 0) ready.push([Number(field.slice(1)), lane]);
  }
  return {
    sums: [...sums.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { lane, states }]) => ({ queue: lane.queue, priority: priorityOf(lane.rank), states })),
    ready: ready.sort(([a], [b]) => a - b),
  };
}

/** Asks for the time that the first tasks of these lanes have waited; see oldest.lua. */
export type AskOldest = (numbers: readonly string[]) => Promise<readonly string[]>;

/** Looks at the first tasks of lanes: of all of them, or of some after others where there are too many. */
export class Oldest {
  readonly #ask: AskOldest;
  /** The number of the lane at which the last look ended; 0 where it came to the end. */
  #lookedUpTo = 0;

  constructor(ask: AskOldest) {
    this.#ask = ask;
  }

  /** The counts with the time that the oldest of each has waited, as {@link LaneCounts.oldestReadyMs} promises. */
  async addTo({ sums, ready }: Counted): Promise<readonly LaneCounts[]> {
    const after = ready.filter(([number]) => number > this.#lookedUpTo);
    const looked = after.slice(0, MAX_LANES_LOOKED_AT);
    this.#lookedUpTo = after.length > looked.length ? (looked.at(-1)?.[0] ?? 0) : 0;
    const oldest = new Map<string, number>();
    for (let at = 0; at < looked.length; ) {
      const step = looked.slice(at, at + LANES_A_STEP);
      const waited = await this.#ask(step.map(([number]) => String(number)));
      for (const [place, text] of waited.entries()) {
        const lane = step[place]?.[1];
        if (lane === undefined || text === "") continue;
        const key = keyOf(lane);
        oldest.set(key, Math.max(Number(text), oldest.get(key) ?? 0));
      }
      at += Math.max(1, waited.length);
    }
    return sums.map((sum) => {
      const oldestReadyMs = oldest.get(`${sum.queue}/${rankOf(sum.priority)}`);
      return oldestReadyMs === undefined ? sum : { ...sum, oldestReadyMs };
    });
  }
}

function keyOf({ queue, rank }: LaneName): string {
  return `${queue}/${rank}`;
}

function noTasks(): Record<TaskState, number> {
  return Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as Record<TaskState, number>;
}

function* pairs(flat: readonly string[]): Generator<readonly [string, string]> {
  for (let at = 0; at + 1 < flat.length; at += 2) yield [flat[at] ?? "", flat[at + 1] ?? ""];
}
