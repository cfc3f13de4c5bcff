/** Explains every delivery after a task's first, and holds the fences to their promise. */

import type { Call, Harm, History } from "../history.ts";
import { faultsNear, switchedNear } from "./faults-near.ts";
import { callsByTask } from "./tasks-of.ts";

/** Why a task was delivered again. */
export const REASONS = [
  "the attempt before failed",
  "its lease ran out",
  "it was given back",
  "a failover threw away its claim or its end",
] as const;
export type Reason = (typeof REASONS)[number];

export interface Duplicates {
  readonly repeated: Readonly<Record<Reason, number>>;
  /** Those whose lease ran out although no fault was near: a machine with too much to do starves a worker too. */
  readonly starved: number;
  /** Calls that came after one of a later lease: a worker that stood still sent them late. */
  readonly late: number;
  readonly unexplained: readonly string[];
}

/** What makes the store forget: its latest past is thrown away with the primary. */
const FORGETS: readonly Harm[] = ["primary"];
/** What makes a worker lose its leases or give them back. */
const LOSES_LEASES: readonly Harm[] = ["worker", "primary", "replica", "sentinel", "memory"];

export function checkDuplicates(history: History): Duplicates {
  const repeated = Object.fromEntries(REASONS.map((reason) => [reason, 0])) as Record<Reason, number>;
  const unexplained: string[] = [];
  let late = 0;
  let starved = 0;
  // What a full store has let go of tells its counts no more.
  const uncounted = history.faults.some(({ harms }) => harms.includes("memory"))
    ? Number.POSITIVE_INFINITY
    : 0;
  const ends = new Map(history.listed.map((task) => [task.id, task]));
  for (const [id, list] of callsByTask(history.calls)) {
    const end = ends.get(id);
    let crashes = end?.crashes ?? uncounted;
    let releases = end?.releases ?? uncounted;
    for (const [before, call] of pairsOf(list)) {
      const span = [
        Math.min(before.arrivedMs, call.arrivedMs),
        Math.max(before.endedMs, call.arrivedMs),
      ] as const;
      const near = (harms: readonly Harm[]) => faultsNear(history, ...span, harms).length > 0;
      if (call.arrivedMs < before.arrivedMs) late++;
      if (call.fence > before.fence && call.attempt > before.attempt) {
        // Only the answer that was lost can make a failure of a call that the target was content with.
        if (before.end !== "ok" || near(["worker", "target"])) repeated["the attempt before failed"]++;
        else unexplained.push(`${describe(before)} was good, and ${describe(call)} followed`);
      } else if (call.fence > before.fence && crashes > 0) {
        crashes--;
        if (!near(LOSES_LEASES)) starved++;
        repeated["its lease ran out"]++;
      } else if (call.fence > before.fence && releases > 0) {
        releases--;
        repeated["it was given back"]++;
      } else if (near(FORGETS) || switchedNear(history, ...span))
        repeated["a failover threw away its claim or its end"]++;
      else unexplained.push(`${describe(call)} followed ${describe(before)}, which nothing explains`);
    }
  }
  return { repeated, starved, late, unexplained };
}

function pairsOf(list: readonly Call[]): [Call, Call][] {
  return list.slice(1).flatMap((call, at) => {
    const before = list[at];
    return before === undefined ? [] : [[before, call] as [Call, Call]];
  });
}

function describe({ id, attempt, fence, end, arrivedMs }: Call): string {
  return `attempt ${attempt} (fence ${fence}, ${end}, at ${new Date(arrivedMs).toISOString()}) of ${id}`;
}
