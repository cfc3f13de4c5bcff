/** Opens the Redis store for tests: each with a prefix, and a time, of its own. */

import pino from "pino";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { RedisConnection, type RedisEndpoint } from "../../src/store/redis/connection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { openRedisStore, type RedisStoreOptions } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS, type OpenedStore } from "../conformance/store.ts";

let opened = 0;

/** A connection for a test: it does not try long, for what it connects to is there already. */
export function connect(endpoint: RedisEndpoint): Promise<RedisConnection> {
  return RedisConnection.open(endpoint, {
    logger: pino({ level: "silent" }),
    clock: systemClock,
    connectRetries: 3,
    retryIntervalMs: 200,
    commandTimeoutMs: 2_000,
    role: "test",
  });
}

/** A fresh, empty store on a Redis that is running, for the conformance suite. */
export async function openFresh(
  endpoint: RedisEndpoint,
  durability: RedisStoreOptions["durability"],
  settings: Partial<StoreSettings> = {},
): Promise<OpenedStore> {
  opened += 1;
  const keyPrefix = `test-${process.pid}-${opened}`;
  const handles: TaskStore[] = [];
  let skewMs = 0;
  const openHandle = async (): Promise<TaskStore> => {
    const store = await openRedisStore({
      connection: await connect(endpoint),
      keyPrefix,
      durability,
      settings: { ...DEFAULT_SETTINGS, ...settings },
      clock: systemClock,
      skewMs: () => skewMs,
    });
    handles.push(store);
    return store;
  };
  const store = await openHandle();
  return {
    store,
    now: () => Date.now() + skewMs,
    advance: async (ms) => {
      skewMs += ms;
    },
    reopen: async () => {
      await store.close();
      return openHandle();
    },
    second: openHandle,
    close: async () => {
      const broom = await connect(endpoint);
      await broom.command("DEL", ...keysUnder(keyPrefix).all);
      await broom.close();
      await Promise.allSettled(handles.map((handle) => handle.close()));
    },
  };
}
