/** The calls of a run by task, in the order of their leases, and which of them held no lease any more at some point. */

import type { Call, History } from "../history.ts";

/** Every task's calls, earlier leases first. */
export function callsByTask(calls: readonly Call[]): ReadonlyMap<string, readonly Call[]> {
  const byTask = new Map<string, Call[]>();
  for (const call of calls) {
    const others = byTask.get(call.id);
    if (others === undefined) byTask.set(call.id, [call]);
    else others.push(call);
  }
  for (const list of byTask.values()) {
    list.sort((one, other) => one.fence - other.fence || one.arrivedMs - other.arrivedMs);
  }
  return byTask;
}

/**
 * The calls that held a lease from beginning to end, of which alone a limit speaks: those whose attempt was judged.
 *
 * An attempt that is made again was not judged: the lease of its earlier call was over, taken from a worker that was
 * frozen, cut off or dead, or given in a past of the store that a failover threw away. The target sees such a call for
 * as long as it lasts, but it is stale: a call of the same task with a larger fence, or with the same one where the past
 * was thrown away, tells so. When its lease ended nobody at the target can tell, so that it counts for nothing. The same
 * goes for calls of tasks that nobody was promised and that are gone.
 */
export function soundCalls({ calls, acknowledged }: Pick<History, "calls" | "acknowledged">): Call[] {
  const known = new Set(acknowledged.map(({ id }) => id));
  const sound: Call[] = [];
  for (const [id, list] of callsByTask(calls)) {
    if (!known.has(id)) continue;
    for (const [at, call] of list.entries()) {
      const isStale = list.some(
        (other, place) =>
          place !== at &&
          ((other.attempt <= call.attempt && other.fence >= call.fence) || other.fence === call.fence),
      );
      if (!isStale) sound.push(call);
    }
  }
  return sound;
}
