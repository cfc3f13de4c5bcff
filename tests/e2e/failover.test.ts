/** A short share of the failover proofs in every test run; `bun run soak --proof failover` and its kin are the long ones. */

import { expect, test } from "bun:test";
import type { RoundReport } from "../soak/failover-books.ts";
import { type Fault, failoverRound, type Level } from "../soak/failover-round.ts";
import { workerDeathRound } from "../soak/failover-worker.ts";

const LEASE_SEC = 2;
const LONGEST_REQUEST_MS = 3_000;
const BACK_MS = 2_000;
const LIMIT_MS = 60_000;

function expectPromised(report: RoundReport): void {
  expect(report.acknowledged).toBeGreaterThan(500);
  expect(report.lost).toEqual([]);
  expect(report.unexplained).toEqual([]);
  expect(report.odd).toEqual([]);
  expect(report.longestRequestMs).toBeLessThanOrEqual(LONGEST_REQUEST_MS);
  // Without a switch there is nothing to come back from.
  expect(report.acceptedAgainMs ?? 0).toBeLessThanOrEqual(BACK_MS);
  expect(report.deliveredAgainMs ?? 0).toBeLessThanOrEqual(BACK_MS);
}

const ROUNDS: readonly [string, Fault, Level, number, number][] = [
  ["is killed after its replicas stood still", "kill", "store", 21, 0],
  ["is killed after its replicas were cut off", "cut", "processes", 22, 0],
  // It wakes while it is being replaced, and a replica that does not know yet goes on confirming its writes.
  ["stands still just long enough to be deposed", "freeze", "store", 23, 1_500],
];

test.concurrent.each(ROUNDS)(
  "nothing acknowledged is lost with a primary that %s (%s, %s, seed %p)",
  async (_what, fault, level, seed, frozenMs) => {
    expectPromised(await failoverRound({ fault, level, seed, leaseSec: LEASE_SEC, frozenMs }));
  },
  LIMIT_MS,
);

test(
  "nothing acknowledged is lost with a primary that stands still and comes back as a stale one",
  async () => {
    expectPromised(
      await failoverRound({
        fault: "freeze",
        level: "processes",
        seed: 24,
        leaseSec: LEASE_SEC,
        frozenMs: 6_000,
      }),
    );
  },
  LIMIT_MS,
);

test(
  "a worker killed in the middle of its batch leaves tasks that run elsewhere in time, at no charge",
  async () => {
    const report = await workerDeathRound(25, LEASE_SEC);
    expect(report.held).toBe(20);
    expect(report.lost).toEqual([]);
    expect(report.charged).toEqual([]);
    expect(report.unexplained).toEqual([]);
    expect(report.recoveredMs).toBeLessThan(LEASE_SEC * 1_000 + 2_000);
  },
  LIMIT_MS,
);
