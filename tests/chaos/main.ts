/** A chaos run for a person: minutes of faults by a seed, then the table; what went wrong is kept in files. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { verdictOn } from "./checks/verdict.ts";
import { chaosRun } from "./run.ts";

const PER_SEC = 250;
/** Work that is due goes on within this time of a fault's end. */
const LONGEST_STALL_MS = 10_000;

/** Runs and prints; whether every promise was kept. */
export async function chaosForMinutes(minutes: number, seed: number): Promise<boolean> {
  const beganAt = performance.now();
  const tell = (line: string) => {
    console.log(`${((performance.now() - beganAt) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
  };
  const run = await chaosRun({ seed, perSec: PER_SEC, acks: 1, faults: { forMs: minutes * 60_000 }, tell });
  try {
    const { violations, table } = verdictOn(run.history, LONGEST_STALL_MS);
    const where = run.whyNotIsolated === null ? "in namespaces" : `on loopback: ${run.whyNotIsolated}`;
    console.log(`\nseed ${seed}, ${minutes} minutes, ${where}; longest answer ${run.longestAnswerMs} ms`);
    for (const line of table) console.log(line);
    for (const line of violations) console.log(`FAIL ${line}`);
    if (violations.length > 0) {
      await run.keep();
      const report = join(run.dir, "report.json");
      await writeFile(report, JSON.stringify({ violations, faults: run.history.faults }, null, 2));
      await writeFile(join(run.dir, "history.json"), JSON.stringify(run.history));
      console.log(`seed ${seed}: violations and faults are in ${report}, beside the logs of all processes`);
    }
    return violations.length === 0;
  } finally {
    await run.close();
  }
}
