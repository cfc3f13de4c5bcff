/** A short share of the crash proof in every test run; `bun run soak` is the long one. */

import { expect, test } from "bun:test";
import { killRound, type Victim } from "../soak/kill-round.ts";

const LEASE_SEC = 3;
const ROUNDS: readonly [Victim, number][] = [
  ["all", 11],
  ["work", 12],
  ["serve", 13],
  ["all", 14],
  ["work", 15],
  ["serve", 16],
];

test.each(ROUNDS)(
  "killing %p (seed %p) loses nothing and repeats only what its worker was running",
  async (victim, seed) => {
    const report = await killRound({ victim, seed, leaseSec: LEASE_SEC });
    expect(report.acknowledged).toBeGreaterThan(100);
    expect(report.lost).toEqual([]);
    expect(report.unexplained).toEqual([]);
    expect(report.recoveredMs).toBeLessThan(LEASE_SEC * 1_000 + 2_000);
  },
  60_000,
);
