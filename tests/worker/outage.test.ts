/** A worker whose store goes away and comes back: it does not sit out the pause that failures have earned it. */

import { expect, test } from "bun:test";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { openRedisStore } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS, liftLimits, put } from "../conformance/store/harness.ts";
import { startRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { newTask } from "../support/tasks.ts";
import { LOCAL_TARGET, localWorker } from "../support/worker.ts";
import { CountedStore } from "./counted-store.ts";
import { until } from "./harness.ts";

/** Four tries an exchange, and the pause after the fourth exchange that failed lasts four seconds. */
const CLAIMS_BEFORE_LONG_PAUSE = 16;
/** Far less than what is left of that pause, far more than a claim takes. */
const SOON_MS = 1_500;

test("a worker whose store was away works as soon as it is back, however long it had paused for", async () => {
  const redis = await startRedis({ appendonly: true, config: ["appendfsync always"] });
  const connection = await connect(parseRedisUrl(redis.url));
  const store = await openRedisStore({
    connection,
    keyPrefix: "outage",
    durability: "primary",
    settings: DEFAULT_SETTINGS,
    clock: systemClock,
  });
  const counted = new CountedStore(store);
  const delivered = Promise.withResolvers<number>();
  const worker = localWorker(counted, async () => delivered.resolve(performance.now()));
  try {
    await liftLimits(store);
    // Due while the store is away.
    const task = newTask({ target: LOCAL_TARGET, scheduledAtMs: Date.now() + 2_000 });
    await put(store, task);
    worker.start();
    await until("it has looked", () => counted.calls.claim > 0);
    await redis.process.kill();
    const before = counted.calls.claim;
    await until("it pauses", () => counted.calls.claim >= before + CLAIMS_BEFORE_LONG_PAUSE);
    const back = Promise.withResolvers<number>();
    connection.onReconnect(() => back.resolve(performance.now()));
    await redis.process.start();
    const backAt = await back.promise;
    const afterMs = (await delivered.promise) - backAt;
    expect(afterMs).toBeGreaterThan(0);
    expect(afterMs).toBeLessThan(SOON_MS);
  } finally {
    await worker.stop(1_000);
    await store.close();
    await redis.stop();
  }
}, 30_000);
