/** The worker's look through the store: seldom, a little at a time, by one worker, and telling of what it finds. */

import { afterEach, describe, expect, test } from "bun:test";
import { DatabaseSync } from "node:sqlite";
import type { InspectionStep, Violation } from "../../src/core/inspection.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { Checker } from "../../src/worker/checker.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTasks } from "../support/tasks.ts";
import { Bench } from "./harness.ts";

const REST_MS = 300_000;
const open: Bench[] = [];
afterEach(async () => {
  for (const bench of open.splice(0)) await bench.close();
});

async function setUp() {
  const bench = await Bench.open();
  open.push(bench);
  const clock = new ManualClock();
  const lines: { kind?: string; times?: number; msg: string }[] = [];
  const write = (line: string) => {
    lines.push(JSON.parse(line));
  };
  const logger = createLogger({ level: "info", role: "test", destination: { write } });
  const metrics = new Metrics({ byClient: false });
  const announce = (id: string) =>
    bench.store.announce({ id, version: "1", concurrency: 1, allowPrivateUrls: false, startedAtMs: 0 });
  let steps = 0;
  const store = {
    workers: bench.store.workers.bind(bench.store),
    inspect: (options: Parameters<typeof bench.store.inspect>[0]) => {
      const inspection = bench.store.inspect(options);
      return {
        step: () => {
          steps += 1;
          return inspection.step();
        },
      };
    },
  };
  const checker = (worker: string) => new Checker({ store, worker, clock, logger, metrics });
  return { bench, clock, lines, metrics, announce, checker, stepsOf: () => steps };
}

/** Until the walk that is under way is over, a second a step. */
async function walk(checker: Checker, metrics: Metrics, clock: ManualClock): Promise<void> {
  metrics.inspected(null);
  for (let steps = 0; metrics.violations === null && steps < 1_000; steps++) {
    await checker.step();
    await clock.advance(1_000);
  }
  expect(metrics.violations).not.toBeNull();
}

describe("the look through the store", () => {
  test("begins some time after the start, tells that nothing is broken, and rests", async () => {
    const { bench, clock, lines, metrics, announce, checker, stepsOf } = await setUp();
    await bench.store.enqueue(newTasks(300));
    await announce("a");
    const ours = checker("a");
    await ours.step();
    expect(stepsOf()).toBe(0);
    await clock.advance(REST_MS);
    await walk(ours, metrics, clock);
    expect([...(metrics.violations ?? [])]).toEqual([]);
    expect(lines).toEqual([]);
    const steps = stepsOf();
    expect(steps).toBeGreaterThan(3);
    await ours.step();
    expect(stepsOf()).toBe(steps);
  });

  test("tells of what is broken once a kind, in the log and in the metrics, and leaves it", async () => {
    const { bench, clock, lines, metrics, announce, checker } = await setUp();
    await announce("a");
    const db = new DatabaseSync(bench.path);
    db.exec("INSERT INTO names (scope, id) VALUES ('n/q/1', 'x'), ('n/q/2', 'x')");
    db.close();
    const ours = checker("a");
    for (let walks = 0; walks < 2; walks++) {
      await clock.advance(REST_MS);
      await walk(ours, metrics, clock);
      expect([...(metrics.violations ?? [])]).toEqual([["dangling_name", 2]]);
    }
    expect(lines.map(({ kind, times }) => [kind, times])).toEqual([
      ["dangling_name", 2],
      ["dangling_name", 2],
    ]);
  });

  test("is one worker's, and another's once that is gone", async () => {
    const { clock, metrics, announce, checker, stepsOf } = await setUp();
    await announce("a");
    await announce("b");
    const second = checker("b");
    await clock.advance(REST_MS);
    await second.step();
    expect(stepsOf()).toBe(0);
    const first = checker("a");
    await clock.advance(REST_MS);
    await walk(first, metrics, clock);
    expect(stepsOf()).toBeGreaterThan(0);
  });

  test("begins anew where the store has failed", async () => {
    const clock = new ManualClock();
    const broken: Violation = { kind: "lost_lane", subject: "s", detail: "d", mended: false };
    const answers: (() => Promise<InspectionStep>)[] = [
      async () => ({ violations: [broken], looked: 1, skipped: 0, done: false }),
      () => Promise.reject(new Error("away")),
      async () => ({ violations: [], looked: 1, skipped: 0, done: true }),
    ];
    let walks = 0;
    const metrics = new Metrics({ byClient: false });
    const checker = new Checker({
      store: {
        workers: async () => [
          { id: "a", version: "1", concurrency: 1, allowPrivateUrls: false, startedAtMs: 0, seenAtMs: 0 },
        ],
        inspect: () => {
          walks += 1;
          return { step: () => answers.shift()?.() ?? Promise.reject(new Error("no more was to be asked")) };
        },
      },
      worker: "a",
      clock,
      logger: createLogger({ level: "error", role: "test", destination: { write: () => {} } }),
      metrics,
    });
    await clock.advance(REST_MS);
    await checker.step();
    await expect(checker.step()).rejects.toThrow("away");
    await checker.step();
    expect(walks).toBe(2);
    // What was found before the failure counts no more.
    expect([...(metrics.violations ?? [])]).toEqual([]);
  });
});
