/** `bun run bench`: takes the figures and prints them. */

import { tmpdir } from "node:os";
import Table from "cli-table3";
import { Command, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../src/core/errors.ts";
import { describeMachine, type Machine } from "./machine.ts";
import { columnsOf, rowsOf } from "./report.ts";
import type { BenchResult, ScenarioResult } from "./result.ts";
import { Room } from "./room.ts";
import { runScenario } from "./runner.ts";
import { SCENARIOS } from "./scenarios.ts";

const ROUNDS = 3;
const MAX_ROUNDS = 100;

interface Flags {
  readonly scenario: readonly string[];
  readonly quick?: true;
  readonly json?: true;
  readonly rounds?: number;
  readonly dir: string;
}

function roundsFrom(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= MAX_ROUNDS) return rounds;
  throw new InvalidArgumentError(`a whole number from 1 to ${MAX_ROUNDS}`);
}

function readFlags(): Flags {
  const names = SCENARIOS.map(({ name }) => name);
  return new Command("bench")
    .description("Measures Task Runner on this machine, each contestant in turn, and prints medians.")
    .addOption(new Option("--scenario <name...>", "only these").choices(names).default(names, "all"))
    .option("--rounds <n>", `how often each contestant runs (default: ${ROUNDS}; 1 with --quick)`, roundsFrom)
    .option("--quick", "little work, to see that everything runs; the figures mean nothing")
    .option("--json", "print the result as JSON; progress goes to stderr either way")
    .option("--dir <path>", "where stores are made: a figure on a disk in memory is no durable one", tmpdir())
    .parse()
    .opts<Flags>();
}

function printTable(scenario: ScenarioResult): void {
  const columns = columnsOf(scenario);
  const table = new Table({
    head: [...columns],
    colAligns: columns.map((_, i) => (i === 0 ? "left" : "right")),
    style: { head: [], border: [] },
  });
  for (const row of rowsOf(scenario)) table.push([...row]);
  console.log(`\n${scenario.title}\n${table}`);
}

async function machineOf(parentDir: string): Promise<Machine> {
  const room = await Room.open(parentDir);
  try {
    return await describeMachine(room);
  } finally {
    await room.close();
  }
}

async function bench(flags: Flags, signal: AbortSignal): Promise<void> {
  const scale = flags.quick ? "quick" : "full";
  const rounds = flags.rounds ?? (flags.quick ? 1 : ROUNDS);
  const startedAt = new Date().toISOString();
  const machine = await machineOf(flags.dir);
  const scenarios: ScenarioResult[] = [];
  const failed: string[] = [];
  for (const scenario of SCENARIOS.filter(({ name }) => flags.scenario.includes(name))) {
    try {
      const onRun = (line: string) => console.error(line);
      const result = await runScenario(scenario, { scale, rounds, parentDir: flags.dir, signal, onRun });
      scenarios.push(result);
      if (!flags.json) printTable(result);
    } catch (error) {
      signal.throwIfAborted();
      // The others have taken too long to be lost with it.
      console.error(`bench: ${scenario.name} failed: ${messageOf(error)}`);
      failed.push(scenario.name);
    }
  }
  const { cpu, cores, bun, commit, fsyncUs, others } = machine;
  const versions = Object.entries(others).map(([name, version]) => `, ${name} ${version}`);
  if (!flags.json)
    console.log(
      `\n${cores} cores of ${cpu}, commit ${commit}, fsync ${fsyncUs} µs, Bun ${bun}${versions.join("")}`,
    );
  else
    console.log(
      JSON.stringify({ startedAt, scale, rounds, machine, scenarios } satisfies BenchResult, null, 2),
    );
  if (failed.length > 0) throw new Error(`not measured: ${failed.join(", ")}`);
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
try {
  await bench(readFlags(), stop.signal);
} catch (error) {
  console.error(`bench: ${messageOf(error)}`);
  process.exitCode = 1;
}
