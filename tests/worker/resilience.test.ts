/** A worker that nothing kills: stores that fail for a while, and the quiet of having nothing to do. */

import { describe, expect, test } from "bun:test";
import { DatabaseSync } from "node:sqlite";
import { until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

/** Makes every change to a task fail, as on a failing disk, until the returned function is called. */
function breakTasks(path: string): () => void {
  const other = new DatabaseSync(path);
  other.exec("PRAGMA busy_timeout = 5000");
  other.exec("CREATE TRIGGER broken BEFORE UPDATE ON tasks BEGIN SELECT RAISE(ABORT, 'it is broken'); END");
  return () => {
    other.exec("DROP TRIGGER broken");
    other.close();
  };
}

const FAILED = "claiming and settling tasks failed";

describe("a store that fails for a while", () => {
  test(
    "does not end the loop, is told once, and work goes on where it stopped",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const worker = bench.start({ concurrency: 2 });
      const ids = [await bench.enqueue(), await bench.enqueue(), await bench.enqueue()];
      await until("two are running", () => held.held === 2);
      const repair = breakTasks(bench.path);
      held.letGo();
      await until("the failure is told", () => bench.logged(FAILED).length > 0);
      expect(worker.running).toBe(2);
      const movedMonoMs = worker.lastMovedMonoMs;
      await until("the loop still goes round", () => worker.lastMovedMonoMs > movedMonoMs + 1_500);
      bench.target.answer = () => new Response("ok");
      repair();

      for (const id of ids) {
        expect(await bench.reaches(id, "succeeded")).toMatchObject({ attempts: 1, crashes: 0 });
      }
      expect(bench.target.hits).toHaveLength(3);
      expect(bench.logged(FAILED)).toHaveLength(1);
      expect(bench.logged("claiming and settling tasks works again")).toHaveLength(1);
    }),
    20_000,
  );

  test(
    "because another process holds it locked is waited for, and no settlement is lost",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      bench.start();
      const id = await bench.enqueue();
      await until("it is running", () => held.held === 1);
      const other = new DatabaseSync(bench.path);
      other.exec("BEGIN EXCLUSIVE");
      held.letGo();
      await until("settling has failed once", () => bench.counted.calls.settleAndClaim >= 2);
      other.exec("COMMIT");
      other.close();
      expect(await bench.reaches(id, "succeeded")).toMatchObject({ attempts: 1, crashes: 0 });
      expect(bench.target.hits).toHaveLength(1);
    }),
    20_000,
  );

  test(
    "for longer than the leases has their deliveries broken off, for others may have them",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      bench.start({ leaseMs: 900 });
      const id = await bench.enqueue();
      await until("it is running", () => held.held === 1);
      const repair = breakTasks(bench.path);
      await until("the request is broken off", () => held.aborted === 1);
      expect(bench.logged("leases ran out")).toHaveLength(1);
      bench.target.answer = () => new Response("ok");
      repair();
      expect((await bench.reaches(id, "succeeded")).attempts).toBe(1);
    }),
    20_000,
  );
});

describe("an idle worker", () => {
  test(
    "asks the store a few times a second",
    withBench(async (bench) => {
      const worker = bench.start();
      await until(
        "it has settled in",
        () => bench.counted.calls.sweep >= 1 && bench.counted.calls.claim >= 1,
      );
      const callsBefore = bench.counted.total;
      const movedMonoMs = worker.lastMovedMonoMs;
      await Bun.sleep(3_000);
      expect(bench.counted.total - callsBefore).toBeLessThanOrEqual(10);
      expect(worker.lastMovedMonoMs).toBeGreaterThan(movedMonoMs + 1_500);
    }),
    10_000,
  );

  test(
    "wakes at once for a task",
    withBench(async (bench) => {
      bench.start();
      await until("it is idle", () => bench.counted.calls.claim >= 1);
      const waits: number[] = [];
      for (let i = 0; i < 5; i++) {
        const enqueuedAtMs = Date.now();
        const id = await bench.enqueue();
        await bench.reaches(id, "succeeded");
        waits.push((bench.target.hitsOf(id)[0]?.atMs ?? Number.NaN) - enqueuedAtMs);
      }
      waits.sort((a, b) => a - b);
      // Without a hint it would look again only after its pause.
      expect(waits[2]).toBeLessThan(250);
    }),
  );

  test(
    "has announced itself",
    withBench(async (bench) => {
      bench.start({ concurrency: 3, id: "worker-of-note" });
      await until("it is listed", async () => (await bench.store.workers(60_000)).length === 1);
      expect(await bench.store.workers(60_000)).toMatchObject([
        { id: "worker-of-note", version: "0.0.0", concurrency: 3, allowPrivateUrls: true },
      ]);
    }),
  );

  test(
    "sweeps out finished tasks step by step without waiting between the steps",
    withBench(async (bench) => {
      const tasks = Array.from({ length: 600 }, () => bench.task({ retentionMs: 1 }));
      await bench.store.enqueue(tasks);
      for (const { id } of tasks) await bench.store.cancel(id);
      bench.advanceStoreTime(1_000);
      const startedAtMs = performance.now();
      bench.start();
      await until("they are gone", async () => (await bench.store.list({ limit: 1 })).tasks.length === 0);
      expect(performance.now() - startedAtMs).toBeLessThan(3_000);
      expect(bench.counted.calls.sweep).toBe(2);
    }),
  );

  test(
    "that is told of more work and finds none asks again after a pause, not at once",
    withBench(async (bench) => {
      bench.counted.nextInMs = 0;
      bench.start();
      await until("it has settled in", () => bench.counted.calls.claim >= 3);
      const claimsBefore = bench.counted.calls.claim;
      const startedAtMs = performance.now();
      await Bun.sleep(500);
      const claims = bench.counted.calls.claim - claimsBefore;
      expect(claims).toBeGreaterThan(3);
      expect(claims).toBeLessThanOrEqual((performance.now() - startedAtMs) / 5 + 1);
    }),
  );
});
