/** All checks of a run's history, and the table in which they are told. */

import type { History } from "../history.ts";
import { METERED_PER_MINUTE, NARROW_AT_ONCE, THIN_AT_ONCE } from "../plans.ts";
import { checkDelivered } from "./delivered.ts";
import { checkDuplicates, REASONS } from "./duplicates.ts";
import { checkLimits } from "./limits.ts";
import { checkNumbers } from "./numbers.ts";
import { checkOrder } from "./order.ts";
import { checkStalls } from "./stalls.ts";

export interface Verdict {
  /** A line for each promise that was not kept. */
  readonly violations: readonly string[];
  /** The report, a line each. */
  readonly table: readonly string[];
}

/** Of each kind of violation so many are told one by one. */
const MOST_TOLD = 10;

/** Judges a run, in which work that was due was to go on within `longestStallMs` of a fault's end. */
export function verdictOn(history: History, longestStallMs: number): Verdict {
  const { acknowledged, unknown, calls, faults, limited, odd, broken } = history;
  const delivered = checkDelivered(history);
  const duplicates = checkDuplicates(history);
  const limits = checkLimits(history);
  const stalls = checkStalls(history);
  const order = checkOrder(history);
  const numbers = checkNumbers(history);
  const stood = faults.flatMap(({ kind, subject, acceptedAfterMs, deliveredAfterMs }) => [
    ...(acceptedAfterMs === null ? [`nothing was accepted after ${kind} (${subject})`] : []),
    ...(deliveredAfterMs === null ? [`nothing was delivered after ${kind} (${subject})`] : []),
  ]);
  const stalled = stalls.afterFaults.flatMap((ms, at) =>
    ms > longestStallMs ? [`nothing was delivered for ${ms} ms after ${faults[at]?.kind}`] : [],
  );
  const repeated = REASONS.map((reason) => `${duplicates.repeated[reason]} for ${reason}`);
  return {
    violations: [
      ...told("lost", delivered.lost),
      ...told("wrong", delivered.wrong),
      ...told("delivered again without a reason", duplicates.unexplained),
      ...told("limit", limits.exceeded),
      ...told("order", order),
      ...told("stood still", [...stood, ...stalled]),
      ...told("odd answer", odd),
      ...told("number", numbers),
      ...told("broken in the store", broken),
    ],
    table: [
      `acknowledged    ${acknowledged.length} (and ${unknown.length} unknown, ${limited} past the minute of their client)`,
      `delivered       ${delivered.delivered}, in ${calls.length} calls`,
      `lost            ${delivered.lost.length}`,
      `delivered again ${repeated.join(", ")}; ` +
        `${duplicates.unexplained.length} without a reason; ${duplicates.starved} leases ran out with no fault near; ${duplicates.late} calls came late`,
      `running at once ${limits.narrow.most} of ${NARROW_AT_ONCE} (client), ${limits.thin.most} of ${THIN_AT_ONCE} (queue); ` +
        `with stale calls ${limits.narrow.withStale} and ${limits.thin.withStale}`,
      `rates           ${limits.metered} of ${METERED_PER_MINUTE} in a minute; the paced queue was ${(-limits.pacedOver).toFixed(1)} tasks below its bound`,
      `out of order    ${order.length}`,
      `longest stall   ${stalls.longestMs} ms after a fault`,
      "",
      ...recoveries(history, stalls.afterFaults),
    ],
  };
}

/** For each kind of fault the longest it took until tasks were accepted, and delivered, again. */
function recoveries({ faults }: History, stalledMs: readonly number[]): string[] {
  const rows = faults.map((fault, at) => ({ ...fault, stalledMs: stalledMs[at] ?? 0 }));
  const kinds = [...Map.groupBy(rows, ({ kind }) => kind)].sort(([one], [other]) => (one < other ? -1 : 1));
  const width = Math.max(5, ...kinds.map(([kind]) => kind.length));
  const longest = (values: readonly (number | null)[]) =>
    (values.includes(null) ? "never" : String(Math.max(...values.map(Number)))).padStart(10);
  return [
    `${"fault".padEnd(width)} times accepting delivering      stall    in step   (longest ms after its end)`,
    ...kinds.map(
      ([kind, list]) =>
        kind.padEnd(width) +
        String(list.length).padStart(6) +
        longest(list.map((each) => each.acceptedAfterMs)) +
        longest(list.map((each) => each.deliveredAfterMs)).padStart(11) +
        longest(list.map((each) => each.stalledMs)).padStart(11) +
        longest(list.map((each) => each.wellMs - each.healedMs)).padStart(11),
    ),
  ];
}

function told(what: string, lines: readonly string[]): string[] {
  const more = lines.length - MOST_TOLD;
  return [
    ...lines.slice(0, MOST_TOLD).map((line) => `${what}: ${line}`),
    ...(more > 0 ? [`${what}: and ${more} more`] : []),
  ];
}
