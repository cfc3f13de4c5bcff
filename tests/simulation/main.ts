/**
 * The simulation on the command line:
 * `bun run simulate --seeds N [--from S] [--within SEC] [--seed S --verbose] [--mutate [--only TEXT]]`.
 */

import { parseArgs } from "node:util";
import { assertVirtual, beginRun, realMonoMs } from "./virtual-globals.ts";

const PROGRESS_EVERY_MS = 2_000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    from: { type: "string", default: "1" },
    within: { type: "string", default: "0" },
    seed: { type: "string", multiple: true, default: [] },
    verbose: { type: "boolean", default: false },
    mutate: { type: "boolean", default: false },
    only: { type: "string" },
  },
});

if (values.mutate) {
  const { mutate } = await import("./mutate.ts");
  process.exit(mutate(values.only ?? "") ? 0 : 1);
}
await assertVirtual();
// Only now: the program must be loaded after the globals were replaced.
const { runSeed } = await import("./simulation.ts");
const from = Number(values.from);
const seeds =
  values.seed.length > 0
    ? values.seed.map(Number)
    : Array.from({ length: Number(values.seeds) }, (_, at) => from + at);
const startedMs = realMonoMs();
let toldMs = startedMs;
const sum = { runs: 0, events: 0, simulatedMs: 0, tasks: 0, deliveries: 0 };
/** No further seed is begun after so long; 0 for no bound. */
const withinMs = Number(values.within) * 1_000;
for (const seed of seeds) {
  if (withinMs > 0 && realMonoMs() - startedMs > withinMs) break;
  const result = await runSeed(seed, beginRun(seed), values.verbose ? (line) => console.log(line) : null);
  sum.runs += 1;
  sum.events += result.events;
  sum.simulatedMs += result.simulatedMs;
  sum.tasks += result.tasks;
  sum.deliveries += result.deliveries;
  if (values.seed.length > 0) console.log(`seed ${seed}: hash ${result.hash}, ${result.events} events`);
  if (result.broken !== null) {
    if (!values.verbose) for (const line of result.lastEvents) console.log(line);
    console.log(`seed ${seed} broke a promise: ${result.broken}`);
    console.log(`replay it with: bun run simulate --seed ${seed} --verbose`);
    process.exit(1);
  }
  if (realMonoMs() - toldMs > PROGRESS_EVERY_MS) {
    toldMs = realMonoMs();
    console.log(progress());
  }
}
console.log(progress());

function progress(): string {
  const sec = (realMonoMs() - startedMs) / 1_000;
  const minutes = sum.simulatedMs / 60_000;
  return (
    `${sum.runs} of ${seeds.length} seeds, ${(sum.runs / sec).toFixed(1)} a second; ${minutes.toFixed(0)} simulated minutes, ` +
    `${(minutes / sec).toFixed(0)} a second; ${sum.tasks} tasks, ${sum.deliveries} deliveries, ${sum.events} events; ${sec.toFixed(1)} s`
  );
}
