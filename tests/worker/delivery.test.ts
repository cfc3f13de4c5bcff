/** What becomes of a task on its way through a worker: delivered, retried, given up, or given back. */

import { describe, expect, test } from "bun:test";
import { MAX_CRASHES } from "../../src/core/task.ts";
import { newTarget } from "../support/tasks.ts";
import { crash, until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

const FAST_RETRY = { minBackoffMs: 20, maxBackoffMs: 40, jitter: 0 };

describe("a delivery", () => {
  test(
    "is made once and settled with its attempt on record",
    withBench(async (bench) => {
      bench.start();
      const id = await bench.enqueue();
      const task = await bench.reaches(id, "succeeded");
      expect(bench.target.hitsOf(id)).toHaveLength(1);
      expect(task.attempts).toBe(1);
      expect(task.attemptLog).toMatchObject([
        { number: 1, status: 200, error: null, responseExcerpt: "ok", worker: "worker-1" },
      ]);
    }),
  );

  test(
    "is made once for each of many tasks, with never more under way than the concurrency",
    withBench(async (bench) => {
      bench.target.answer = async () => {
        await Bun.sleep(2);
        return new Response("ok");
      };
      const tasks = Array.from({ length: 300 }, () => bench.task());
      await bench.store.enqueue(tasks);
      const worker = bench.start({ concurrency: 7 });
      let mostRunning = 0;
      await until("all are delivered", () => {
        mostRunning = Math.max(mostRunning, worker.running);
        return bench.target.hits.length >= 300 && worker.running === 0;
      });
      expect(new Set(bench.target.hits.map((hit) => hit.taskId)).size).toBe(300);
      expect(bench.target.hits).toHaveLength(300);
      expect(bench.target.mostOpen).toBe(7);
      expect(mostRunning).toBeLessThanOrEqual(7);
      // What ends together is settled together, and with the next claim.
      expect(bench.counted.calls.settle).toBe(0);
      expect(bench.counted.calls.settleAndClaim).toBeLessThan(200);
      for (const { id } of tasks) expect((await bench.get(id)).state).toBe("succeeded");
    }),
  );

  test(
    "is settled by a slow store in one exchange at a time, and the concurrency holds",
    withBench(async (bench) => {
      bench.counted.answerAfterMs = 15;
      let requests = 0;
      bench.target.answer = async () => {
        await Bun.sleep(requests++ % 10);
        return new Response("ok");
      };
      await bench.store.enqueue(Array.from({ length: 60 }, () => bench.task()));
      const worker = bench.start({ concurrency: 8 });
      await until("all are settled", () => bench.target.hits.length >= 60 && worker.running === 0);
      expect(bench.counted.mostExchanges).toBe(1);
      expect(bench.target.mostOpen).toBeLessThanOrEqual(8);
      expect(bench.target.hits).toHaveLength(60);
    }),
  );

  test(
    "of a delayed task starts when it is due: not before, and not only at the regular look",
    withBench(async (bench) => {
      bench.start();
      const lateness: number[] = [];
      for (let i = 0; i < 10; i++) {
        const dueMs = Date.now() + 120 + i * 7;
        const id = await bench.enqueue({ scheduledAtMs: dueMs });
        await bench.reaches(id, "succeeded");
        lateness.push((bench.target.hitsOf(id)[0]?.atMs ?? Number.NaN) - dueMs);
      }
      lateness.sort((a, b) => a - b);
      expect(lateness[0]).toBeGreaterThanOrEqual(0);
      // The regular look comes every second.
      expect(lateness[5]).toBeLessThan(250);
    }),
  );

  test(
    "that is delayed past the regular look still starts when it is due",
    withBench(async (bench) => {
      bench.start();
      const dueMs = Date.now() + 1_550;
      const id = await bench.enqueue({ scheduledAtMs: dueMs });
      await bench.reaches(id, "succeeded");
      const lateMs = (bench.target.hitsOf(id)[0]?.atMs ?? Number.NaN) - dueMs;
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(400);
    }),
  );

  test(
    "that fails is repeated after growing backoffs until it succeeds",
    withBench(async (bench) => {
      bench.target.answer = ({ attempt }) => new Response("x", { status: attempt < 3 ? 500 : 200 });
      bench.start();
      const id = await bench.enqueue({ retry: { minBackoffMs: 100, maxBackoffMs: 1_000, jitter: 0 } });
      const task = await bench.reaches(id, "succeeded");
      expect(task.attemptLog.map(({ number, status }) => [number, status])).toEqual([
        [1, 500],
        [2, 500],
        [3, 200],
      ]);
      const [first, second, third] = bench.target.hitsOf(id).map((hit) => hit.atMs);
      if (first === undefined || second === undefined || third === undefined)
        throw new Error("hits are missing");
      expect(second - first).toBeGreaterThanOrEqual(100);
      expect(third - second).toBeGreaterThanOrEqual(200);
    }),
  );

  test(
    "that fails as often as the worker allows leaves the task dead, and tells so once",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 503 });
      bench.start({ maxRetries: 2 });
      const id = await bench.enqueue({ retry: FAST_RETRY });
      const task = await bench.reaches(id, "dead");
      expect(bench.target.hitsOf(id)).toHaveLength(3);
      expect(task.attempts).toBe(3);
      expect(task.reason).toContain("gave up after 3 attempts");
      expect(bench.logged("task is dead")).toMatchObject([{ level: "warn", task: id }]);
    }),
  );

  test(
    "that the target refuses for good is not repeated",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 410, headers: { "x-task-retry": "no" } });
      bench.start();
      const id = await bench.enqueue({ retry: FAST_RETRY });
      await bench.reaches(id, "dead");
      expect(bench.target.hitsOf(id)).toHaveLength(1);
    }),
  );

  test(
    "to a scheme that no transport owns fails for good and says which",
    withBench(async (bench) => {
      bench.start();
      const id = await bench.enqueue({ target: newTarget({ url: "nats://127.0.0.1:4222/subject" }) });
      const task = await bench.reaches(id, "dead");
      expect(task.reason).toContain("nats:");
    }),
  );

  test(
    "is bounded by the worker's timeout even where the task asks for more",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      bench.start({ taskTimeoutMs: 150 });
      const id = await bench.enqueue({ timeoutMs: 60_000, retry: { ...FAST_RETRY, maxAttempts: 1 } });
      const task = await bench.reaches(id, "dead");
      expect(task.attemptLog[0]?.error).toContain("timed out");
      expect(task.attemptLog[0]?.durationMs).toBeGreaterThanOrEqual(145);
    }),
  );

  test(
    "through a transport that throws or gives no outcome is a failed attempt, and the worker goes on",
    withBench(async (bench) => {
      const transport = {
        name: "faulty",
        schemes: ["faulty:"],
        check: () => [],
        deliver: (delivery: { readonly attempt: number }) => {
          if (delivery.attempt === 1) throw new Error("a plugin's bug");
          if (delivery.attempt === 2) return Promise.reject(new Error("another bug"));
          return Promise.resolve(undefined as never);
        },
        close: async () => {},
      };
      bench.start({ transports: { for: () => transport }, maxRetries: 2 });
      const id = await bench.enqueue({ target: newTarget({ url: "faulty:x" }), retry: FAST_RETRY });
      const task = await bench.reaches(id, "dead");
      expect(task.attemptLog.map(({ error }) => error)).toEqual([
        "transport faulty broke: a plugin's bug",
        "transport faulty broke: another bug",
        "transport faulty broke: it gave no outcome",
      ]);
      expect(bench.logged("broke its contract")).toHaveLength(1);
    }),
  );
});

describe("a crash", () => {
  test(
    "of another worker is found, and costs the task no attempt",
    withBench(async (bench) => {
      const id = await bench.enqueue();
      await bench.store.claim({ worker: "worker-that-dies", limit: 1, leaseMs: 100 });
      bench.start();
      const task = await bench.reaches(id, "succeeded");
      expect(task.crashes).toBe(1);
      expect(task.attempts).toBe(1);
      expect(bench.target.hitsOf(id).map(({ attempt }) => attempt)).toEqual([1]);
    }),
  );

  test(
    "repeated five times makes the task dead: it is not delivered, not charged, and told of once",
    withBench(async (bench) => {
      const id = await bench.enqueue();
      await crash(bench, MAX_CRASHES);
      const worker = bench.start();
      const task = await bench.reaches(id, "dead");
      expect(task).toMatchObject({ crashes: 5, attempts: 0, reason: "5 workers died while running it" });
      expect(task.attemptLog).toHaveLength(0);
      await until("its slot is free", () => worker.running === 0);
      expect(bench.target.hits).toHaveLength(0);
      expect(bench.logged("task is dead")).toMatchObject([
        { level: "warn", task: id, attempts: 0, crashes: 5, reason: "5 workers died while running it" },
      ]);
    }),
  );

  test(
    "repeated once less is no reason yet",
    withBench(async (bench) => {
      const id = await bench.enqueue();
      await crash(bench, MAX_CRASHES - 1);
      bench.start();
      expect((await bench.reaches(id, "succeeded")).crashes).toBe(MAX_CRASHES - 1);
    }),
  );

  test(
    "count that ended in death begins anew with a replay",
    withBench(async (bench) => {
      const id = await bench.enqueue();
      await crash(bench, MAX_CRASHES);
      bench.start();
      await bench.reaches(id, "dead");
      await bench.store.replay(id);
      expect(await bench.reaches(id, "succeeded")).toMatchObject({ crashes: 0, attempts: 1 });
    }),
  );
});
