/** What is quoted from a bench run must follow from its rounds. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { needOf, scalingPage } from "../../bench/capacity.ts";
import { chart } from "../../bench/chart.ts";
import { markdown } from "../../bench/report.ts";
import { type BenchResult, summarise } from "../../bench/result.ts";
import type { Measurement, Scenario } from "../../bench/scenario.ts";
import { SCENARIOS } from "../../bench/scenarios.ts";
import { median, quantile } from "../../bench/statistics.ts";
import { judged, TARGETS, type Target } from "../../bench/targets.ts";

const contestant = (name: string) => ({ name, about: `about ${name}`, run: async () => ({}) });

const SCENARIO: Scenario = {
  name: "speed",
  title: "Speed",
  about: "How fast.",
  metrics: [{ name: "rate", title: "done", unit: "/s", better: "higher" }],
  contestants: [contestant("ours"), contestant("peer"), contestant("limit")],
  references: ["limit", "peer"],
  limitMs: 1,
};

const ROUNDS = new Map([
  ["ours", [{ rate: 900 }, { rate: 500 }, { rate: 800 }]],
  ["peer", [{ rate: 200 }, { rate: 200 }, { rate: 100 }]],
  ["limit", [{ rate: 1_000 }, { rate: 1_600 }, { rate: 1_200 }]],
]);

const PAGE: BenchResult = {
  startedAt: "2030-01-31T08:00:00.000Z",
  scale: "full",
  rounds: 3,
  machine: {
    cpu: "A CPU",
    cores: 2,
    memoryGiB: 8,
    system: "Linux 6",
    bun: "1.4.5",
    commit: "abc1234",
    fsyncUs: 90,
    others: { Redis: "7.0.15", BullMQ: "6.7.0" },
  },
  scenarios: [summarise(SCENARIO, ROUNDS)],
};

describe("statistics", () => {
  test("the median is the middle value, or the mean of the two in the middle", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  test("a quantile is a value that occurred", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(quantile(values, 0.5)).toBe(50);
    expect(quantile(values, 0.99)).toBe(99);
    expect(quantile(values, 1)).toBe(100);
    expect(quantile(values, 0)).toBe(1);
  });

  test("no values have no median", () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe("summarise", () => {
  test("gives median and spread of the rounds and the ratios of the medians", () => {
    const { contestants } = summarise(SCENARIO, ROUNDS);
    expect(contestants[0]?.summaries.rate).toEqual({
      median: 800,
      min: 500,
      max: 900,
      ratios: { limit: 800 / 1_200, peer: 4 },
      values: [900, 500, 800],
    });
    expect(contestants[1]?.summaries.rate?.ratios).toEqual({ limit: 200 / 1_200 });
  });

  test("gives no ratio to nothing", () => {
    const idle = new Map([...ROUNDS, ["peer", [{ rate: 0 }]] as const]);
    const { contestants } = summarise(SCENARIO, idle);
    expect(contestants[0]?.summaries.rate?.ratios).toEqual({ limit: 800 / 1_200 });
  });

  test("leaves out a figure that a contestant may lack, and ratios to it", () => {
    const optional = { name: "cpu", title: "CPU", unit: "µs", better: "lower", optional: true } as const;
    const scenario = { ...SCENARIO, metrics: [...SCENARIO.metrics, optional] };
    const rounds = new Map<string, readonly Measurement[]>([
      ["ours", [{ rate: 1, cpu: 4 }]],
      ["peer", [{ rate: 1, cpu: 8 }]],
      ["limit", [{ rate: 1 }]],
    ]);
    const { contestants } = summarise(scenario, rounds);
    expect(contestants.map(({ summaries }) => summaries.cpu?.ratios)).toEqual([{ peer: 0.5 }, {}, undefined]);
  });

  test("refuses a measurement that lacks a figure", () => {
    const lacking = new Map([...ROUNDS, ["ours", [{ rate: Number.NaN }]] as const]);
    expect(() => summarise(SCENARIO, lacking)).toThrow("no figure for rate");
  });
});

describe("targets", () => {
  const [enqueue, latency] = ["enqueue", "latency"].map((scenario) =>
    TARGETS.find((target) => target.scenario === scenario),
  );
  const resultOf = (rate: number, p50: number): BenchResult => {
    const ours = contestant(enqueue?.contestant ?? "");
    const enqueues = { ...SCENARIO, name: "enqueue", contestants: [ours, contestant("BullMQ")] };
    const latencies = {
      ...SCENARIO,
      name: "latency",
      metrics: [{ name: "p50", title: "p50", unit: "ms", better: "lower" } as const],
      contestants: [ours],
      references: [],
    };
    const rates = new Map([
      [ours.name, [{ rate }]],
      ["BullMQ", [{ rate: 100 }]],
    ]);
    return {
      ...PAGE,
      scenarios: [
        summarise({ ...enqueues, references: ["BullMQ"] }, rates),
        summarise(latencies, new Map([[ours.name, [{ p50 }]]])),
      ],
    };
  };
  const found = (result: BenchResult, target: Target | undefined) =>
    judged(result).find(({ what }) => what === target?.what);

  test("a ratio and a figure are held against their bounds", () => {
    const met = resultOf(350, 1);
    expect(found(met, enqueue)).toMatchObject({ measured: 3.5, unit: "×", isMet: true });
    expect(found(met, latency)).toMatchObject({ measured: 1, unit: "ms", isMet: true });
    const missed = resultOf(349, 1.01);
    expect(found(missed, enqueue)).toMatchObject({ measured: 3.49, isMet: false });
    expect(found(missed, latency)).toMatchObject({ measured: 1.01, isMet: false });
    expect(markdown(missed)).toContain("| ≥ 3.5 × | 3.49 × | **not met** |");
    expect(markdown(met)).toContain("| ≤ 1 ms | 1 ms | met |");
  });

  test("each is of a scenario, a contestant and a metric that there are", () => {
    for (const { what, scenario, contestant, metric, reference } of TARGETS) {
      const found = SCENARIOS.find(({ name }) => name === scenario);
      const names = found?.contestants.map(({ name }) => name);
      expect(names, what).toContain(contestant);
      expect(
        found?.metrics.map(({ name }) => name),
        what,
      ).toContain(metric);
      if (reference !== null) expect(found?.references, what).toContain(reference);
    }
  });
});

test("the chart has a bar for each of our rates beside each reference", () => {
  const scenario = {
    ...SCENARIO,
    contestants: [contestant("Redis store"), contestant("BullMQ")],
    references: ["BullMQ"],
  };
  const rounds = new Map([
    ["Redis store", [{ rate: 300 }]],
    ["BullMQ", [{ rate: 100 }]],
  ]);
  const drawn = chart({ ...PAGE, scenarios: [summarise({ ...scenario, title: "A < B" }, rounds)] });
  expect(drawn).toContain("3.00 ×");
  expect(drawn).toContain("A &lt; B");
  expect(drawn.match(/<rect class="redis" x="\d+" y="(?!14")/g)).toHaveLength(1);
});

test("a rate's needs follow from what a task costs", () => {
  const costs = {
    serve: 35,
    serveBatch: 14,
    work: 49,
    redisEnqueue: 8,
    redisEnqueueBatch: 3,
    redisDispatch: 12,
  };
  expect(needOf(costs, 10_000)).toEqual({ serve: 1, serveBatch: 1, work: 1, redis: 0.2, redisBatch: 0.15 });
  expect(needOf(costs, 30_000)).toEqual({ serve: 2, serveBatch: 1, work: 3, redis: 0.6, redisBatch: 0.45 });
  expect(needOf({ ...costs, redisDispatch: null }, 1_000)).toMatchObject({ serve: 1, redis: null });
});

test("the page tells the machine, each figure, its spread and its ratio", () => {
  const result = PAGE;
  const page = markdown(result);
  expect(page).toContain("at commit abc1234 with Bun 1.4.5 on 2 cores of\nA CPU");
  expect(page).toContain("Beside them: Redis 7.0.15, BullMQ 6.7.0.");
  expect(page).toContain("|  | median | spread | of limit | of peer |");
  expect(page).toContain("| ours: done | 800 /s | 500 – 900 | 0.67 × | 4.00 × |");
  expect(page).toContain("| peer: done | 200 /s | 100 – 200 | 0.17 × |  |");
  expect(page).not.toContain("quick run");
  expect(markdown({ ...result, scale: "quick" })).toContain("quick run");
});

test("docs/benchmarks.md, its chart and docs/scaling.md are what bench/result.json gives", async () => {
  const root = join(import.meta.dir, "..", "..");
  const result: BenchResult = await Bun.file(join(root, "bench", "result.json")).json();
  const again = "the commands at the head of docs/benchmarks.md make them anew";
  expect(await Bun.file(join(root, "docs", "benchmarks.md")).text(), again).toBe(markdown(result));
  expect(await Bun.file(join(root, "docs", "benchmarks.svg")).text(), again).toBe(chart(result));
  expect(await Bun.file(join(root, "docs", "scaling.md")).text(), again).toBe(scalingPage(result));
});
