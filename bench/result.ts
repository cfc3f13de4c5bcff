/** The result of a bench run, as --json prints it and the report reads it. */

import type { Machine } from "./machine.ts";
import type { Measurement, Metric, Scale, Scenario } from "./scenario.ts";
import { median } from "./statistics.ts";

/** What the rounds gave for one metric. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Median over a reference's median, by the reference's name; none of itself, none where that median is 0. */
  readonly ratios: Readonly<Record<string, number>>;
  /** One a round, in order. */
  readonly values: readonly number[];
}

export interface ContestantResult {
  readonly name: string;
  readonly about: string;
  /** By the name of the metric; without those that the contestant lacks. */
  readonly summaries: Readonly<Record<string, Summary>>;
}

export interface ScenarioResult {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly metrics: readonly Metric[];
  readonly references: readonly string[];
  readonly contestants: readonly ContestantResult[];
}

export interface BenchResult {
  /** RFC 3339. */
  readonly startedAt: string;
  readonly scale: Scale;
  readonly rounds: number;
  readonly machine: Machine;
  readonly scenarios: readonly ScenarioResult[];
}

/** Puts the rounds of a scenario together; `rounds` holds each contestant's measurements by its name. */
export function summarise(
  scenario: Scenario,
  rounds: ReadonlyMap<string, readonly Measurement[]>,
): ScenarioResult {
  const { name, title, about, metrics, references } = scenario;
  const valuesOf = (contestant: string, metric: Metric) =>
    (rounds.get(contestant) ?? []).flatMap((measurement) => figure(measurement, metric));
  const contestants = scenario.contestants.map((contestant) => {
    const summaries: Record<string, Summary> = {};
    for (const metric of metrics) {
      const values = valuesOf(contestant.name, metric);
      if (metric.optional && values.length === 0) continue;
      const middle = median(values);
      const others = references.filter((reference) => reference !== contestant.name);
      summaries[metric.name] = {
        median: middle,
        min: Math.min(...values),
        max: Math.max(...values),
        ratios: Object.fromEntries(
          others
            .map((reference) => [reference, middle / medianOrNone(valuesOf(reference, metric))] as const)
            .filter(([, ratio]) => Number.isFinite(ratio)),
        ),
        values,
      };
    }
    return { name: contestant.name, about: contestant.about, summaries };
  });
  return { name, title, about, metrics, references, contestants };
}

function medianOrNone(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : median(values);
}

/** A contestant that leaves out a figure it should have, or gives none that is a number, is broken. */
function figure(measurement: Measurement, metric: Metric): readonly number[] {
  const value = measurement[metric.name];
  if (value === undefined && metric.optional) return [];
  if (value === undefined || !Number.isFinite(value)) throw new Error(`no figure for ${metric.name}`);
  return [value];
}
