/** Holds what each step of the stores costs, in commands and bytes, to what was committed: a slow drift would show nowhere else. */

import { expect, test } from "bun:test";
import { committedCosts, measureCosts, TOLERANCE } from "../../bench/costs.ts";

const RENEW = "if this is meant, `bun bench/costs.ts` commits it";

test("no step of a store costs more commands or bytes than was committed, or so much less that it should be", async () => {
  const [committed, measured] = await Promise.all([committedCosts(), measureCosts()]);
  expect(Object.keys(measured), RENEW).toEqual(Object.keys(committed));
  const drifts = Object.entries(measured).flatMap(([step, costs]) =>
    Object.entries(costs).flatMap(([unit, value]) => {
      const before = committed[step]?.[unit] ?? Number.NaN;
      // Bytes vary with the digits of times and numbers; commands do not.
      const slack = unit === "commands" ? 0 : before * TOLERANCE + 8;
      return Math.abs(value - before) <= slack ? [] : [`${step}: ${value} ${unit}, was ${before}`];
    }),
  );
  expect(drifts, RENEW).toEqual([]);
});
