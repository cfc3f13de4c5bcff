/** Opens the Redis store with a time that stands still until it is moved, so that a test can know every instant. */

import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { openRedisStore, type ScriptConnection } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS, liftLimits, MINUTE_MS } from "../conformance/store/harness.ts";
import type { StandaloneRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";

let opened = 0;

export interface Opened {
  readonly store: TaskStore;
  readonly prefix: string;
  readonly connection: ScriptConnection;
  /** The store's time; it stands still but for the moment between sending and running. */
  now(): number;
  advance(ms: number): void;
  close(): Promise<void>;
}

/** A store whose time moves only when told, through a connection that the test may stand in the way of. */
export async function openStill(
  redis: StandaloneRedis,
  wrap: (connection: ScriptConnection) => ScriptConnection = (connection) => connection,
  settings: Partial<StoreSettings> = {},
): Promise<Opened> {
  opened += 1;
  const prefix = `still-${opened}`;
  let nowMs = Math.ceil(Date.now() / MINUTE_MS) * MINUTE_MS;
  const connection = await connect(parseRedisUrl(redis.url));
  const store = await openRedisStore({
    connection: wrap(connection),
    keyPrefix: prefix,
    durability: "primary",
    settings: { ...DEFAULT_SETTINGS, ...settings },
    clock: systemClock,
    skewMs: () => nowMs - Date.now(),
  });
  await liftLimits(store);
  return {
    store,
    prefix,
    connection,
    now: () => nowMs,
    advance: (ms) => {
      nowMs += ms;
    },
    close: () => store.close(),
  };
}

/** Everything that is kept under the prefix, key by key. */
export async function dump({ connection, prefix }: Opened): Promise<Record<string, unknown>> {
  const kept: Record<string, unknown> = {};
  for (const key of keysUnder(prefix).all) {
    const type = await connection.command("TYPE", key);
    if (type === "hash") kept[key] = pairs(await connection.command("HGETALL", key));
    if (type === "zset") kept[key] = pairs(await connection.command("ZRANGE", key, 0, -1, "WITHSCORES"));
    if (type === "list") kept[key] = await connection.command("LRANGE", key, 0, -1);
  }
  return kept;
}

/** A reply of names and values, which ioredis may have made an object already. */
function pairs(reply: unknown): Record<string, string> {
  if (!Array.isArray(reply)) return reply as Record<string, string>;
  const flat = reply as string[];
  return Object.fromEntries(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ""]] : [])));
}
