/** Tries the simulation itself: each deliberate fault, in a copy of the program, has to be found within a number of seeds. */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MUTATIONS, type Mutation } from "./mutations.ts";
import { realMonoMs } from "./virtual-globals.ts";

/** Seeds that each mutation has to be found by. */
const MAX_SEEDS = 200;
/** A mutation that makes the program go round in circles is found by this. */
const TIMEOUT_MS = 90_000;
const FIRST_SEED = 1;

const root = join(import.meta.dir, "../..");

/** Runs all mutations whose name contains `only`, prints a table, and tells whether each was found. */
export function mutate(only: string): boolean {
  const chosen = MUTATIONS.filter(({ name }) => name.includes(only));
  const copy = mkdtempSync(join(tmpdir(), "simulation-mutants-"));
  try {
    for (const part of ["src", "tests/simulation", "package.json", "tsconfig.json", "bunfig.toml"])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const found = chosen.map((mutation) => tryMutation(copy, mutation));
    const count = found.filter((isFound) => isFound).length;
    console.log(`${count} of ${chosen.length} mutations were found`);
    return chosen.length > 0 && count === chosen.length;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function tryMutation(copy: string, { name, file, find, replace }: Mutation): boolean {
  const path = join(copy, file);
  const source = readFileSync(path, "utf8");
  if (source.split(find).length !== 2) throw new Error(`"${name}": its text is not exactly once in ${file}`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  const startedMs = realMonoMs();
  const run = Bun.spawnSync(
    [process.execPath, "tests/simulation/main.ts", "--from", `${FIRST_SEED}`, "--seeds", `${MAX_SEEDS}`],
    { cwd: copy, timeout: TIMEOUT_MS },
  );
  writeFileSync(path, source);
  const [, seed, why] = /seed (\d+) broke a promise: (.*)/.exec(run.stdout.toString()) ?? [];
  const isFound = run.exitCode === 1 && seed !== undefined;
  const sec = ((realMonoMs() - startedMs) / 1_000).toFixed(1);
  const seeds = isFound ? String(Number(seed) - FIRST_SEED + 1) : "-";
  console.log(
    `${isFound ? "found" : "MISSED"}  ${name.padEnd(52)} ${seeds.padStart(4)} seeds ${sec.padStart(6)} s  ${why?.slice(0, 110) ?? `exit ${run.exitCode}`}`,
  );
  return isFound;
}
