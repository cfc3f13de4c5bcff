/** Leases of running deliveries: kept as long as they run, and what happens when one is taken away. */

import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/runtime.ts";
import { until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

describe("a delivery", () => {
  test(
    "does not begin on a lease that ran out while the claim's answer was on its way; its task goes back uncharged",
    withBench(async (bench) => {
      let aheadMs = 0;
      const slow = new Proxy(bench.counted, {
        get: (store, name) => {
          if (name !== "claim") return Reflect.get(store, name, store);
          return async (...args: Parameters<typeof store.claim>) => {
            const claim = await store.claim(...args);
            if (claim.tasks.length > 0 && aheadMs === 0) aheadMs = 60_000;
            return claim;
          };
        },
      });
      const clock = { ...systemClock, monoMs: () => systemClock.monoMs() + aheadMs };
      const id = await bench.enqueue();
      bench.start({ leaseMs: 30_000, store: slow, clock });
      const task = await bench.reaches(id, "succeeded");
      expect(task).toMatchObject({ attempts: 1, crashes: 0, releases: 1 });
      expect(bench.target.hits).toHaveLength(1);
    }),
  );
});

describe("a running delivery", () => {
  test(
    "keeps its lease for many times the lease's length, by one extend for all at each beat",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      bench.start({ leaseMs: 400 });
      const ids = await Promise.all([bench.enqueue(), bench.enqueue(), bench.enqueue()]);
      await until("all are running", () => held.held === 3);
      await until("five leases' time went by", () => bench.counted.calls.extend >= 15);
      expect(held.aborted).toBe(0);
      held.letGo();
      for (const id of ids) {
        const task = await bench.reaches(id, "succeeded");
        expect(task).toMatchObject({ attempts: 1, crashes: 0, releases: 0 });
      }
      expect(bench.target.hits).toHaveLength(3);
    }),
  );

  test(
    "is broken off at once when its task is cancelled, and its attempt is kept as cancelled",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start();
      const id = await bench.enqueue();
      await until("it is running", () => held.held === 1);
      const cancelledAtMs = performance.now();
      expect((await bench.store.cancel(id)).kind).toBe("changed");
      await until("the request is broken off", () => held.aborted === 1);
      // Far sooner than the beat, which comes after ten seconds.
      expect(performance.now() - cancelledAtMs).toBeLessThan(1_000);
      await until("its slot is free", () => worker.running === 0);
      const task = await bench.get(id);
      expect(task.state).toBe("cancelled");
      expect(task.lease).toBeNull();
      expect(task.attemptLog).toMatchObject([{ number: 1, error: "cancelled", status: null }]);
      expect(bench.logged("task is dead")).toHaveLength(0);
    }),
  );

  test(
    "is broken off when the store gave its task to another, and what it came to changes nothing",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start({ leaseMs: 600, concurrency: 1 });
      const id = await bench.enqueue();
      await until("it is running", () => held.held === 1);
      bench.advanceStoreTime(10_000);
      expect(await bench.store.rescue(10)).toHaveLength(1);
      const { tasks } = await bench.store.claim({ worker: "another", limit: 1, leaseMs: 60_000 });
      expect(tasks.map((task) => task.id)).toEqual([id]);
      await until("the request is broken off", () => held.aborted === 1);
      await until("its slot is free", () => worker.running === 0);
      const task = await bench.get(id);
      expect(task.state).toBe("running");
      expect(task.lease?.worker).toBe("another");
      expect(task.attempts).toBe(0);
      expect(bench.logged("leases were lost")).toHaveLength(1);
    }),
  );
});
