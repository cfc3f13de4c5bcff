/** The short share of the chaos runs: a few faults on real processes, and no promise broken. */

import { expect, test } from "bun:test";
import { verdictOn } from "./checks/verdict.ts";
import { chaosRun } from "./run.ts";

const SEED = 20_301;
const PER_SEC = 120;
/** Several times what the long runs allow, for this one shares its machine with other tests. */
const LONGEST_STALL_MS = 35_000;
/** Those that cost most promises if anything is wrong; the long runs have all of them, in all orders. */
const ROUNDS = [
  ["kill worker", "kill primary"],
  ["freeze worker"],
  ["cut primary from all"],
  ["cut api from redis", "dropping target"],
  ["disk full"],
  ["roll workers", "freeze replica"],
];
/** Several times what it takes. */
const TIMEOUT_MS = 300_000;

test(
  "processes that are killed, frozen and cut off lose no acknowledged task and exceed no limit",
  async () => {
    const steps: string[] = [];
    const run = await chaosRun({
      seed: SEED,
      perSec: PER_SEC,
      acks: 2,
      faults: { rounds: ROUNDS },
      tell: (line) => steps.push(line),
    });
    try {
      const { violations, table } = verdictOn(run.history, LONGEST_STALL_MS);
      console.log([`seed ${SEED}`, ...steps, ...table].join("\n"));
      if (violations.length > 0) await run.keep();
      expect(run.history.acknowledged.length).toBeGreaterThan(1_000);
      expect(run.history.faults.length).toBeGreaterThan(2);
      expect(violations, `seed ${SEED}, kept in ${run.dir}`).toEqual([]);
    } finally {
      await run.close();
    }
  },
  TIMEOUT_MS,
);
