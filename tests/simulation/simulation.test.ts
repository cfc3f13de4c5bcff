/** The simulation's share of every test run: new seeds each day, those that once found something, and proof that it would find more. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MUTATIONS } from "./mutations.ts";
import { SEEDS } from "./seeds.ts";

const root = join(import.meta.dir, "../..");
/** At most so many new seeds, and no more once this time is up: a loaded machine runs fewer. */
const NEW_SEEDS = 200;
const WITHIN_SEC = 15;
/** Far beyond what the share takes, for a machine that has other things to do. */
const PATIENCE_MS = 120_000;
/** Found by the first few seeds, one of the stores, one of the policy and one of the service. */
const TRIED_MUTATIONS = [
  "parked lanes never go on",
  "the policy forgets the backoff",
  "callers of one group get each other's answers",
];

/** In a process of its own, for the simulation replaces the runtime's timers. */
async function simulate(...args: readonly string[]): Promise<{ code: number; told: string }> {
  const run = Bun.spawn([process.execPath, "tests/simulation/main.ts", ...args], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [told, problems, code] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  return { code, told: told + problems };
}

describe("the simulation", () => {
  test(
    "keeps every promise with today's seeds",
    async () => {
      // Of the day, so that every day tries others and a failure can be repeated; replay with what is told.
      const from = Math.floor(Date.now() / 86_400_000) * 10_000;
      const { code, told } = await simulate(
        ...["--from", `${from}`, "--seeds", `${NEW_SEEDS}`, "--within", `${WITHIN_SEC}`],
      );
      console.log(`seeds from ${from}: ${told.trim().split("\n").at(-1)}`);
      expect(told).toContain("seeds,");
      if (code !== 0) throw new Error(told);
    },
    PATIENCE_MS,
  );

  test(
    "keeps every promise with the seeds that once broke one",
    async () => {
      const { code, told } = await simulate(...SEEDS.flatMap(({ seed }) => ["--seed", `${seed}`]));
      if (code !== 0) throw new Error(told);
    },
    PATIENCE_MS,
  );

  test(
    "goes the same way twice with one seed, and another with another",
    async () => {
      const [first, second] = await Promise.all([
        simulate("--seed", "11", "--seed", "12", "--seed", "11"),
        simulate("--seed", "11"),
      ]);
      const hashes = [...first.told.matchAll(/hash (\w+), (\d+) events/g)].map(([line]) => line);
      expect(hashes).toHaveLength(3);
      expect(hashes[0]).toBe(hashes[2] ?? "");
      expect(hashes[0]).not.toBe(hashes[1] ?? "");
      expect(second.told).toContain(hashes[0] ?? "");
    },
    PATIENCE_MS,
  );

  test(
    "finds deliberate faults",
    async () => {
      const found = await Promise.all(TRIED_MUTATIONS.map((name) => simulate("--mutate", "--only", name)));
      for (const { code, told } of found) {
        expect(told).toContain("1 of 1 mutations were found");
        expect(code).toBe(0);
      }
    },
    PATIENCE_MS,
  );

  test("has deliberate faults that fit the program as it is", () => {
    const misfits = MUTATIONS.filter(
      ({ file, find }) => readFileSync(join(root, file), "utf8").split(find).length !== 2,
    );
    expect(misfits.map(({ name }) => name)).toEqual([]);
  });

  test("has its deliberate faults listed in the docs", () => {
    const listed = readFileSync(join(root, "docs/reliability.md"), "utf8").replaceAll("\n", " ");
    expect(MUTATIONS.map(({ name }) => name).filter((name) => !listed.includes(name))).toEqual([]);
  });
});
