/** Dead tasks where their queue wants them: followed by exactly one task, in the same step, and never for ever. */

import { describe, expect, test } from "bun:test";
import type { Task } from "../../src/core/task.ts";
import { type Bench, crash, until, withBench } from "./harness.ts";
import { HeldAnswers } from "./target.ts";

const ONCE = { retry: { maxAttempts: 1 } };

/** The tasks of a queue, oldest first. */
async function tasksOf(bench: Bench, queue: string): Promise<readonly Task[]> {
  const { tasks } = await bench.store.list({ queue, limit: 100 });
  return tasks.toReversed();
}

describe("a dead target that is a queue", () => {
  test(
    "gets a copy of each task that died, which is delivered like any other",
    withBench(async (bench) => {
      bench.target.answer = ({ headers }) =>
        new Response("x", { status: headers.get("x-task-queue") === "orders" ? 503 : 200 });
      await bench.setQueue("orders", { ...ONCE, deadTarget: { kind: "queue", queue: "dead-letters" } });
      bench.start();
      const own = { queue: "orders", name: "order-17", orderingKey: "shop", metadata: { order: "17" } };
      const id = await bench.enqueue({ ...own, priority: "high", path: "/hook" });
      const dead = await bench.reaches(id, "dead");
      const [copy, ...others] = await tasksOf(bench, "dead-letters");
      expect(others).toHaveLength(0);
      expect(copy).toMatchObject({
        queue: "dead-letters",
        clientId: dead.clientId,
        priority: "high",
        target: dead.target,
        name: null,
        orderingKey: null,
        metadata: {
          order: "17",
          "task-runner.dead_task_id": id,
          "task-runner.dead_queue": "orders",
          "task-runner.dead_reason": "gave up after 1 attempt: answered 503 Service Unavailable",
        },
      });
      await bench.reaches(copy?.id ?? "", "succeeded");
      const [ofCopy] = bench.target.hitsOf(copy?.id ?? "");
      expect(ofCopy).toMatchObject({ path: "/hook", body: "{}", attempt: 1 });
      expect(bench.logged("task is dead")).toMatchObject([{ task: id, followUps: [copy?.id] }]);
    }),
  );

  test(
    "gets a task that brought down its workers, undelivered",
    withBench(async (bench) => {
      await bench.setQueue("dead-letters", { paused: true });
      await bench.setQueue("orders", { deadTarget: { kind: "queue", queue: "dead-letters" } });
      const id = await bench.enqueue({ queue: "orders" });
      await crash(bench, 5);
      bench.start();
      await bench.reaches(id, "dead");
      expect(await tasksOf(bench, "dead-letters")).toMatchObject([
        {
          state: "ready",
          crashes: 0,
          metadata: {
            "task-runner.dead_task_id": id,
            "task-runner.dead_reason": "5 workers died while running it",
          },
        },
      ]);
      expect(bench.target.hits).toHaveLength(0);
    }),
  );

  test(
    "that names the first queue in turn makes no loop",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 500 });
      await bench.setQueue("a", { ...ONCE, deadTarget: { kind: "queue", queue: "b" } });
      await bench.setQueue("b", { ...ONCE, deadTarget: { kind: "queue", queue: "a" } });
      const worker = bench.start();
      const id = await bench.enqueue({ queue: "a" });
      await until("the copy is dead too", async () => (await tasksOf(bench, "b"))[0]?.state === "dead");
      await until("nothing is under way", () => worker.running === 0);
      expect((await tasksOf(bench, "a")).map((task) => task.id)).toEqual([id]);
      expect(await tasksOf(bench, "b")).toHaveLength(1);
      expect(bench.target.hits).toHaveLength(2);
    }),
  );

  test(
    "gets nothing of a task that was cancelled, nor of one whose lease another has",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      await bench.setQueue("orders", { ...ONCE, deadTarget: { kind: "queue", queue: "dead-letters" } });
      const id = await bench.enqueue({ queue: "orders" });
      const { tasks } = await bench.store.claim({ worker: "late", limit: 1, leaseMs: 1 });
      bench.advanceStoreTime(10);
      await bench.store.rescue(10);
      const worker = bench.start();
      await until("it is running", () => held.held === 1);
      const followUp = bench.task({ queue: "dead-letters" });
      const lease = { taskId: id, fence: tasks[0]?.fence ?? Number.NaN };
      const verdict = { kind: "dead", reason: "late" } as const;
      expect(await bench.store.settle([{ lease, verdict, attempt: null, followUps: [followUp] }])).toEqual([
        "stale",
      ]);
      await bench.store.cancel(id);
      await until("its slot is free", () => worker.running === 0);
      expect(await tasksOf(bench, "dead-letters")).toHaveLength(0);
    }),
  );
});

describe("a dead target that is a URL", () => {
  test(
    "is told what died, in the queue of reports, even while the queue of the dead is paused",
    withBench(async (bench) => {
      bench.target.answer = ({ path }) => new Response("x", { status: path === "/dead" ? 200 : 500 });
      const deadTarget = { kind: "callback", url: bench.target.url("/dead") } as const;
      await bench.setQueue("orders", { ...ONCE, deadTarget });
      bench.start();
      const id = await bench.enqueue({ queue: "orders", metadata: { order: "17" } });
      const dead = await bench.reaches(id, "dead");
      await bench.setQueue("orders", { paused: true });
      await until("the report came", () => bench.target.hits.some(({ path }) => path === "/dead"));
      const report = bench.target.hits.find(({ path }) => path === "/dead");
      expect(report?.method).toBe("POST");
      expect(report?.headers.get("content-type")).toBe("application/json");
      expect(report?.headers.get("x-task-queue")).toBe("callbacks");
      const [attempt] = dead.attemptLog;
      expect(JSON.parse(report?.body ?? "")).toEqual({
        event: "task.dead",
        task_id: id,
        queue: "orders",
        client_id: dead.clientId,
        state: "dead",
        reason: dead.reason,
        attempts: 1,
        last_attempt: {
          number: 1,
          status: 500,
          error: attempt?.error,
          duration_ms: attempt?.durationMs,
          started_at: new Date(attempt?.startedAtMs ?? 0).toISOString(),
          response_excerpt: "x",
        },
        metadata: { order: "17" },
        finished_at: expect.stringMatching(/^\d{4}-.*Z$/),
      });
    }),
  );

  test(
    "that fails is not reported in turn, though the report dies in a queue with the same rule",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 500 });
      const deadTarget = { kind: "callback", url: bench.target.url("/dead") } as const;
      await bench.setQueue("default", { ...ONCE, deadTarget });
      await bench.setQueue("callbacks", { ...ONCE, deadTarget });
      const worker = bench.start();
      const id = await bench.enqueue();
      await until("the report is dead", async () => (await tasksOf(bench, "callbacks"))[0]?.state === "dead");
      await until("nothing is under way", () => worker.running === 0);
      const [report, ...others] = await tasksOf(bench, "callbacks");
      expect(others).toHaveLength(0);
      expect(report?.metadata).toEqual({
        "task-runner.report_of": id,
        "task-runner.report_to": "dead_target",
      });
      expect(await tasksOf(bench, "default")).toHaveLength(1);
      expect(bench.target.hits).toHaveLength(2);
    }),
  );
});
