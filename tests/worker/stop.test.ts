/** Stopping a worker: what runs may finish, what does not is given back, and nothing hangs. */

import { describe, expect, test } from "bun:test";
import { until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

describe("stop", () => {
  test(
    "lets running deliveries finish within the grace and claims no more",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start({ concurrency: 2 });
      const ids = [await bench.enqueue(), await bench.enqueue(), await bench.enqueue()];
      await until("two are running", () => held.held === 2);
      const stopped = worker.stop(10_000);
      held.letGo();
      await stopped;
      expect(bench.target.hits).toHaveLength(2);
      const states = await Promise.all(ids.map(async (id) => (await bench.get(id)).state));
      expect(states.sort()).toEqual(["ready", "succeeded", "succeeded"]);
      expect(worker.running).toBe(0);
    }),
  );

  test(
    "gives back what is still running after the grace, due at once and uncharged",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start();
      const id = await bench.enqueue();
      await until("it is running", () => held.held === 1);
      await worker.stop(100);
      expect(held.aborted).toBe(1);
      const task = await bench.get(id);
      expect(task).toMatchObject({
        state: "ready",
        reason: "worker stopped",
        attempts: 0,
        crashes: 0,
        releases: 1,
      });
      expect(task.attemptLog).toHaveLength(0);

      bench.target.answer = () => new Response("ok");
      bench.start();
      await bench.reaches(id, "succeeded");
      expect(bench.target.hitsOf(id).map(({ attempt }) => attempt)).toEqual([1, 1]);
    }),
  );

  test(
    "gives back what a claim under way still brings, undelivered",
    withBench(async (bench) => {
      const ids = [await bench.enqueue(), await bench.enqueue()];
      bench.counted.answerAfterMs = 100;
      const worker = bench.start();
      await until("the claim is under way", () => bench.counted.calls.claim === 1);
      await worker.stop(5_000);
      expect(bench.target.hits).toHaveLength(0);
      for (const id of ids) {
        expect(await bench.get(id)).toMatchObject({ state: "ready", attempts: 0, releases: 1, lease: null });
      }
    }),
  );

  test(
    "may be called twice, and before start",
    withBench(async (bench) => {
      const worker = bench.start();
      await Promise.all([worker.stop(1_000), worker.stop(0)]);
      worker.start();
      const id = await bench.enqueue();
      const calls = bench.counted.total;
      await Bun.sleep(100);
      expect(bench.counted.total).toBe(calls);
      expect((await bench.get(id)).state).toBe("ready");
    }),
  );

  test(
    "does not wait for a transport that does not end when told to",
    withBench(async (bench) => {
      const deaf = {
        name: "deaf",
        schemes: ["http:"],
        check: () => [],
        deliver: () => new Promise<never>(() => {}),
        close: async () => {},
      };
      const worker = bench.start({ transports: { for: () => deaf }, concurrency: 1 });
      const id = await bench.enqueue();
      await until("it is running", () => worker.running === 1);
      const stoppedAtMs = performance.now();
      await worker.stop(50);
      expect(performance.now() - stoppedAtMs).toBeLessThan(3_000);
      expect(await bench.get(id)).toMatchObject({ state: "ready", attempts: 0, reason: "worker stopped" });
    }),
  );

  test(
    "ends in bounded time when the store no longer answers",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start();
      await bench.enqueue();
      await until("it is running", () => held.held === 1);
      await bench.store.close();
      const stoppedAtMs = performance.now();
      await worker.stop(100);
      expect(performance.now() - stoppedAtMs).toBeLessThan(10_000);
      expect(bench.logged("stopped without settling")).toHaveLength(1);
    }),
    15_000,
  );
});
