/** What this product must reach, each as a figure of a scenario and a bound, so that a run says by itself what is met. */

import type { BenchResult } from "./result.ts";

export interface Target {
  readonly what: string;
  readonly scenario: string;
  readonly contestant: string;
  readonly metric: string;
  /** The contestant that the figure is taken against; null for the figure itself. */
  readonly reference: string | null;
  readonly bound: { readonly least: number } | { readonly most: number };
}

/** A target beside what was measured; null where the run has no such figure. */
export interface Judged extends Target {
  readonly measured: number | null;
  /** The unit of the figure; `×` of a ratio. */
  readonly unit: string;
  readonly isMet: boolean;
}

const REDIS = "Redis store";
const EMBEDDED = "embedded store";

function ratio(what: string, scenario: string, contestant: string, reference: string, least: number): Target {
  return { what, scenario, contestant, metric: "rate", reference, bound: { least } };
}

function atMost(
  what: string,
  scenario: string,
  contestant: string,
  metric: string,
  most: number,
  reference: string | null = null,
): Target {
  return { what, scenario, contestant, metric, reference, bound: { most } };
}

export const TARGETS: readonly Target[] = [
  ratio("enqueue on Redis, beside BullMQ", "enqueue", REDIS, "BullMQ", 3.5),
  ratio("enqueue on Redis, of the machine's limit", "enqueue", REDIS, "limit", 0.65),
  ratio("batches on Redis, beside BullMQ's addBulk", "batch", REDIS, "BullMQ", 4),
  ratio("dispatch on Redis, beside BullMQ", "dispatch", REDIS, "BullMQ", 2.5),
  ratio("dispatch on Redis, of the machine's limit", "dispatch", REDIS, "limit", 0.8),
  ratio("enqueue embedded, beside bunqueue", "enqueue", EMBEDDED, "bunqueue", 7),
  ratio("dispatch embedded, beside bunqueue", "dispatch", EMBEDDED, "bunqueue", 5),
  ratio("replicated beside acknowledged by the primary alone", "replicated", "replicated", "primary", 0.7),
  atMost("enqueue to delivery on Redis, p50", "latency", REDIS, "p50", 1),
  atMost("enqueue to delivery on Redis, p99", "latency", REDIS, "p99", 3),
  atMost("enqueue to delivery embedded, p50", "latency", EMBEDDED, "p50", 1),
  atMost("enqueue to delivery embedded, p99", "latency", EMBEDDED, "p99", 3),
  atMost("Redis memory of a ready task", "redis-memory", REDIS, "ready", 350),
  atMost("Redis memory of a delayed task", "redis-memory", REDIS, "delayed", 350),
  atMost(
    "a claim from 1,000,000 waiting tasks beside one from 10,000, on Redis",
    "claim-backlog-redis",
    "1,000,000 waiting",
    "cost",
    1.1,
    "10,000 waiting",
  ),
  atMost(
    "a claim from 1,000,000 waiting tasks beside one from 10,000, embedded",
    "claim-backlog",
    "1,000,000 waiting",
    "cost",
    1.1,
    "10,000 waiting",
  ),
  atMost("an idle worker's CPU", "redis-cost", REDIS, "idleCpu", 1),
  atMost("an idle worker's commands executed by Redis", "redis-cost", REDIS, "idleExecuted", 10),
];

/** Holds a run against all targets, in their order. */
export function judged(result: BenchResult): readonly Judged[] {
  return TARGETS.map((target) => {
    const scenario = result.scenarios.find(({ name }) => name === target.scenario);
    const contestant = scenario?.contestants.find(({ name }) => name === target.contestant);
    const summary = contestant?.summaries[target.metric];
    const measured =
      (target.reference === null ? summary?.median : summary?.ratios[target.reference]) ?? null;
    const unit =
      target.reference === null
        ? (scenario?.metrics.find(({ name }) => name === target.metric)?.unit ?? "")
        : "×";
    return { ...target, measured, unit, isMet: measured !== null && isWithin(measured, target.bound) };
  });
}

function isWithin(measured: number, bound: Target["bound"]): boolean {
  return "least" in bound ? measured >= bound.least : measured <= bound.most;
}
