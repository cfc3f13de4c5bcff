/** The two interfaces a benchmark is made of: a scenario asks a question, contestants answer it one after the other. */

import type { Room } from "./room.ts";

/** One figure that a run gives. */
export interface Metric {
  readonly name: string;
  readonly title: string;
  /** As printed after the number: `/s`, `ms`, `%`, `MiB`. */
  readonly unit: string;
  readonly better: "higher" | "lower";
  /** Whether contestants may lack it, for it makes no sense of them. */
  readonly optional?: true;
}

/** Figures of one run, by the name of their metric. */
export type Measurement = Readonly<Record<string, number>>;

/** How much of the work to do: `full` for figures worth quoting, `quick` to see that it all still runs. */
export type Scale = "full" | "quick";

/** Something that can be put to the scenario's question: ours, the machine's limit, another product. */
export interface Contestant {
  readonly name: string;
  readonly about: string;
  /** Does the work once, from nothing; what it starts and stores belongs to the room, which cleans up. */
  run(room: Room, scale: Scale): Promise<Measurement>;
}

export interface Scenario {
  /** For --scenario. */
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly metrics: readonly Metric[];
  /** At least one, each with a name of its own; run in this order, every round. */
  readonly contestants: readonly Contestant[];
  /** Names of the contestants that the others' ratios are taken against; empty where nothing is compared. */
  readonly references: readonly string[];
  /** Bound of one run of one contestant. */
  readonly limitMs: number;
}
