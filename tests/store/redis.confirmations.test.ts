/** Calls that come together while replicas are away are told so together, and the connection survives it. */

import { afterAll, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { liftLimits } from "../conformance/store/harness.ts";
import { startSentinelCluster } from "../support/redis.ts";
import { openFresh } from "../support/redis-store.ts";
import { newTask, newTasks } from "../support/tasks.ts";

const TIMEOUT_MS = 500;
const cluster = await startSentinelCluster({ replicas: 2, sentinels: 3 });
const endpoint = parseRedisUrl(cluster.url);
afterAll(() => cluster.stop());

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "done",
    (thrown: unknown) => (thrown instanceof TaskRunnerError ? thrown.code : String(thrown)),
  );
}

test("twenty at once cost two waits, not twenty, and each is told that replicas are away", async () => {
  const opened = await openFresh(endpoint, { replicas: 1, timeoutMs: TIMEOUT_MS });
  const { store } = opened;
  await liftLimits(store);
  const replicas = await cluster.replicas();
  try {
    const tasks = newTasks(10, { scheduledAtMs: opened.now() + 60_000 });
    await store.enqueue(tasks);
    for (const replica of replicas) replica.freeze();
    const startedAt = performance.now();
    const codes = await Promise.all([
      ...tasks.map(({ id }) => codeOf(store.cancel(id))),
      ...Array.from({ length: 10 }, () => codeOf(store.enqueue([newTask()]))),
    ]);
    const tookMs = performance.now() - startedAt;
    expect(codes).toEqual(codes.map(() => "durability_unavailable"));
    expect(tookMs).toBeGreaterThan(TIMEOUT_MS * 0.9);
    expect(tookMs).toBeLessThan(TIMEOUT_MS * 4);
    for (const replica of replicas) replica.thaw();
    // Done again it finds its work done, and says so only once a replica has it.
    expect(await codeOf(store.enqueue(tasks.slice(0, 1)))).toBe("done");
  } finally {
    for (const replica of replicas) replica.thaw();
    await opened.close();
  }
}, 30_000);

test("what was confirmed while many call at once is there", async () => {
  const opened = await openFresh(endpoint, { replicas: 1, timeoutMs: TIMEOUT_MS });
  const { store } = opened;
  await liftLimits(store);
  try {
    const tasks = newTasks(200);
    const answers = await Promise.all(tasks.map((task) => store.enqueue([task])));
    expect(answers.every(({ durability }) => durability === "replicated")).toBe(true);
    const found = await Promise.all(tasks.map(({ id }) => store.get(id)));
    expect(found.filter((task) => task !== null).length).toBe(tasks.length);
  } finally {
    await opened.close();
  }
}, 30_000);
