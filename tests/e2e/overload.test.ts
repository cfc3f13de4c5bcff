/** A short share of the overload proof in every test run; `bun run soak --proof overload` is the long one. */

import { expect, test } from "bun:test";
import { MOST_RESIDENT_MIB, overloadRun } from "../soak/overload.ts";

const LIMIT_MS = 90_000;
/** More than any machine takes, so that whatever this one's mood is it must refuse or let wait. */
const FAR_TOO_MANY = { connections: 200, measureMs: 0, perSec: 1_000, overloadMs: 2_500 } as const;

for (const place of ["redis", "embedded"] as const) {
  test(
    `under more than the ${place} store takes, all is acknowledged and kept or refused with a time to come back`,
    async () => {
      const report = await overloadRun({ ...FAR_TOO_MANY, place, batch: 500, stalling: place === "redis" });
      expect(report.odd).toEqual([]);
      expect(report.missing).toBe(0);
      expect(report.acknowledged).toBeGreaterThan(0);
      expect(report.refused + report.refusedItems + report.unsent).toBeGreaterThan(0);
      expect(report.mostResidentMiB).toBeLessThan(MOST_RESIDENT_MIB);
    },
    LIMIT_MS,
  );
}
