/** A queue's rules in force: what reaches the target, how often, and what is given up. */

import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/runtime.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { newTarget } from "../support/tasks.ts";
import { until, withBench } from "./harness.ts";
import { HeldAnswers, Target } from "./target.ts";

const FAST_RETRY = { minBackoffMs: 20, maxBackoffMs: 40, jitter: 0 };

describe("a queue's rules", () => {
  test(
    "of retrying hold for tasks that do not say, also for those that waited before the rule was made",
    withBench(async (bench) => {
      bench.target.answer = () => new Response("x", { status: 500 });
      const silent = await bench.enqueue({ queue: "orders" });
      const outspoken = await bench.enqueue({ queue: "orders", retry: { maxAttempts: 1 } });
      await bench.setQueue("orders", { retry: { ...FAST_RETRY, maxAttempts: 3 } });
      bench.start({ maxRetries: 0 });
      expect((await bench.reaches(silent, "dead")).attempts).toBe(3);
      expect((await bench.reaches(outspoken, "dead")).attempts).toBe(1);
    }),
  );

  test(
    "bound an attempt's time where the task does not, and never past the worker's own bound",
    withBench(async (bench) => {
      bench.target.answer = new HeldAnswers().answer;
      await bench.setQueue("quick", { timeoutMs: 120, retry: { maxAttempts: 1 } });
      await bench.setQueue("slow", { timeoutMs: 60_000, retry: { maxAttempts: 1 } });
      bench.start({ taskTimeoutMs: 1_000 });
      const quick = await bench.reaches(await bench.enqueue({ queue: "quick" }), "dead");
      expect(quick.attemptLog[0]?.error).toContain("timed out");
      expect(quick.attemptLog[0]?.durationMs).toBeLessThan(990);
      const slow = await bench.reaches(await bench.enqueue({ queue: "slow" }), "dead");
      expect(slow.attemptLog[0]?.durationMs).toBeGreaterThanOrEqual(990);
    }),
  );

  test(
    "name statuses after which a task is not tried again; others are",
    withBench(async (bench) => {
      bench.target.answer = ({ path }) => new Response("x", { status: path === "/gone" ? 410 : 404 });
      await bench.setQueue("orders", { permanentStatuses: [410], retry: { ...FAST_RETRY, maxAttempts: 2 } });
      bench.start();
      const gone = await bench.reaches(await bench.enqueue({ queue: "orders", path: "/gone" }), "dead");
      expect(gone).toMatchObject({
        attempts: 1,
        reason: "answered 410, which its queue takes for final",
      });
      expect(gone.attemptLog).toMatchObject([{ number: 1, status: 410 }]);
      const missing = await bench.reaches(await bench.enqueue({ queue: "orders" }), "dead");
      expect(missing.attempts).toBe(2);
    }),
  );

  test(
    "put another target in place of the task's own, which stays as it was handed in",
    withBench(async (bench) => {
      const other = new Target();
      try {
        await bench.setQueue("orders", {
          target: {
            url: other.url("/instead"),
            method: "PUT",
            headers: { authorization: "Bearer queue", "x-added": "yes" },
          },
        });
        bench.start();
        const target = newTarget({
          url: bench.target.url(),
          headers: { Authorization: "Bearer own", "X-Own": "kept" },
          body: "payload",
        });
        const id = await bench.enqueue({ queue: "orders", target });
        const task = await bench.reaches(id, "succeeded");
        expect(task.target).toEqual(target);
        expect(bench.target.hits).toHaveLength(0);
        const [hit] = other.hits;
        expect(hit).toMatchObject({ method: "PUT", path: "/instead", body: "payload", taskId: id });
        const { headers } = hit ?? {};
        expect(headers?.get("authorization")).toBe("Bearer queue");
        expect(headers?.get("x-own")).toBe("kept");
        expect(headers?.get("x-added")).toBe("yes");
      } finally {
        await other.close();
      }
    }),
  );

  test(
    "that ask for GET have a task's body left out",
    withBench(async (bench) => {
      await bench.setQueue("orders", { target: { method: "GET" } });
      bench.start();
      await bench.reaches(await bench.enqueue({ queue: "orders" }), "succeeded");
      expect(bench.target.hits).toMatchObject([{ method: "GET", body: "" }]);
    }),
  );

  test(
    "open no way to a private address: the one that is called is judged, not the task's",
    withBench(async (bench) => {
      await bench.setQueue("orders", { target: { url: bench.target.url("/inside") } });
      const strict = createHttpTransport({ allowPrivate: false, version: "0.0.0", clock: systemClock });
      bench.start({ transports: new TransportRegistry([strict]) });
      const id = await bench.enqueue({
        queue: "orders",
        target: newTarget({ url: "https://example.com/" }),
      });
      const task = await bench.reaches(id, "dead");
      expect(task.reason).toContain("not allowed");
      expect(bench.target.hits).toHaveLength(0);
    }),
  );

  test(
    "lead the breaker to count the host that is called, and spare the one that is named",
    withBench(async (bench) => {
      const sick = new Target();
      sick.answer = () => new Response("x", { status: 500 });
      try {
        await bench.setQueue("orders", { target: { url: sick.url() }, retry: FAST_RETRY });
        bench.start({ breaker: { failureThreshold: 2, openMs: 60_000 } });
        const id = await bench.enqueue({ queue: "orders" });
        await until("the task is held back", async () => (await bench.store.heldHosts())[0]?.tasks === 1);
        expect(await bench.store.heldHosts()).toMatchObject([{ host: new URL(sick.url()).origin }]);
        expect(await bench.get(id)).toMatchObject({ state: "ready", attempts: 2 });
        expect(sick.hits).toHaveLength(2);
        await bench.reaches(await bench.enqueue(), "succeeded");
      } finally {
        await sick.close();
      }
    }),
  );
});
