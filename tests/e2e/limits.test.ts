/** A short share of the limit proofs in every test run; `bun run soak --proof limits` is the long one. */

import { describe, expect, test } from "bun:test";
import { AT_ONCE_MS, isRising, MOST_DELIVERIES } from "../soak/limits.ts";
import { authProof } from "../soak/limits-auth.ts";
import { changesProof } from "../soak/limits-changes.ts";
import { fairnessProof } from "../soak/limits-fairness.ts";
import type { Place } from "../soak/limits-fleet.ts";
import { pauseProof, purgeProof } from "../soak/limits-purge.ts";
import { FREE_A_MINUTE, rateBurst } from "../soak/limits-rate.ts";
import { PREMIUM_AT_ONCE, runningProof } from "../soak/limits-running.ts";

const LIMIT_MS = 60_000;
const LEASE_SEC = 3;
const MANY = 20_000;
const PURGE_MS = 30_000;
const PLACES: readonly Place[] = ["redis", "embedded"];

test(
  "of two hundred tasks that twenty callers hand in through three processes, a free client's ten are taken",
  async () => {
    const report = await rateBurst();
    expect(report.tried).toBe(200);
    expect(report.minutes).toEqual([FREE_A_MINUTE]);
    expect(report.odd).toEqual([]);
  },
  LIMIT_MS,
);

test(
  "three workers never run more than a client may, and a killed worker's slots come back with its leases",
  async () => {
    const report = await runningProof({ tasks: 600, leaseSec: LEASE_SEC, seed: 31, killing: "two" });
    expect([report.peakBefore, report.peakAfter, report.peakTold]).toEqual(Array(3).fill(PREMIUM_AT_ONCE));
    expect(report.cutOff).toBeGreaterThan(0);
    expect(report.slotsBackMs).toBeLessThan(LEASE_SEC * 1_000 + 3_000);
    expect(report.repeated).toBe(report.cutOff);
    expect(report.undelivered).toBe(0);
    expect(report.agreed).toBeGreaterThan(0);
    expect(report.disagreed).toEqual([]);
    expect(report.runningAtEnd).toBe(0);
  },
  LIMIT_MS,
);

test(
  "a change made through one process holds for the next request of another, and for the next claim",
  async () => {
    const report = await changesProof();
    expect(report.atOnce).toEqual([4, 9]);
    expect(report.raisedAfterMs).toBeLessThan(AT_ONCE_MS);
    expect(report.whileDisabled).toEqual([403, "client_disabled"]);
    expect(report.begunWhileDisabled).toBe(0);
    expect(report.waitingWhileDisabled).toBe(31);
    expect(report.resumedAfterMs).toBeLessThan(AT_ONCE_MS);
    expect(report.undelivered).toBe(0);
    expect(report.whileLimited).toEqual([429, "rate_limited"]);
    expect(report.afterwards).toBe(202);
  },
  LIMIT_MS,
);

test(
  "no request with a wrong key gets through, changes anything, or has a part of a key written",
  async () => {
    const report = await authProof();
    expect(report.tried).toBeGreaterThan(100);
    expect(report.letIn).toEqual([]);
    expect(report.unchanged).toBe(true);
    expect(report.leaks).toEqual([]);
    expect(report.outputChars).toBeGreaterThan(0);
    // With the right keys the same requests are answered: it was the keys that were refused.
    expect(report.shutOut).toEqual([]);
  },
  LIMIT_MS,
);

describe.each(PLACES)("on the %s store", (place) => {
  test(
    "a thousand clients with one task each do not wait for one with very many",
    async () => {
      const report = await fairnessProof({ place, waiting: MANY });
      expect(report.undelivered).toBe(0);
      expect(report.deliveriesUntilLast).toBeLessThan(MOST_DELIVERIES);
    },
    LIMIT_MS,
  );

  test(
    "a paused queue hands nothing out, and goes on at once when it is resumed",
    async () => {
      const report = await pauseProof(place);
      expect(report.waiting).toBeGreaterThan(0);
      expect(report.begun).toBe(0);
      expect(report.resumedAfterMs).toBeLessThan(AT_ONCE_MS);
      expect(report.undelivered).toBe(0);
    },
    LIMIT_MS,
  );

  test(
    "a purge removes what waited and nothing later, tells how far it is, and keeps nobody waiting",
    async () => {
      const report = await purgeProof(place, MANY, PURGE_MS);
      expect(isRising(report.progress)).toBe(true);
      expect(report.left).toBe(report.handedInLater);
      expect(report.delivered).toBe(report.handedInLater);
      expect(report.odd).toEqual([]);
      expect(report.ready.requests).toBeGreaterThan(1);
      expect(report.enqueue.requests).toBeGreaterThan(1);
      expect(report.deliveredMeanwhile).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});
