/** Purging a queue: asked for by one call, done by whatever worker there is. */

import { describe, expect, test } from "bun:test";
import { auditOf, until, withBench } from "./harness.ts";

describe("a purge", () => {
  test(
    "is completed by a worker alone, step after step, and spares other queues and later tasks",
    withBench(async (bench) => {
      const inAnHourMs = Date.now() + 3_600_000;
      const doomed = Array.from({ length: 3_500 }, (_, i) =>
        bench.task({ queue: "doomed", scheduledAtMs: inAnHourMs, name: `task-${i}` }),
      );
      const spared = Array.from({ length: 50 }, () =>
        bench.task({ queue: "spared", scheduledAtMs: inAnHourMs }),
      );
      for (let at = 0; at < doomed.length; at += 1_000) {
        await bench.store.enqueue(doomed.slice(at, at + 1_000));
      }
      await bench.store.enqueue(spared);
      await bench.store.purge("doomed", auditOf("queues.purge", "doomed"));
      const later = await bench.enqueue({ queue: "doomed", scheduledAtMs: inAnHourMs });
      const startedAtMs = performance.now();
      bench.start();
      await until("the purge is over", async () => {
        const [use] = await bench.store.queueUse(["doomed"]);
        return use?.purge === null;
      });
      // Without a pause of five seconds between its steps.
      expect(performance.now() - startedAtMs).toBeLessThan(4_000);
      expect(bench.counted.calls.purgeStep).toBeGreaterThan(3);
      const left = await bench.store.list({ queue: "doomed", limit: 1_000 });
      expect(left.tasks.map(({ id }) => id)).toEqual([later]);
      expect((await bench.store.list({ queue: "spared", limit: 1_000 })).tasks).toHaveLength(50);
      // Their names are free again.
      const again = bench.task({ queue: "doomed", name: "task-0", scheduledAtMs: inAnHourMs });
      expect((await bench.store.enqueue([again])).results).toMatchObject([{ kind: "created" }]);
      expect(bench.target.hits).toHaveLength(0);
    }),
    20_000,
  );

  test(
    "that fails is told of once, tried again, and keeps nothing else from being done",
    withBench(async (bench) => {
      const scheduledAtMs = Date.now() + 3_600_000;
      await bench.store.enqueue(
        Array.from({ length: 10 }, () => bench.task({ queue: "doomed", scheduledAtMs })),
      );
      await bench.store.purge("doomed", auditOf("queues.purge", "doomed"));
      const { purgeStep } = bench.counted;
      let failures = 0;
      bench.counted.purgeStep = (limit) =>
        failures++ === 0 ? Promise.reject(new RangeError("nobody foresaw this")) : purgeStep(limit);
      bench.start();
      await bench.reaches(await bench.enqueue(), "succeeded");
      await until("it has been told", () => bench.logged("purging queues failed").length === 1);
      await until("it was tried again, and done", async () => {
        const { tasks } = await bench.store.list({ queue: "doomed", limit: 10 });
        return tasks.length === 0;
      });
      expect(bench.logged("purging queues failed")).toHaveLength(1);
      expect(bench.logged("purging queues works again")).toHaveLength(1);
    }),
    20_000,
  );
});
