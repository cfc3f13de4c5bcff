/** Every scenario must run from start to end, give all its figures and leave nothing behind. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchResult } from "../../bench/result.ts";

const PROJECT_DIR = join(import.meta.dir, "..", "..");
/** Of the whole quick run, which takes a fraction of it on an idle machine. */
const LIMIT_MS = 300_000;

let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-test-"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

test(
  "a quick run gives every figure of every scenario and cleans up after itself",
  async () => {
    const bench = Bun.spawn([process.execPath, "bench/main.ts", "--quick", "--json", "--dir", dir], {
      cwd: PROJECT_DIR,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: LIMIT_MS,
    });
    const [output, progress, status] = await Promise.all([
      new Response(bench.stdout).text(),
      new Response(bench.stderr).text(),
      bench.exited,
    ]);
    expect(status, progress).toBe(0);
    const result: BenchResult = JSON.parse(output);
    expect(result.scenarios.map(({ name }) => name)).toEqual([
      "enqueue",
      "enqueue-1",
      "enqueue-256",
      "replicated",
      "batch",
      "grouped",
      "dispatch",
      "dispatch-10",
      "dispatch-1000",
      "dispatch-slow",
      "latency",
      "latency-busy",
      "delayed",
      "burst",
      "redis-memory",
      "redis-cost",
      "claim-backlog-redis",
      "claim-backlog",
      "claim-clients-redis",
      "claim-clients",
      "claim-queues-redis",
      "claim-queues",
      "memory",
      "scaling",
    ]);
    for (const scenario of result.scenarios) {
      for (const { name, summaries } of scenario.contestants) {
        for (const metric of scenario.metrics) {
          if (metric.optional && summaries[metric.name] === undefined) continue;
          const median = summaries[metric.name]?.median ?? Number.NaN;
          // An idle process may well use no time that can be measured, and ask for nothing for a while;
          // every other figure is above zero.
          const least = /^(?:cpu|idle)/.test(metric.name) ? 0 : Number.MIN_VALUE;
          expect(median, `${scenario.name}: ${name}: ${metric.name}`).toBeGreaterThanOrEqual(least);
        }
      }
    }
    expect(await readdir(dir)).toEqual([]);
  },
  LIMIT_MS + 5_000,
);

test("an unknown scenario is refused with the names there are", () => {
  const bench = Bun.spawnSync([process.execPath, "bench/main.ts", "--scenario", "nonesuch"], {
    cwd: PROJECT_DIR,
    stdin: "ignore",
  });
  expect(bench.exitCode).not.toBe(0);
  expect(bench.stderr.toString()).toContain("claim-backlog");
});
