/** Task Runner as the scenarios use it: real processes, on the embedded store unless told otherwise. */

import type { AppProcess } from "../../scripts/app-process.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import type { BenchRedis } from "../redis.ts";
import type { Room } from "../room.ts";

/** The default of KEY_PREFIX. */
const KEYS = keysUnder("task-runner");

/** Starts a role on the room's store. The bench's targets are on this machine, so private addresses are allowed. */
export function startTaskRunner(
  room: Room,
  command: "all" | "serve" | "work",
  env: Readonly<Record<string, string>> = {},
): Promise<AppProcess> {
  return room.startApp({ command, env: { ALLOW_PRIVATE_URLS: "true", ...env } });
}

/** The settings that put its tasks on a Redis. */
export function onRedis(redis: BenchRedis): Readonly<Record<string, string>> {
  return { STORE_URL: redis.url };
}

/** Tasks of any state that it keeps there. */
export function tasksOn(redis: BenchRedis): Promise<number> {
  return redis.number("HLEN", KEYS.of("tasks"));
}
