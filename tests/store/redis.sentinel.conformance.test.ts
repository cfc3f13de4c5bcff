/** Runs the store's conformance suite through three Sentinels, on a primary with two replicas that must confirm. */

import { afterAll, expect, test } from "bun:test";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import type { RedisStoreOptions } from "../../src/store/redis/store.ts";
import { storeConformance } from "../conformance/store.ts";
import { startSentinelCluster } from "../support/redis.ts";
import { openFresh } from "../support/redis-store.ts";
import { newTask } from "../support/tasks.ts";

const SENTINEL_PASSWORD = "watchful";
const DURABILITY: RedisStoreOptions["durability"] = { replicas: 1, timeoutMs: 1_000 };

const cluster = await startSentinelCluster({
  password: "conformance",
  sentinelPassword: SENTINEL_PASSWORD,
  // A machine that is busy with other tests must not make a Sentinel change the primary under this one.
  downAfterMs: 10_000,
});
const endpoint = { ...parseRedisUrl(cluster.url), sentinelPassword: SENTINEL_PASSWORD };
afterAll(() => cluster.stop());

storeConformance("redis through sentinel", (settings) => openFresh(endpoint, DURABILITY, settings));

test("what is acknowledged behind Sentinel is on a replica, and the answer says so", async () => {
  const opened = await openFresh(endpoint, DURABILITY);
  try {
    expect((await opened.store.enqueue([newTask()])).durability).toBe("replicated");
  } finally {
    await opened.close();
  }
});
