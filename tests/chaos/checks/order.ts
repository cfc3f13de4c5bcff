/** Checks that tasks of an ordering key ran one after another, in the order in which they were acknowledged. */

import type { Acknowledged, History } from "../history.ts";
import { callsByTask } from "./tasks-of.ts";

/** A line for each task that began before the one before it had come through. */
export function checkOrder({ acknowledged, calls }: History): string[] {
  const byTask = callsByTask(calls);
  const byKey = Map.groupBy(
    acknowledged.filter(({ plan }) => plan.key !== null),
    ({ plan }) => plan.key,
  );
  const wrong: string[] = [];
  for (const [key, tasks] of byKey) {
    const inOrder = [...tasks].sort((one, other) => one.plan.place - other.plan.place);
    for (const [at, next] of inOrder.entries()) {
      const before = inOrder[at - 1];
      if (before === undefined) continue;
      const goodMs = firstOf(before, (id) =>
        (byTask.get(id) ?? []).flatMap((call) => (call.end === "ok" ? call.endedMs : [])),
      );
      const begunMs = firstOf(next, (id) => (byTask.get(id) ?? []).map((call) => call.arrivedMs));
      if (begunMs < goodMs)
        wrong.push(`${next.id}, ${next.plan.place} of ${key}, began before ${before.id} had come through`);
    }
  }
  return wrong;
}

/** Infinity where there is none. */
function firstOf({ id }: Acknowledged, times: (id: string) => readonly number[]): number {
  return Math.min(Number.POSITIVE_INFINITY, ...times(id));
}
