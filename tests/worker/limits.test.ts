/** Limits as targets see them: kept over workers and processes, and waited for without a fuss. */

import { describe, expect, test } from "bun:test";
import { CountedStore } from "./counted-store.ts";
import { until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

describe("a limit", () => {
  test(
    "of three running at once for a client is never passed at its target by two workers on one store",
    withBench(async (bench) => {
      await bench.setClient("client-a", { overrides: { maxConcurrent: 3 } });
      bench.target.answer = async ({ attempt }) => {
        await Bun.sleep(4);
        return new Response("x", { status: attempt === 1 && Math.random() < 0.2 ? 500 : 200 });
      };
      const retry = { minBackoffMs: 10, maxBackoffMs: 20, jitter: 0 };
      const tasks = Array.from({ length: 120 }, (_, i) => bench.task({ queue: `queue-${i % 4}`, retry }));
      await bench.store.enqueue(tasks);
      // Neither has slots for all three, and together they have one too many.
      bench.start({ concurrency: 2 });
      bench.start({ concurrency: 2, store: new CountedStore(await bench.openAgain()) });
      await until("all are delivered", async () => {
        const states = await Promise.all(tasks.map(async ({ id }) => (await bench.get(id)).state));
        return states.every((state) => state === "succeeded");
      });
      expect(bench.target.mostOpen).toBe(3);
      expect(new Set(bench.target.hits.map(({ taskId }) => taskId)).size).toBe(120);
      const workers = new Set<string>();
      for (const { id } of tasks)
        for (const { worker } of (await bench.get(id)).attemptLog) workers.add(worker);
      expect([...workers].sort()).toEqual(["worker-1", "worker-2"]);
    }),
    30_000,
  );

  test(
    "of one client leaves the slots to another, and a raised one counts at once",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      await bench.setClient("narrow", { overrides: { maxConcurrent: 1 } });
      await bench.store.enqueue(Array.from({ length: 20 }, () => bench.task({ clientId: "narrow" })));
      bench.start({ concurrency: 8 });
      await until("the first is running", () => held.held === 1);
      await bench.store.enqueue(Array.from({ length: 3 }, () => bench.task({ clientId: "wide" })));
      await until("the other client's run too", () => held.held === 4);
      await bench.setClient("narrow", { overrides: { maxConcurrent: 4 } });
      await until("three more run", () => held.held === 7);
      expect(bench.target.mostOpen).toBe(7);
    }),
  );

  test(
    "that holds everything back is waited for in peace, also by a second process",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      await bench.setClient("client-a", { overrides: { maxConcurrent: 1 } });
      await bench.setQueue("paused", { paused: true });
      await bench.store.enqueue([
        ...Array.from({ length: 200 }, (_, i) => bench.task({ queue: `queue-${i % 20}` })),
        ...Array.from({ length: 50 }, () => bench.task({ queue: "paused", clientId: "client-b" })),
      ]);
      const stores = [bench.counted, new CountedStore(await bench.openAgain())];
      for (const store of stores) bench.start({ store });
      await until("one is running", () => held.held === 1);
      await until("the chores have begun", () => stores.every(({ calls }) => calls.purgeStep >= 1));
      const claimsBefore = stores.map(({ calls }) => calls.claim);
      await Bun.sleep(2_000);
      const claims = stores.map(({ calls }, index) => calls.claim - (claimsBefore[index] ?? 0));
      for (const count of claims) expect(count).toBeLessThanOrEqual(4);
      expect(bench.target.hits).toHaveLength(1);
    }),
    10_000,
  );

  test(
    "is free again for another process as soon as a worker that claims no more has settled",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      await bench.setClient("client-a", { overrides: { maxConcurrent: 1 } });
      const first = bench.start();
      await bench.enqueue();
      await until("the first is running", () => held.held === 1);
      const next = await bench.enqueue();
      const other = new CountedStore(await bench.openAgain());
      bench.start({ store: other });
      await until("the other has looked in vain", () => other.calls.claim >= 1);
      const stopped = first.stop(10_000);
      const freedAtMs = Date.now();
      held.letGo();
      await stopped;
      await until("the next is running", () => bench.target.hitsOf(next).length === 1);
      // Far sooner than the regular look, which comes every second.
      expect((bench.target.hitsOf(next)[0]?.atMs ?? Number.NaN) - freedAtMs).toBeLessThan(800);
    }),
  );

  test(
    "of dispatches a second spaces them out, on time and without a claim in vain for each millisecond",
    withBench(async (bench) => {
      await bench.setQueue("slow", { maxDispatchesPerSec: 10, maxBurst: 1 });
      const tasks = Array.from({ length: 11 }, () => bench.task({ queue: "slow" }));
      await bench.store.enqueue(tasks);
      bench.start();
      await until("all are delivered", () => bench.target.hits.length === 11);
      // A first fence is the time of its claim, whatever the way to the target takes.
      const times = bench.target.hits.map(({ fence }) => fence).sort((a, b) => a - b);
      const tookMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
      expect(tookMs).toBeGreaterThanOrEqual(999);
      expect(tookMs).toBeLessThan(2_500);
      const { claim, settleAndClaim } = bench.counted.calls;
      expect(claim + settleAndClaim).toBeLessThanOrEqual(50);
    }),
  );
});
