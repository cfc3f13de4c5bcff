/** The long form of the crash proof, for a person: `bun run soak --rounds 20 --seed 1`. */

import { parseArgs } from "node:util";
import { killRound, type Victim } from "./kill-round.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "20" }, seed: { type: "string", default: "1" } },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
if (!Number.isInteger(rounds) || rounds < 1 || rounds > 10_000 || !Number.isInteger(seed)) {
  console.error("usage: bun run soak [--rounds 1..10000] [--seed INTEGER]");
  process.exit(2);
}

const LEASE_SEC = 3;
const VICTIMS: readonly Victim[] = ["all", "work", "serve"];
let failed = 0;
for (let round = 0; round < rounds; round++) {
  const victim = VICTIMS[round % VICTIMS.length] ?? "all";
  const report = await killRound({ victim, seed: seed + round, leaseSec: LEASE_SEC });
  const late = report.recoveredMs > LEASE_SEC * 1_000 + 2_000;
  const good = report.lost.length === 0 && report.unexplained.length === 0 && !late;
  if (!good) failed++;
  console.log(
    `${good ? "ok  " : "FAIL"} seed ${seed + round} killed ${victim}: ${report.acknowledged} acknowledged, ` +
      `${report.lost.length} lost, ${report.repeated} repeated of ${report.orphans} running at the kill, ` +
      `${report.unexplained.length} repeated without a reason, recovered in ${report.recoveredMs} ms, ` +
      `${report.refused} refused while down`,
  );
}
console.log(`${rounds - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
