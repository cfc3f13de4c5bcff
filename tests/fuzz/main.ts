/** `bun run fuzz --cases N --seed S [--part NAME]`: runs the fuzzing parts at length, and tells how to see each fault again. */

import { parseArgs } from "node:util";
import type { Job, Report } from "./cases.ts";
import { PARTS, type PartName } from "./parts.ts";

const USAGE = `usage: bun run fuzz [--cases N] [--seed S] [--part ${Object.keys(PARTS).join("|")}]`;
const DEFAULT_CASES = 10_000;
const PROGRESS_EVERY_MS = 5_000;

const { values } = parseArgs({
  options: { cases: { type: "string" }, seed: { type: "string" }, part: { type: "string" } },
});
const total = numberOf(values.cases, DEFAULT_CASES);
const seed = numberOf(values.seed, Date.now() % 1_000_000_000);
const names = values.part === undefined ? (Object.keys(PARTS) as PartName[]) : [partOf(values.part)];
const shares = names.reduce((sum, name) => sum + PARTS[name].share, 0);

// So that what was started ends with a run that is broken off.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
console.log(`seed ${seed}`);
let faults = 0;
let ran = 0;
for (const name of names) {
  const { share, run } = PARTS[name];
  const startedMs = performance.now();
  const report = await run(jobOf(name, Math.ceil((total * share) / shares)));
  tell(name, report, (performance.now() - startedMs) / 1_000);
}
console.log(`${ran} cases, ${faults} faults, seed ${seed}`);
process.exit(faults === 0 ? 0 : 1);

function jobOf(name: PartName, cases: number): Job {
  let toldMs = performance.now();
  return {
    cases,
    seed,
    found: ({ what, why, example, seed: own }) => {
      faults++;
      console.log(`\nFAULT in ${what}\n${why}\n${example}`);
      console.log(`again: bun run fuzz --part ${name} --seed ${own} --cases 1000\n`);
    },
    progress: (what, done, of) => {
      if (performance.now() - toldMs < PROGRESS_EVERY_MS) return;
      toldMs = performance.now();
      console.log(`  ${name}: ${what} ${done} of ${of}`);
    },
  };
}

function tell(name: PartName, { counts, notes }: Report, tookSec: number): void {
  console.log(`${name}: ${tookSec.toFixed(1)} s`);
  for (const [what, count] of counts) {
    ran += count;
    console.log(`  ${String(count).padStart(7)}  ${what}`);
  }
  for (const note of notes) console.log(`  ${note}`);
}

function numberOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) fail();
  return Number(text);
}

function partOf(text: string): PartName {
  if (!Object.hasOwn(PARTS, text)) fail();
  return text as PartName;
}

function fail(): never {
  console.error(USAGE);
  process.exit(2);
}
