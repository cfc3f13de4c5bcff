/** The packed queues in Redis, held against plain ones. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { HOUR_MS, idsOf, put, SECOND_MS, take } from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { newTask, newTasks } from "../support/tasks.ts";
import { openStill } from "./redis.still.ts";
import { wander } from "./redis.wander.ts";

let redis: StandaloneRedis;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

describe("packed queues", () => {
  test("a task that was moved within its time span takes no other's place with it", async () => {
    const one = await openStill(redis);
    // An enqueue moves 100 due places at most; one task has two of them.
    const tasks = newTasks(100, { scheduledAtMs: one.now() + HOUR_MS });
    const [moved, ...others] = tasks;
    if (moved === undefined) throw new Error("no task");
    await put(one.store, moved, ...others.slice(0, 1));
    await one.store.reschedule(moved.id, { scheduledAtMs: one.now() + HOUR_MS + SECOND_MS });
    await put(one.store, ...others.slice(1));
    one.advance(HOUR_MS + 2 * SECOND_MS);
    await put(one.store, newTask({ queue: "other", scheduledAtMs: one.now() + HOUR_MS }));
    expect(idsOf(await take(one.store, 1_000)).sort()).toEqual(idsOf(tasks).sort());
    await one.close();
  });

  for (const seed of [3, 20_261_122]) {
    test(
      `are equal to plain ones through 1500 random steps (seed ${seed})`,
      async () => wander(await openStill(redis), seed, 1_500),
      60_000,
    );
  }
});
