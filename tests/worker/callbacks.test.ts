/** Tasks that want their end reported: exactly one report, kept in the step that ends the task, and none of a report. */

import { describe, expect, test } from "bun:test";
import type { Task } from "../../src/core/task.ts";
import { type Bench, crash, until, withBench } from "./harness.ts";
import { HeldAnswers, type Hit } from "./target.ts";

const ONCE = { retry: { maxAttempts: 1 } };

async function reports(bench: Bench): Promise<readonly Task[]> {
  const { tasks } = await bench.store.list({ queue: "callbacks", limit: 100 });
  return tasks.toReversed();
}

function hitsAt(bench: Bench, path: string): readonly Hit[] {
  return bench.target.hits.filter((hit) => hit.path === path);
}

function callbacksOf(bench: Bench) {
  return { callbackUrl: bench.target.url("/done"), failureCallbackUrl: bench.target.url("/failed") };
}

describe("a task with callbacks", () => {
  test(
    "that succeeds is reported to callback_url, with what its target answered",
    withBench(async (bench) => {
      bench.target.answer = ({ path }) => new Response(path === "/hook" ? "made 3 pages" : "ok");
      bench.start();
      const own = { queue: "pages", priority: "high", metadata: { job: "7" }, path: "/hook" } as const;
      const id = await bench.enqueue({ ...own, ...callbacksOf(bench) });
      const task = await bench.reaches(id, "succeeded");
      // In the very step that ended the task, so that whoever sees the end sees the report.
      expect(await reports(bench)).toMatchObject([
        { clientId: task.clientId, priority: "high", callbackUrl: null },
      ]);
      await until("the report came", () => hitsAt(bench, "/done").length > 0);
      const [hit] = hitsAt(bench, "/done");
      const [attempt] = task.attemptLog;
      expect(hit?.method).toBe("POST");
      expect(hit?.headers.get("content-type")).toBe("application/json");
      expect(JSON.parse(hit?.body ?? "")).toEqual({
        event: "task.succeeded",
        task_id: id,
        queue: "pages",
        client_id: task.clientId,
        state: "succeeded",
        reason: null,
        attempts: 1,
        last_attempt: {
          number: 1,
          status: 200,
          error: null,
          duration_ms: attempt?.durationMs,
          started_at: new Date(attempt?.startedAtMs ?? 0).toISOString(),
          response_excerpt: "made 3 pages",
        },
        metadata: { job: "7" },
        finished_at: expect.stringMatching(/^\d{4}-.*Z$/),
      });
      expect(hitsAt(bench, "/failed")).toHaveLength(0);
    }),
  );

  test(
    "that fails at first is reported once, when it is over",
    withBench(async (bench) => {
      bench.target.answer = ({ path, attempt }) =>
        new Response("x", { status: path === "/hook" && attempt < 3 ? 500 : 200 });
      bench.start();
      const retry = { minBackoffMs: 1, jitter: 0 };
      const id = await bench.enqueue({ path: "/hook", retry, ...callbacksOf(bench) });
      await bench.reaches(id, "succeeded");
      await until("the report came", () => hitsAt(bench, "/done").length > 0);
      expect(JSON.parse(hitsAt(bench, "/done")[0]?.body ?? "")).toMatchObject({ attempts: 3 });
      expect(await reports(bench)).toHaveLength(1);
      expect(bench.target.hits).toHaveLength(4);
    }),
  );

  test(
    "that dies is reported to failure_callback_url, beside what its queue's dead target gets",
    withBench(async (bench) => {
      bench.target.answer = ({ path }) => new Response("x", { status: path === "/hook" ? 500 : 200 });
      const deadTarget = { kind: "callback", url: bench.target.url("/dead") } as const;
      await bench.setQueue("orders", { ...ONCE, deadTarget });
      bench.start();
      const id = await bench.enqueue({ queue: "orders", path: "/hook", ...callbacksOf(bench) });
      await bench.reaches(id, "dead");
      const made = await reports(bench);
      expect(made.map(({ target }) => new URL(target.url).pathname)).toEqual(["/dead", "/failed"]);
      await until("both came", () => hitsAt(bench, "/dead").length + hitsAt(bench, "/failed").length === 2);
      expect(JSON.parse(hitsAt(bench, "/failed")[0]?.body ?? "")).toMatchObject({
        event: "task.dead",
        task_id: id,
        reason: "gave up after 1 attempt: answered 500 Internal Server Error",
      });
      expect(hitsAt(bench, "/done")).toHaveLength(0);
      const [log] = bench.logged("task is dead");
      expect(log).toMatchObject({ followUps: made.map((report) => report.id) });
    }),
  );

  test(
    "that brought down its workers is reported, undelivered",
    withBench(async (bench) => {
      const { callbackUrl } = callbacksOf(bench);
      const id = await bench.enqueue({ path: "/hook", callbackUrl });
      await crash(bench, 5);
      bench.start();
      await until("the report came", () => hitsAt(bench, "/done").length > 0);
      expect(JSON.parse(hitsAt(bench, "/done")[0]?.body ?? "")).toMatchObject({
        event: "task.dead",
        task_id: id,
        reason: "5 workers died while running it",
        attempts: 0,
        last_attempt: null,
      });
      expect(hitsAt(bench, "/hook")).toHaveLength(0);
    }),
  );

  test(
    "that is cancelled, waiting or running, is not reported, though its target answers well",
    withBench(async (bench) => {
      const held = new HeldAnswers();
      bench.target.answer = held.answer;
      const later = await bench.enqueue({ scheduledAtMs: Date.now() + 60_000, ...callbacksOf(bench) });
      await bench.store.cancel(later);
      const worker = bench.start();
      const id = await bench.enqueue({ path: "/hook", ...callbacksOf(bench) });
      await until("it is running", () => held.held === 1);
      await bench.store.cancel(id);
      await until("its slot is free", () => worker.running === 0);
      expect(await reports(bench)).toHaveLength(0);
    }),
  );
});

describe("a report", () => {
  test(
    "is retried like any task, and dies unreported though its queue has a dead target and its URL is the task's own",
    withBench(async (bench) => {
      bench.target.answer = ({ path }) => new Response("x", { status: path === "/done" ? 500 : 200 });
      const retry = { maxAttempts: 2, minBackoffMs: 1, jitter: 0 };
      const deadTarget = { kind: "queue", queue: "graves" } as const;
      await bench.setQueue("callbacks", { retry, deadTarget });
      const worker = bench.start();
      const id = await bench.enqueue({ path: "/hook", ...callbacksOf(bench) });
      await bench.reaches(id, "succeeded");
      const [report] = await reports(bench);
      const dead = await bench.reaches(report?.id ?? "", "dead");
      await until("nothing is under way", () => worker.running === 0);
      expect(dead.attempts).toBe(2);
      expect(hitsAt(bench, "/done")).toHaveLength(2);
      expect(await reports(bench)).toHaveLength(1);
      expect((await bench.store.list({ queue: "graves", limit: 10 })).tasks).toHaveLength(0);
    }),
  );

  test(
    "goes to its own URL whatever the queue of reports calls instead",
    withBench(async (bench) => {
      await bench.setQueue("callbacks", { target: { url: bench.target.url("/elsewhere"), method: "GET" } });
      bench.start();
      await bench.enqueue({ path: "/hook", ...callbacksOf(bench) });
      await until("the report came", () => hitsAt(bench, "/done").length > 0);
      expect(hitsAt(bench, "/done")[0]?.method).toBe("POST");
      expect(hitsAt(bench, "/elsewhere")).toHaveLength(0);
    }),
  );

  test(
    "comes once more after its task was replayed, for that ended once more",
    withBench(async (bench) => {
      bench.start();
      const id = await bench.enqueue({ path: "/hook", ...callbacksOf(bench) });
      await until("the report came", () => hitsAt(bench, "/done").length === 1);
      await bench.store.replay(id);
      await until("another came", () => hitsAt(bench, "/done").length === 2);
      expect(await reports(bench)).toHaveLength(2);
    }),
  );
});
