/** A Redis that runs out of memory: new tasks are refused in time, the work goes on, and there is room again. */

import { expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { openRedisStore } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS, HOUR_MS, LEASE_MS, liftLimits, take } from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { newTarget, newTask, newTasks, release, retry, success } from "../support/tasks.ts";

const MB = 1_048_576;
const MAX_MB = 24;
const BATCH = 500;
/** More than fit by far. */
const MAX_BATCHES = 400;
/** The body by whose size the cost of a waiting task is stated. */
const BODY = JSON.stringify({ order: 4711, note: "n".repeat(109) });
/** The most that a waiting task with that body may cost, all structures counted. */
const MAX_BYTES_PER_TASK = 400;
const REQUEST = { worker: "worker-1", limit: 1_000, leaseMs: LEASE_MS };

async function withRedis(
  maxmemory: string | null,
  body: (redis: StandaloneRedis, store: TaskStore) => Promise<void>,
  settings: Partial<StoreSettings> = {},
): Promise<void> {
  const redis = await startRedis(maxmemory === null ? {} : { maxmemory });
  try {
    const store = await openRedisStore({
      connection: await connect(parseRedisUrl(redis.url)),
      keyPrefix: "memory",
      durability: "primary",
      settings: { ...DEFAULT_SETTINGS, ...settings },
      clock: systemClock,
    });
    await liftLimits(store);
    await body(redis, store);
    await store.close();
  } finally {
    await redis.stop();
  }
}

async function memory(redis: StandaloneRedis, field = "used_memory"): Promise<number> {
  return Number((await redis.process.info("memory")).get(field));
}

/** Answers of Redis that memory has run out, since it started. */
async function oomErrors(redis: StandaloneRedis): Promise<number> {
  const told = (await redis.process.info("errorstats")).get("errorstat_OOM") ?? "count=0";
  return Number(told.slice("count=".length));
}

/** Enqueues until refused; the tasks that were taken and the refusal. */
async function fill(store: TaskStore, overrides: Partial<NewTask> = {}) {
  const taken: string[] = [];
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const tasks = newTasks(BATCH, overrides);
    try {
      await store.enqueue(tasks);
    } catch (refusal) {
      return { taken, refusal };
    }
    for (const { id } of tasks) taken.push(id);
  }
  throw new Error("Redis never was full");
}

/** Works everything off, a retry and a release now and then, and tells what was delivered. */
async function workOff(store: TaskStore): Promise<Set<string>> {
  const done = new Set<string>();
  let claimed = await take(store, 1_000);
  while (claimed.length > 0) {
    const [first, second, ...others] = claimed;
    const settlements = others.map((task) => success(task));
    if (first) settlements.push(first.attempt === 1 ? retry(first, 0) : success(first));
    if (second)
      settlements.push(second.attempt === 1 && done.size % 2 === 0 ? release(second, 0) : success(second));
    for (const { lease, verdict } of settlements) if (verdict.kind === "succeeded") done.add(lease.taskId);
    const { settled, claim } = await store.settleAndClaim(settlements, REQUEST);
    expect(settled).toEqual(settlements.map(() => "settled"));
    await store.rescue(100);
    while ((await store.sweep(500)).more);
    claimed = claim.tasks;
  }
  return done;
}

function expectFull(refusal: unknown): void {
  expect(refusal).toBeInstanceOf(TaskRunnerError);
  expect(refusal).toMatchObject({ code: "store_full" });
  expect((refusal as TaskRunnerError).retryAfterSec).toBeGreaterThan(0);
}

/** Names are kept for as long as callers count on it; here that is no time at all. */
const SETTINGS = { dedupWindowMs: 1 };

for (const [what, overrides] of [
  ["small tasks", { target: newTarget({ body: BODY }) }],
  ["large tasks", { target: newTarget({ body: "x".repeat(4_000) }) }],
  ["tasks with names and keys", { name: "", orderingKey: "" }],
] as const) {
  test(
    `${what} are refused before Redis is at its maxmemory, are worked off there, and are taken again`,
    () =>
      withRedis(
        `${MAX_MB}mb`,
        async (redis, store) => {
          const named = "name" in overrides;
          const { taken, refusal } = named ? await fillNamed(store) : await fill(store, overrides);
          expectFull(refusal);
          expect(await oomErrors(redis)).toBe(0);
          const share = (await memory(redis)) / (MAX_MB * MB);
          console.log(`${what}: refused at ${Math.round(share * 100)} % after ${taken.length}`);
          expect(share).toBeGreaterThan(0.8);
          expect(share).toBeLessThan(1);
          // Finished tasks, which a settlement makes larger, go before their time.
          expect([...(await workOff(store))].sort()).toEqual([...taken].sort());
          expect(await oomErrors(redis)).toBe(0);
          expect((await store.enqueue(newTasks(BATCH))).results.length).toBe(BATCH);
        },
        SETTINGS,
      ),
    30_000,
  );
}

/** As `fill`, with a name, an idempotency key and an ordering key of its own for each task. */
async function fillNamed(store: TaskStore) {
  const taken: string[] = [];
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const tasks = Array.from({ length: BATCH }, (_, at) => {
      const key = `${batch}-${at}`;
      return newTask({ name: `name ${key}`, idempotencyKey: `key ${key}`, orderingKey: `order ${key}` });
    });
    try {
      await store.enqueue(tasks);
    } catch (refusal) {
      return { taken, refusal };
    }
    for (const { id } of tasks) taken.push(id);
  }
  throw new Error("Redis never was full");
}

test(
  "with Redis full of what is not ours, work goes on until it is done, and new tasks come when there is room",
  () =>
    withRedis(`${MAX_MB}mb`, async (redis, store) => {
      const waiting = newTasks(3_000, { target: newTarget({ body: BODY }) });
      const delayed = newTasks(500, { scheduledAtMs: Date.now() + HOUR_MS });
      for (let at = 0; at < waiting.length; at += BATCH) await store.enqueue(waiting.slice(at, at + BATCH));
      await store.enqueue(delayed);
      const held = await take(store, 10);

      await redis.process.command("SET", "ballast", "x".repeat(4 * MB));
      await redis.process.command("CONFIG", "SET", "maxmemory", (await memory(redis)) - MB);
      await expect(redis.process.command("SET", "more", "x")).rejects.toThrow(/OOM/);

      expectFull(await store.enqueue(newTasks(1)).catch((refusal: unknown) => refusal));
      await expect(store.check()).rejects.toMatchObject({ code: "store_full" });
      expect(
        await store.extend(
          held.map(({ id, fence }) => ({ taskId: id, fence })),
          LEASE_MS,
        ),
      ).toEqual([]);
      expect((await store.cancel(delayed[0]?.id ?? "")).kind).toBe("changed");
      expect((await store.runNow(delayed[1]?.id ?? "")).kind).toBe("changed");
      expect((await store.reschedule(delayed[2]?.id ?? "", { priority: "high" })).kind).toBe("changed");
      await store.announce({
        id: "w",
        version: "1",
        concurrency: 1,
        allowPrivateUrls: false,
        startedAtMs: 1,
      });
      expect(await store.settle(held.map((task) => success(task)))).toEqual(held.map(() => "settled"));
      const done = await workOff(store);
      for (const { id } of held) done.add(id);
      expect([...done].sort()).toEqual([...waiting.map(({ id }) => id), delayed[1]?.id ?? ""].sort());

      expectFull(await store.enqueue(newTasks(1)).catch((refusal: unknown) => refusal));
      await redis.process.command("FLUSHDB");
      expect((await store.enqueue(newTasks(1))).results.length).toBe(1);
    }),
  60_000,
);

test.each([
  ["ready", {}],
  ["delayed", { scheduledAtMs: Date.now() + HOUR_MS }],
  ["delayed by different times", { scheduledAtMs: -1 }],
] as const)("a waiting task with a body of 133 bytes that is %s costs little memory", (what, when) =>
  withRedis(null, async (redis, store) => {
    expect(BODY.length).toBe(133);
    const count = 20_000;
    await store.enqueue(newTasks(1));
    const before = await memory(redis, "used_memory_dataset");
    for (let at = 0; at < count; at += 1_000) {
      const tasks = newTasks(1_000, {
        target: newTarget({
          url: "https://service.example.com/hooks/orders",
          headers: { "content-type": "application/json" },
          body: BODY,
        }),
        ...when,
      });
      await store.enqueue(
        what === "delayed by different times"
          ? tasks.map((task, nth) => ({ ...task, scheduledAtMs: Date.now() + HOUR_MS + nth * 3_600 }))
          : tasks,
      );
    }
    const each = ((await memory(redis, "used_memory_dataset")) - before) / count;
    console.log(`bytes per waiting task, ${what}: ${Math.round(each)}`);
    expect(each).toBeLessThanOrEqual(MAX_BYTES_PER_TASK);
    expect(each).toBeGreaterThan(BODY.length);
  }),
);
