/** The circuit breaker of a target: it spares a host that is down, and no other host notices. */

import { describe, expect, test } from "bun:test";
import { newTarget } from "../support/tasks.ts";
import { until, withBench } from "./harness.ts";
import { Target } from "./target.ts";

const PATIENT_RETRY = { minBackoffMs: 20, maxBackoffMs: 20, jitter: 0, maxAttempts: 100 };

describe("a breaker", () => {
  test(
    "opens after failures in a row, holds its tasks back uncharged, probes once and closes",
    withBench(async (bench) => {
      let healthy = false;
      bench.target.answer = () => new Response("x", { status: healthy ? 200 : 500 });
      const other = new Target();
      const openMs = 600;
      bench.start({ concurrency: 3, breaker: { failureThreshold: 3, openMs } });
      try {
        const sick = Array.from({ length: 12 }, () => bench.task({ retry: PATIENT_RETRY }));
        await bench.store.enqueue(sick);
        await until("the breaker is open", () => bench.logged("its breaker is open").length === 1);
        const openedAtMs = Date.now();
        const hitsWhenOpened = bench.target.hits.length;
        expect(hitsWhenOpened).toBeLessThanOrEqual(5);

        await until("the others are held back", async () => {
          const tasks = await Promise.all(sick.map(({ id }) => bench.get(id)));
          return tasks.every(({ state, releases }) => state === "scheduled" && releases > 0);
        });
        const well = bench.task({ target: newTarget({ url: other.url() }) });
        await bench.store.enqueue([well]);
        await bench.reaches(well.id, "succeeded");
        expect(other.hits[0]?.atMs ?? Number.NaN).toBeLessThan(openedAtMs + openMs);

        await until("it has been probed in vain", () => bench.target.hits.length > hitsWhenOpened);
        const firstProbe = bench.target.hits[hitsWhenOpened];
        expect((firstProbe?.atMs ?? 0) - openedAtMs).toBeGreaterThanOrEqual(openMs - 100);
        healthy = true;
        await until("it is closed", () => bench.logged("answers again").length === 1);
        const tasks = await Promise.all(sick.map(({ id }) => bench.reaches(id, "succeeded")));
        // Charged are only deliveries that were made.
        const attempts = tasks.reduce((sum, task) => sum + task.attempts, 0);
        expect(attempts).toBe(bench.target.hits.length);
      } finally {
        await other.close();
      }
    }),
    15_000,
  );

  test(
    "probes with one delivery at a time",
    withBench(async (bench) => {
      let slow = false;
      const mostOpenWhileProbing: number[] = [];
      bench.target.answer = async () => {
        if (slow) await Bun.sleep(400);
        // Read before the answer closes the breaker: from then on several at once are right.
        if (slow) mostOpenWhileProbing.push(bench.target.mostOpen);
        return new Response("x", { status: slow ? 200 : 500 });
      };
      bench.start({ concurrency: 8, breaker: { failureThreshold: 1, openMs: 300 } });
      await bench.enqueue({ retry: PATIENT_RETRY });
      await until("the breaker is open", () => bench.logged("its breaker is open").length === 1);
      slow = true;
      bench.target.mostOpen = 0;
      await bench.store.enqueue(Array.from({ length: 8 }, () => bench.task({ retry: PATIENT_RETRY })));
      await until("it is closed", () => bench.logged("answers again").length === 1);
      expect(mostOpenWhileProbing[0]).toBe(1);
    }),
    15_000,
  );

  test(
    "does not open for answers that speak against the task and not the host",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 404 });
      bench.start({ breaker: { failureThreshold: 2, openMs: 60_000 } });
      const id = await bench.enqueue({ retry: { ...PATIENT_RETRY, maxAttempts: 6 } });
      const task = await bench.reaches(id, "dead");
      expect(task).toMatchObject({ attempts: 6, releases: 0 });
    }),
  );

  test(
    "stays closed while failures are not in a row",
    withBench(async (bench) => {
      let requests = 0;
      bench.target.answer = () => new Response("x", { status: requests++ % 2 === 0 ? 500 : 200 });
      bench.start({ concurrency: 1, breaker: { failureThreshold: 2, openMs: 60_000 } });
      const tasks = Array.from({ length: 10 }, () =>
        bench.task({ retry: { ...PATIENT_RETRY, maxAttempts: 1 } }),
      );
      await bench.store.enqueue(tasks);
      await until("all were delivered", () => bench.target.hits.length === 10);
      expect(bench.logged("breaker is open")).toHaveLength(0);
    }),
  );
});
