/** Holds what the target saw against the limits: running at once, requests a minute, tasks begun a second. */

import type { Call, FaultRecord, History } from "../history.ts";
import { METERED_PER_MINUTE, NARROW_AT_ONCE, PACED_BURST, PACED_PER_SEC, THIN_AT_ONCE } from "../plans.ts";
import { soundCalls } from "./tasks-of.ts";

export interface Limits {
  /** The most that ran at once, calls whose lease was over left out; and with them. */
  readonly narrow: { readonly most: number; readonly withStale: number };
  readonly thin: { readonly most: number; readonly withStale: number };
  /** The most requests that were surely admitted within a minute. */
  readonly metered: number;
  /** How many more tasks of the paced queue began than its burst and its rate allow, at worst; below 0 for room left. */
  readonly pacedOver: number;
  readonly exceeded: readonly string[];
}

const MINUTE_MS = 60_000;
/** A call may reach the target so much later than another that was claimed at the same time. */
const WAY_MS = 1_500;

export function checkLimits(history: History): Limits {
  const { calls } = history;
  const sound = soundCalls(history);
  const ofNarrow = ({ client }: Call) => client === "narrow";
  const ofThin = ({ queue }: Call) => queue === "thin";
  const narrow = {
    most: mostAtOnce(sound.filter(ofNarrow)),
    withStale: mostAtOnce(calls.filter(ofNarrow)),
  };
  const thin = { most: mostAtOnce(sound.filter(ofThin)), withStale: mostAtOnce(calls.filter(ofThin)) };
  const metered = mostInAMinute(history);
  const pacedOver = mostOver(
    sound.filter(({ queue }) => queue === "paced"),
    history.faults,
  );
  const exceeded: string[] = [];
  if (narrow.most > NARROW_AT_ONCE) exceeded.push(`${narrow.most} tasks of the client narrow ran at once`);
  if (thin.most > THIN_AT_ONCE) exceeded.push(`${thin.most} tasks of the queue thin ran at once`);
  if (metered > METERED_PER_MINUTE) exceeded.push(`${metered} requests of the client metered in a minute`);
  if (pacedOver > 0) exceeded.push(`${pacedOver.toFixed(1)} tasks of the queue paced began too soon`);
  return { narrow, thin, metered, pacedOver, exceeded };
}

/** The most calls that were open at the same time. One that ends in the millisecond in which another comes made room. */
export function mostAtOnce(calls: readonly Call[]): number {
  const steps = calls.flatMap(({ arrivedMs, endedMs }) => [
    [arrivedMs, 1] as const,
    // What ends at once was there all the same.
    [Math.max(endedMs, arrivedMs + 0.5), -1] as const,
  ]);
  steps.sort(([one, up], [other, down]) => one - other || up - down);
  let open = 0;
  let most = 0;
  for (const [, by] of steps) {
    open += by;
    most = Math.max(most, open);
  }
  return most;
}

/** A request was admitted between its first sending and its acknowledgement, so only those wholly inside count. */
function mostInAMinute({ acknowledged }: History): number {
  const own = acknowledged.filter(({ plan }) => plan.client === "metered");
  let most = 0;
  for (const { firstSentMs: fromMs } of own) {
    const inside = own.filter((one) => one.firstSentMs >= fromMs && one.ackedMs <= fromMs + MINUTE_MS);
    most = Math.max(most, inside.length);
  }
  return most;
}

/**
 * How far any span of time went past burst and rate. A fault may hold calls back on their way, and a failover gives back
 * what its past had used: each fault in a span allows for its own length and one burst more, and none begins in one.
 */
function mostOver(calls: readonly Call[], faults: readonly FaultRecord[]): number {
  const sorted = [...calls].sort((one, other) => one.arrivedMs - other.arrivedMs);
  const extraAt = (atMs: number) =>
    faults.reduce(
      (sum, { beganMs, wellMs }) =>
        sum + (beganMs <= atMs ? wellMs - beganMs + (PACED_BURST / PACED_PER_SEC) * 1_000 : 0),
      0,
    );
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const [index, { arrivedMs }] of sorted.entries()) {
    const allowed = (PACED_PER_SEC * (arrivedMs + extraAt(arrivedMs))) / 1_000;
    const isInFault = faults.some(
      ({ beganMs, wellMs }) => beganMs - WAY_MS <= arrivedMs && arrivedMs <= wellMs + WAY_MS,
    );
    if (!isInFault) least = Math.min(least, index - allowed);
    most = Math.max(most, index + 1 - allowed - least);
  }
  return most - PACED_BURST - (PACED_PER_SEC * WAY_MS) / 1_000;
}
