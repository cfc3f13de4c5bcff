/**
 * The long form of the crash, failover and limit proofs, for a person: `bun run soak --proof all --rounds 10 --seed 1`;
 * and chaos, all faults in turn for so long: `bun run soak --minutes 30 --seed 1`.
 */

import { parseArgs } from "node:util";
import { chaosForMinutes } from "../chaos/main.ts";
import { type Fault, failoverRound, type Level } from "./failover-round.ts";
import { workerDeathRound } from "./failover-worker.ts";
import { HOSTS_PROOFS } from "./held-hosts.ts";
import { killRound, seeded, type Victim } from "./kill-round.ts";
import { LIMITS_PROOFS } from "./limits.ts";
import { METRICS_PROOFS } from "./metrics.ts";
import { OVERLOAD_PROOFS } from "./overload.ts";
import type { Proof, Result } from "./proof.ts";
import { ROLLING_PROOFS } from "./rolling.ts";

const LEASE_SEC = 3;
/** What recovery may take beyond a lease that must run out first. */
const RECOVERY_MS = 2_000;
const LONGEST_REQUEST_MS = 3_000;
/** From Sentinel's switch until tasks are taken and delivered again. */
const BACK_MS = 2_000;
/** For how long a primary stands still: through a whole failover and beyond, or just long enough to meet one. */
const LONG_FREEZE_MS = 20_000;
const SHORTEST_FREEZE_MS = 1_000;
const SHORT_FREEZE_SPREAD_MS = 2_500;

const VICTIMS: readonly Victim[] = ["all", "work", "serve"];
const LEVELS: readonly Level[] = ["store", "processes"];

/** The embedded store: a process dies, and starts again. */
const kill: Proof = async (round, seed) => {
  const victim = VICTIMS[round % VICTIMS.length] ?? "all";
  const report = await killRound({ victim, seed, leaseSec: LEASE_SEC });
  const late = report.recoveredMs > LEASE_SEC * 1_000 + RECOVERY_MS;
  return {
    good: report.lost.length === 0 && report.unexplained.length === 0 && !late,
    line:
      `killed ${victim}: ${report.acknowledged} acknowledged, ${report.lost.length} lost, ` +
      `${report.repeated} repeated of ${report.orphans} running at the kill, ` +
      `${report.unexplained.length} repeated without a reason, recovered in ${report.recoveredMs} ms, ` +
      `${report.refused} refused while down`,
  };
};

/** Redis and Sentinel: a fault happens to the primary; the rounds go by turns to the store and to processes. */
async function failover(fault: Fault, round: number, seed: number, frozenMs = 0): Promise<Result> {
  const level = LEVELS[round % LEVELS.length] ?? "store";
  const report = await failoverRound({ fault, level, seed, leaseSec: LEASE_SEC, frozenMs });
  const { lost, unexplained, odd, longestRequestMs, acceptedAgainMs, deliveredAgainMs } = report;
  const isLate = (ms: number | null) => ms !== null && ms > BACK_MS;
  const again = (ms: number | null) => (ms === null ? "" : ` (${ms} ms after the switch)`);
  const reasons = Object.entries(report.repeated).map(([reason, count]) => `${count} for ${reason}`);
  return {
    good:
      lost.length + unexplained.length + odd.length === 0 &&
      longestRequestMs <= LONGEST_REQUEST_MS &&
      !isLate(acceptedAgainMs) &&
      !isLate(deliveredAgainMs),
    line:
      `${fault}${frozenMs > 0 ? ` ${frozenMs} ms` : ""} on ${level}: ${report.acknowledged} acknowledged, ` +
      `${report.delivered} delivered, ${lost.length} lost, repeated ${reasons.join(", ")}, ` +
      `${unexplained.length} without a reason; ${report.refused} refused, ${odd.length} odd answers` +
      `${odd.length > 0 ? ` (${odd[0]})` : ""}, longest request ${longestRequestMs} ms, no acknowledgement for ` +
      `${report.outageMs} ms${again(acceptedAgainMs)}, next delivery ${deliveredAgainMs} ms after it`,
  };
}

const worker: Proof = async (_round, seed) => {
  const report = await workerDeathRound(seed, LEASE_SEC);
  const late = report.recoveredMs > LEASE_SEC * 1_000 + RECOVERY_MS;
  return {
    good: report.lost.length + report.charged.length + report.unexplained.length === 0 && !late,
    line:
      `worker: ${report.held} tasks held by the dead one, ${report.lost.length} lost, ${report.charged.length} ` +
      `charged, ${report.unexplained.length} repeated without a reason, recovered in ${report.recoveredMs} ms`,
  };
};

const PROOFS: Readonly<Record<string, readonly Proof[]>> = {
  kill: [kill],
  failover: [
    (round, seed) => failover("kill", round, seed),
    (round, seed) => failover("cut", round, seed),
    (round, seed) => failover("by-hand", round, seed),
    (round, seed) => failover("restart-all", round, seed),
  ],
  "stale-primary": [
    (round, seed) => failover("freeze", round, seed, LONG_FREEZE_MS),
    (round, seed) => {
      const frozenMs = SHORTEST_FREEZE_MS + Math.round(seeded(seed)() * SHORT_FREEZE_SPREAD_MS);
      return failover("freeze", round, seed, frozenMs);
    },
  ],
  worker: [worker],
  ...LIMITS_PROOFS,
  ...HOSTS_PROOFS,
  ...ROLLING_PROOFS,
  ...OVERLOAD_PROOFS,
  ...METRICS_PROOFS,
  limits: Object.values(LIMITS_PROOFS).flat(),
};
/** Rounds where nobody says: the proofs of limits, of hosts and those that follow them take minutes, and depend little on the moment. */
const ROUNDS = 20;
const LIMITS_ROUNDS = 1;

const { values } = parseArgs({
  options: {
    proof: { type: "string", default: "kill" },
    rounds: { type: "string" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string" },
  },
});
const minutes = values.minutes === undefined ? null : Number(values.minutes);
const rounds = Number(
  values.rounds ?? (/^(?:limits|hosts|rolling|metrics|overload)/.test(values.proof) ? LIMITS_ROUNDS : ROUNDS),
);
const firstSeed = Number(values.seed);
const chosen = values.proof === "all" ? [...new Set(Object.values(PROOFS).flat())] : PROOFS[values.proof];
if (
  chosen === undefined ||
  !Number.isInteger(rounds) ||
  rounds < 1 ||
  rounds > 10_000 ||
  !Number.isInteger(firstSeed) ||
  (minutes !== null && !(minutes > 0 && minutes <= 1_440))
) {
  const names = [...Object.keys(PROOFS), "all"].join("|");
  console.error(`usage: bun run soak [--proof ${names}] [--rounds 1..10000] [--seed INTEGER]`);
  console.error("   or: bun run soak --minutes 1..1440 [--seed INTEGER]");
  process.exit(2);
}

// Servers that a round has started end with this process, which a signal alone would not see to.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

if (minutes !== null) process.exit((await chaosForMinutes(minutes, firstSeed)) ? 0 : 1);

let passed = 0;
let failed = 0;
for (let round = 0; round < rounds; round++) {
  for (const prove of chosen) {
    const seed = firstSeed + round;
    const { good, line } = await prove(round, seed);
    if (good) passed++;
    else failed++;
    console.log(`${good ? "ok  " : "FAIL"} seed ${seed} ${line}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
