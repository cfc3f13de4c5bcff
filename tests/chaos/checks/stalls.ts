/** Finds the times at which tasks that no limit held were due and none was delivered. */

import type { FaultRecord, History, TaskKind } from "../history.ts";

/** A time without a delivery, though one was due. */
export interface Stall {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Stalls {
  /** For each fault in order, the longest stall from its end until the next one began. */
  readonly afterFaults: readonly number[];
  /** The longest of them. */
  readonly longestMs: number;
}

const UNLIMITED: readonly TaskKind[] = ["plain", "batch", "slow", "delayed"];

export function checkStalls(history: History): Stalls {
  const stalls = stallsOf(history);
  const { faults, endedMs } = history;
  const afterFaults = faults.map((fault, at) => {
    const untilMs = faults[at + 1]?.beganMs ?? endedMs;
    return Math.max(0, ...stalls.map((stall) => overlapMs(stall, fault, untilMs)));
  });
  return { afterFaults, longestMs: Math.max(0, ...afterFaults) };
}

function overlapMs(stall: Stall, { healedMs }: FaultRecord, untilMs: number): number {
  return Math.min(stall.toMs, untilMs) - Math.max(stall.fromMs, healedMs);
}

export function stallsOf({ acknowledged, calls, endedMs }: History): Stall[] {
  const firstMs = new Map<string, number>();
  for (const { id, arrivedMs } of calls) firstMs.set(id, Math.min(arrivedMs, firstMs.get(id) ?? arrivedMs));
  const steps: { atMs: number; by: number }[] = calls.map(({ arrivedMs }) => ({ atMs: arrivedMs, by: 0 }));
  for (const { id, plan, ackedMs } of acknowledged) {
    if (!UNLIMITED.includes(plan.kind)) continue;
    const firstCallMs = firstMs.get(id) ?? Number.POSITIVE_INFINITY;
    const dueMs = Math.min(ackedMs + plan.delayMs, firstCallMs);
    steps.push({ atMs: dueMs, by: 1 });
    if (firstCallMs < Number.POSITIVE_INFINITY) steps.push({ atMs: firstCallMs, by: -1 });
  }
  // Of what happens at once, a task falls due before it is called.
  steps.sort((one, other) => one.atMs - other.atMs || other.by - one.by);
  const stalls: Stall[] = [];
  let due = 0;
  let sinceMs = 0;
  for (const { atMs, by } of [...steps, { atMs: endedMs, by: 0 }]) {
    if (due > 0 && by <= 0 && atMs > sinceMs) stalls.push({ fromMs: sinceMs, toMs: atMs });
    if (by <= 0 || due === 0) sinceMs = atMs;
    due += by;
  }
  return stalls;
}
