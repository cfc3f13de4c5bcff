/** What is quoted from a bench run must follow from its rounds. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { markdown } from "../../bench/report.ts";
import { type BenchResult, summarise } from "../../bench/result.ts";
import type { Scenario } from "../../bench/scenario.ts";
import { median, quantile } from "../../bench/statistics.ts";

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

  test("refuses a measurement that lacks a figure", () => {
    const lacking = new Map([...ROUNDS, ["ours", [{ rate: Number.NaN }]] as const]);
    expect(() => summarise(SCENARIO, lacking)).toThrow("no figure for rate");
  });
});

test("the page tells the machine, each figure, its spread and its ratio", () => {
  const result: BenchResult = {
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
  const page = markdown(result);
  expect(page).toContain("at commit abc1234 with Bun 1.4.5 on 2 cores of\nA CPU");
  expect(page).toContain("Beside them: Redis 7.0.15, BullMQ 6.7.0.");
  expect(page).toContain("|  | median | spread | of limit | of peer |");
  expect(page).toContain("| ours: done | 800 /s | 500 – 900 | 0.67 × | 4.00 × |");
  expect(page).toContain("| peer: done | 200 /s | 100 – 200 | 0.17 × |  |");
  expect(page).not.toContain("quick run");
  expect(markdown({ ...result, scale: "quick" })).toContain("quick run");
});

test("docs/benchmarks.md is what the report makes of bench/result.json", async () => {
  const root = join(import.meta.dir, "..", "..");
  const result: BenchResult = await Bun.file(join(root, "bench", "result.json")).json();
  expect(await Bun.file(join(root, "docs", "benchmarks.md")).text()).toBe(markdown(result));
});
