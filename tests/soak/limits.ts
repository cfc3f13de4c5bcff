/** The long forms of the limit proofs: how long and how large each is, and what counts as kept. */

import { authProof } from "./limits-auth.ts";
import { changesProof } from "./limits-changes.ts";
import { fairnessProof, OTHERS } from "./limits-fairness.ts";
import type { Place } from "./limits-fleet.ts";
import { type Latencies, pauseProof, purgeProof } from "./limits-purge.ts";
import { FREE_A_MINUTE, type RateReport, rateSoak } from "./limits-rate.ts";
import { PREMIUM_AT_ONCE, type RunningOptions, runningProof } from "./limits-running.ts";
import type { Proof, Result } from "./proof.ts";

const MINUTES = 3;
const MINUTE_MS = 60_000;
/** What a caller who comes back when told to may be early or late by: seconds are whole, and callers rest. */
const PROMISE_EARLY_MS = 1_000;
const PROMISE_LATE_MS = 1_500;
const LEASE_SEC = 3;
/** From a kill until its slots are taken again, beyond the lease. */
const SLOTS_BACK_MS = 3_000;
const RUNNING_TASKS = 10_000;
const KILL_FOR_MS = 60_000;
const MANY = 1_000_000;
/** A turn is one task, so that the others are done after about as many deliveries as they have tasks. */
export const MOST_DELIVERIES = 2.5 * OTHERS;
const OTHERS_WITHIN_MS = 2_000;
/** Until an enabled client, or a resumed queue, goes on. */
export const AT_ONCE_MS = 1_000;
const PURGE_MS = 10 * MINUTE_MS;

const rate: Proof = async (_round, seed) => {
  const { burst, spread, patient } = await rateSoak(seed, MINUTES);
  const toldSec = patient.toldSec.join(", ");
  return {
    good: isKept(burst) && isKept(spread) && patient.accepted === MINUTES * FREE_A_MINUTE,
    line:
      `rate: at once ${rateLine(burst)}; spread ${rateLine(spread)}; ` +
      `one who came back when told to (after ${toldSec} s): ${patient.accepted} accepted`,
  };
};

function isKept({ minutes, fullestMinute, tightestMs, odd, promisedLessActualMs }: RateReport): boolean {
  const [least, most] = promisedLessActualMs ?? [Number.NaN, Number.NaN];
  return (
    minutes.length >= MINUTES &&
    minutes.slice(0, MINUTES).every((count) => Math.abs(count - FREE_A_MINUTE) <= 1) &&
    fullestMinute === FREE_A_MINUTE &&
    (tightestMs ?? 0) >= MINUTE_MS &&
    odd.length === 0 &&
    least >= -PROMISE_EARLY_MS &&
    most <= PROMISE_LATE_MS
  );
}

function rateLine({
  tried,
  minutes,
  fullestMinute,
  tightestMs,
  odd,
  promisedLessActualMs,
}: RateReport): string {
  return (
    `${minutes.join("+")} a minute of ${tried} tried, at most ${fullestMinute} in any, the tenth after one ` +
    `${tightestMs} ms later at least, Retry-After off by ${promisedLessActualMs?.join(" to ")} ms, ` +
    `${odd.length} odd answers${odd.length > 0 ? ` (${odd[0]})` : ""}`
  );
}

async function running(options: RunningOptions): Promise<Result> {
  const report = await runningProof(options);
  const { peakBefore, peakAfter, peakTold, slotsBackMs, disagreed } = report;
  const most = Math.max(peakBefore, peakAfter, peakTold);
  return {
    good:
      most === PREMIUM_AT_ONCE &&
      (slotsBackMs ?? 0) <= options.leaseSec * 1_000 + SLOTS_BACK_MS &&
      report.undelivered === 0 &&
      disagreed.length === 0 &&
      report.runningAtEnd === 0,
    line:
      `running: at most ${peakBefore} at once before and ${peakAfter} after ${report.kills} kills, ${peakTold} told; ` +
      `${report.cutOff} cut off, ${slotsBackMs === null ? "" : `their slots back after ${slotsBackMs} ms, `}` +
      `${report.tasks} tasks in ${report.tookMs} ms, ${report.undelivered} undelivered, ${report.repeated} deliveries ` +
      `repeated; counts agreed ${report.agreed} times and ${disagreed.length} times not` +
      `${disagreed.length > 0 ? ` (${disagreed[0]})` : ""}, ${report.runningAtEnd} running at the end`,
  };
}

const twoKilled: Proof = (_round, seed) =>
  running({ tasks: RUNNING_TASKS, leaseSec: LEASE_SEC, seed, killing: "two" });

const killedAllAlong: Proof = (_round, seed) =>
  running({ tasks: RUNNING_TASKS, leaseSec: LEASE_SEC, seed, killing: { forMs: KILL_FOR_MS } });

async function fairness(place: Place): Promise<Result> {
  const report = await fairnessProof({ place, waiting: MANY });
  const { deliveriesUntilLast, lastAfterMs, undelivered } = report;
  return {
    good: undelivered === 0 && deliveriesUntilLast <= MOST_DELIVERIES && lastAfterMs <= OTHERS_WITHIN_MS,
    line:
      `fairness on ${place}: ${report.waiting} of one client waiting (filled at ${report.filledPerSec}/s), ` +
      `${OTHERS - undelivered} of ${OTHERS} others delivered, the last ${lastAfterMs} ms after they were handed in ` +
      `and among ${deliveriesUntilLast} deliveries`,
  };
}

const auth: Proof = async () => {
  const { tried, letIn, statuses, unchanged, shutOut, leaks, outputChars } = await authProof();
  const wrong = [...letIn, ...shutOut, ...leaks];
  const counts = Object.entries(statuses).map(([status, count]) => `${count} answered ${status}`);
  return {
    good: wrong.length === 0 && unchanged,
    line:
      `auth: ${tried} requests with wrong keys, ${counts.join(", ")}, ${letIn.length} got through, the store ` +
      `${unchanged ? "as before" : "CHANGED"}; ${shutOut.length} refused with the right key; ${leaks.length} parts of ` +
      `keys in ${outputChars} characters of output${wrong.length > 0 ? ` (${wrong[0]})` : ""}`,
  };
};

const changes: Proof = async () => {
  const report = await changesProof();
  const { atOnce, whileDisabled, whileLimited, raisedAfterMs, resumedAfterMs, begunWhileDisabled } = report;
  return {
    good:
      whileDisabled.join() === "403,client_disabled" &&
      whileLimited.join() === "429,rate_limited" &&
      begunWhileDisabled + report.undelivered === 0 &&
      report.waitingWhileDisabled > 0 &&
      raisedAfterMs < AT_ONCE_MS &&
      resumedAfterMs < AT_ONCE_MS &&
      report.afterwards === 202,
    line:
      `changes: from ${atOnce.join(" to ")} at once in ${raisedAfterMs} ms; disabled through one API, the other said ` +
      `${whileDisabled.join(" ")} and ${begunWhileDisabled} of ${report.waitingWhileDisabled} waiting were begun; ` +
      `enabled, they went on in ${resumedAfterMs} ms, ${report.undelivered} undelivered; ` +
      `without requests left ${whileLimited.join(" ")}, then ${report.afterwards}`,
  };
};

async function pause(place: Place): Promise<Result> {
  const { waiting, begun, resumedAfterMs, undelivered } = await pauseProof(place);
  return {
    good: waiting > 0 && begun + undelivered === 0 && resumedAfterMs < AT_ONCE_MS,
    line:
      `pause on ${place}: ${begun} of ${waiting} waiting were begun while paused, they went on ${resumedAfterMs} ms ` +
      `after the request to resume, ${undelivered} undelivered`,
  };
}

async function purge(place: Place): Promise<Result> {
  const report = await purgeProof(place, MANY, PURGE_MS);
  const { progress, left, handedInLater, delivered, odd } = report;
  return {
    good: isRising(progress) && left === handedInLater && delivered === handedInLater && odd.length === 0,
    line:
      `purge on ${place}: ${report.tasks} tasks (filled at ${report.filledPerSec}/s) gone in ${report.tookMs} ms, ` +
      `${progress.length} different reports of progress; ${handedInLater} handed in later, ${left} of them left, ` +
      `${delivered} delivered; meanwhile ready ${latencyLine(report.ready)}, enqueue ${latencyLine(report.enqueue)}, ` +
      `${report.deliveredMeanwhile} of another queue delivered, ${odd.length} odd answers` +
      `${odd.length > 0 ? ` (${odd[0]})` : ""}`,
  };
}

/** Whether progress was told more than once, and never went back. */
export function isRising(progress: readonly { readonly removed: number; readonly share: number }[]): boolean {
  return (
    progress.length > 1 &&
    progress.every(({ removed, share }, index) => {
      const before = progress[index - 1] ?? { removed: 0, share: 0 };
      return removed >= before.removed && share >= before.share && share <= 1;
    })
  );
}

function latencyLine({ requests, p50Ms, p99Ms, mostMs }: Latencies): string {
  return `p50 ${p50Ms} p99 ${p99Ms} most ${mostMs} ms of ${requests}`;
}

/** By the name that the command line takes. */
export const LIMITS_PROOFS = {
  "limits-rate": [rate],
  "limits-running": [twoKilled, killedAllAlong],
  "limits-fairness": [() => fairness("redis"), () => fairness("embedded")],
  "limits-auth": [auth],
  "limits-changes": [changes],
  "limits-queues": [
    () => pause("redis"),
    () => pause("embedded"),
    () => purge("redis"),
    () => purge("embedded"),
  ],
} satisfies Readonly<Record<string, readonly Proof[]>>;
