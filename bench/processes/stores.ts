/** Opens a store by itself, without the processes that usually stand before it. */

import { join } from "node:path";
import pino from "pino";
import { FIRST_TIER } from "../../src/core/client.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl, RedisConnection } from "../../src/store/redis/connection.ts";
import { openRedisStore } from "../../src/store/redis/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";

/** What the clients of a bench may use. */
export const WIDE_LIMITS = { requestsPerMinute: 1_000_000_000, maxConcurrent: 1_000_000 } as const;

/** A file in a directory, or a Redis. */
export type StorePlace = { readonly dir: string } | { readonly redisUrl: string };

const SETTINGS = {
  defaultTier: FIRST_TIER,
  autoCreateQueues: true,
  retentionSucceededMs: 3_600_000,
  retentionDeadMs: 3_600_000,
  dedupWindowMs: 3_600_000,
  maxBytes: 0,
};
const COMMAND_TIMEOUT_MS = 10_000;

/** Opens it with limits so wide that nobody reaches them: they are always counted. */
export async function openStore(place: StorePlace, clock: Clock = systemClock): Promise<TaskStore> {
  const store = await open(place, clock);
  const tier = await store.read("tier", FIRST_TIER);
  await store.change(
    { kind: "tier", id: FIRST_TIER, from: tier?.revision ?? null, value: WIDE_LIMITS },
    { atMs: Date.now(), actor: "bench", action: "tiers.set", subject: FIRST_TIER, before: null, after: null },
  );
  return store;
}

async function open(place: StorePlace, clock: Clock): Promise<TaskStore> {
  if ("dir" in place) {
    return openSqliteStore({ path: join(place.dir, "bench.db"), clock, settings: SETTINGS });
  }
  return openRedisStore({
    connection: await openConnection(place.redisUrl),
    keyPrefix: "task-runner",
    durability: "primary",
    settings: SETTINGS,
    clock,
  });
}

export function openConnection(redisUrl: string): Promise<RedisConnection> {
  return RedisConnection.open(parseRedisUrl(redisUrl), {
    // The standard output belongs to nobody here, the errors to whoever runs the bench.
    logger: pino({ level: "warn" }, pino.destination(2)),
    clock: systemClock,
    connectRetries: 1,
    retryIntervalMs: 100,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    role: "bench",
  });
}
