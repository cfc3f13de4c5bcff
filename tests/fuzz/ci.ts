/** Runs a share of a fuzzing part as a test: with a seed that stays, and with one of its own every time. */

import { expect, test } from "bun:test";
import type { Job, Report } from "./cases.ts";

/** The seed that stays. */
const FIXED = 20_261_122;
/** Of one part; what it takes alone is a tenth of it. */
const TIMEOUT_MS = 120_000;

/** FUZZ_SEED runs the varying share once more as it was. */
function varyingSeed(): number {
  return Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
}

/** Declares two tests of a part; `cases` are those of each. */
export function fuzzTests(
  part: string,
  cases: number,
  run: (job: Job, isFixed: boolean) => Promise<Report>,
): void {
  const ran = async (seed: number, isFixed: boolean) => {
    const { counts, findings } = await run({ cases, seed, progress: () => {} }, isFixed);
    const told = findings.map(
      ({ what, why, example, seed: own }) => `${what}, seed ${own}: ${why}\n${example}`,
    );
    expect(told).toEqual([]);
    // A part that ran nothing would find nothing.
    for (const [what, count] of counts) expect(`${what}: ${count > 0}`).toBe(`${what}: true`);
    expect(counts.size).toBeGreaterThan(0);
  };
  test(`${part}: cases of a seed that stays hold`, () => ran(FIXED, true), TIMEOUT_MS);
  test(
    `${part}: cases of a new seed hold`,
    async () => {
      const seed = varyingSeed();
      console.log(`${part}: FUZZ_SEED=${seed}`);
      await ran(seed, false);
    },
    TIMEOUT_MS,
  );
}
