/** The circuit breaker of a target: it spares a host that is down, and no other host notices. */

import { describe, expect, test } from "bun:test";
import { hostOf } from "../../src/core/host.ts";
import { MAX_CRASHES } from "../../src/core/task.ts";
import { newTarget } from "../support/tasks.ts";
import { crash, until, withBench } from "./harness.ts";
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
          const [held] = await bench.store.heldHosts();
          const retrying = (await bench.store.counts())[0]?.states.retrying ?? 0;
          return held !== undefined && held.tasks + retrying === sick.length;
        });
        for (const { id } of sick) {
          const { state, attempts } = await bench.get(id);
          if (attempts === 0) expect(["ready", "running"]).toContain(state);
        }
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
      bench.start({ concurrency: 8, breaker: { failureThreshold: 1, openMs: 900 } });
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
    "gives a host that asks for it by Retry-After its time, with all its tasks",
    withBench(async (bench) => {
      let asksForTime = true;
      bench.target.answer = () =>
        asksForTime ? new Response("x", { status: 429, headers: { "retry-after": "1" } }) : new Response("x");
      bench.start({ concurrency: 1, breaker: { failureThreshold: 100, openMs: 60_000, minds: "hosts" } });
      const tasks = Array.from({ length: 10 }, () => bench.task({ retry: PATIENT_RETRY }));
      await bench.store.enqueue(tasks);
      await until("it is held back", async () => (await bench.store.heldHosts()).length === 1);
      asksForTime = false;
      const askedAtMs = bench.target.hits[0]?.atMs ?? Number.NaN;
      await Promise.all(tasks.map(({ id }) => bench.reaches(id, "succeeded")));
      const after = bench.target.hits.slice(1);
      expect(Math.min(...after.map(({ atMs }) => atMs)) - askedAtMs).toBeGreaterThanOrEqual(950);
      // One was refused; no other was tried in vain.
      expect(bench.target.hits).toHaveLength(tasks.length + 1);
      expect(bench.logged("asks for time")).toHaveLength(1);
    }),
    15_000,
  );

  test(
    "is shared: all workers together probe once a time, and all go on when it is well",
    withBench(async (bench) => {
      let healthy = false;
      bench.target.answer = () => new Response("x", { status: healthy ? 200 : 500 });
      const openMs = 500;
      const settings = { concurrency: 4, breaker: { failureThreshold: 2, openMs } };
      bench.start(settings);
      bench.start({ ...settings, store: await bench.openAgain() });
      const sick = Array.from({ length: 60 }, () => bench.task({ retry: PATIENT_RETRY }));
      await bench.store.enqueue(sick);
      // Both count by themselves, so both may have found it out.
      await until("it is held back", async () => (await bench.store.heldHosts()).length === 1);
      await until("all were met", async () => {
        const [held] = await bench.store.heldHosts();
        const { ready = 0, running = 0 } = (await bench.store.counts())[0]?.states ?? {};
        return running === 0 && held?.tasks === ready;
      });
      const before = bench.target.hits.length;
      const sinceMs = performance.now();
      await until("it was probed three times", () => bench.target.hits.length >= before + 3);
      expect(performance.now() - sinceMs).toBeGreaterThanOrEqual(2 * openMs);
      const probes = bench.target.hits.slice(before).map(({ atMs }) => atMs);
      for (const [i, atMs] of probes.entries()) {
        if (i > 0) expect(atMs - (probes[i - 1] ?? 0)).toBeGreaterThanOrEqual(openMs - 50);
      }
      healthy = true;
      const freedMs = performance.now();
      const tasks = await Promise.all(sick.map(({ id }) => bench.reaches(id, "succeeded")));
      expect(performance.now() - freedMs).toBeLessThan(openMs + 2_000);
      expect(await bench.store.heldHosts()).toEqual([]);
      // Charged are only deliveries that were made.
      const attempts = tasks.reduce((sum, task) => sum + task.attempts, 0);
      expect(attempts).toBe(bench.target.hits.length);
      const workers = new Set(tasks.flatMap(({ attemptLog }) => attemptLog.map(({ worker }) => worker)));
      expect(workers.size).toBe(2);
    }),
    15_000,
  );

  test(
    "keeps its own worker from the host while the store cannot be told",
    withBench(async (bench) => {
      let healthy = false;
      bench.target.answer = () => new Response("x", { status: healthy ? 200 : 500 });
      bench.counted.holdHost = async () => {
        throw new Error("the store is away");
      };
      bench.start({ concurrency: 3, breaker: { failureThreshold: 3, openMs: 400 } });
      const sick = Array.from({ length: 12 }, () => bench.task({ retry: PATIENT_RETRY }));
      await bench.store.enqueue(sick);
      await until("the breaker is open", () => bench.logged("its breaker is open").length === 1);
      const hitsWhenOpened = bench.target.hits.length;
      await until("the others are held back", async () => {
        const tasks = await Promise.all(sick.map(({ id }) => bench.get(id)));
        return tasks.every(({ state, releases }) => state === "scheduled" && releases > 0);
      });
      expect(bench.target.hits.length).toBeLessThanOrEqual(hitsWhenOpened + 2);
      await until("it was probed again and again", () => bench.target.hits.length >= hitsWhenOpened + 4);
      expect(bench.logged("holding back hosts that fail failed")).toHaveLength(1);
      healthy = true;
      const tasks = await Promise.all(sick.map(({ id }) => bench.reaches(id, "succeeded")));
      const attempts = tasks.reduce((sum, task) => sum + task.attempts, 0);
      expect(attempts).toBe(bench.target.hits.length);
    }),
    15_000,
  );

  test(
    "has another probe made soon where one was broken off",
    withBench(async (bench) => {
      bench.target.answer = async () => {
        await Bun.sleep(5_000);
        return new Response("x");
      };
      const task = bench.task({ retry: PATIENT_RETRY });
      await bench.store.enqueue([task]);
      await bench.store.holdHost(hostOf(task.target.url), 60_000);
      await bench.store.claim({ worker: "meets-it", limit: 5, leaseMs: 1_000 });
      const worker = bench.start({ breaker: { failureThreshold: 3, openMs: 60_000 } });
      bench.advanceStoreTime(61_000);
      await until("it is being probed", () => bench.target.hits.length === 1);
      expect((await bench.get(task.id)).state).toBe("running");
      await worker.stop(0);
      const [held] = await bench.store.heldHosts();
      expect((held?.nextProbeAtMs ?? Number.NaN) - Date.now() - 61_000).toBeLessThanOrEqual(1_000);
      expect(await bench.get(task.id)).toMatchObject({ state: "ready", attempts: 0, releases: 1 });
    }),
    15_000,
  );

  test(
    "is not closed by a probe that ends without being made",
    withBench(async (bench) => {
      await bench.enqueue();
      await crash(bench, MAX_CRASHES);
      const [doomed] = (await bench.store.list({ limit: 1 })).tasks;
      const host = hostOf(bench.target.url());
      await bench.store.holdHost(host, 60_000);
      await bench.store.claim({ worker: "meets-it", limit: 5, leaseMs: 1_000 });
      bench.advanceStoreTime(61_000);
      bench.start({ breaker: { failureThreshold: 3, openMs: 60_000 } });
      await bench.reaches(doomed?.id ?? "", "dead");
      expect(bench.target.hits).toEqual([]);
      expect(await bench.store.heldHosts()).toMatchObject([{ host, tasks: 0 }]);
      // Another task of the host is the next probe, a second later.
      const id = await bench.enqueue();
      bench.advanceStoreTime(1_000);
      await bench.reaches(id, "succeeded");
      await until("it is let go", async () => (await bench.store.heldHosts()).length === 0);
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
