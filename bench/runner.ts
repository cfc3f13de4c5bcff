/** Runs a scenario's contestants in turn, round after round, each in a room of its own and bounded in time. */

import { type ScenarioResult, summarise } from "./result.ts";
import { Room } from "./room.ts";
import type { Contestant, Measurement, Scale, Scenario } from "./scenario.ts";

export interface RunOptions {
  readonly scale: Scale;
  readonly rounds: number;
  /** Where rooms are made. */
  readonly parentDir: string;
  /** Breaks off the run under way, cleans up, and rejects. */
  readonly signal: AbortSignal;
  /** Told of each finished run. */
  readonly onRun: (line: string) => void;
}

/** The contestants take turns so that a slow minute of the machine hits all of them. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioResult> {
  const rounds = new Map<string, Measurement[]>(scenario.contestants.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const contestant of scenario.contestants) {
      const measurement = await runOnce(scenario, contestant, options);
      rounds.get(contestant.name)?.push(measurement);
      const figures = scenario.metrics
        .filter(({ name }) => measurement[name] !== undefined)
        .map(({ name, unit }) => `${name} ${shown(measurement[name])} ${unit}`);
      options.onRun(`${scenario.name} ${round}/${options.rounds} ${contestant.name}: ${figures.join(", ")}`);
    }
  }
  return summarise(scenario, rounds);
}

async function runOnce(
  scenario: Scenario,
  contestant: Contestant,
  options: RunOptions,
): Promise<Measurement> {
  options.signal.throwIfAborted();
  const room = await Room.open(options.parentDir);
  const broken = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      broken.reject(new Error(`${scenario.name}, ${contestant.name}: not done after ${scenario.limitMs} ms`)),
    scenario.limitMs,
  );
  const abort = () => broken.reject(new Error("broken off"));
  options.signal.addEventListener("abort", abort, { once: true });
  const run = contestant.run(room, options.scale);
  // Once the race is lost its end no longer matters: the room's closing ends it.
  run.catch(() => {});
  try {
    return await Promise.race([run, broken.promise, room.broken]);
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener("abort", abort);
    await room.close();
  }
}

/** A figure with three digits that mean something, or whole when it is large. */
export function shown(value: number | undefined): string {
  if (value === undefined) return "none";
  return Math.abs(value) >= 100
    ? Math.round(value).toLocaleString("en")
    : String(Number(value.toPrecision(3)));
}
