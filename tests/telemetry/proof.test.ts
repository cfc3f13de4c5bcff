/** A share of the proof of the metrics in every test run; `bun run soak --proof metrics` is the one of 100,000 tasks. */

import { expect, test } from "bun:test";
import { metricsProof } from "../soak/metrics.ts";

const TASKS = 2_000;
const LIMIT_MS = 120_000;

for (const place of ["redis", "embedded"] as const) {
  test(
    `after ${TASKS} tasks of every fate all processes on ${place} tell what was sent, by bounded labels`,
    async () => {
      const report = await metricsProof({ place, tasks: TASKS, withinMs: LIMIT_MS / 2 });
      expect(report.wrong).toEqual([]);
      expect(report.unbounded).toEqual([]);
    },
    LIMIT_MS,
  );
}
