/** Task Runner as the scenarios use it: real processes, on the embedded store unless told otherwise. */

import type { AppProcess } from "../../scripts/app-process.ts";
import { FIRST_TIER } from "../../src/core/client.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { WIDE_LIMITS } from "../processes/stores.ts";
import type { BenchRedis } from "../redis.ts";
import type { Room } from "../room.ts";

/** The default of KEY_PREFIX. */
const KEYS = keysUnder("task-runner");

/** Starts a role on the room's store. The bench's targets are on this machine, so private addresses are allowed. */
export async function startTaskRunner(
  room: Room,
  command: "all" | "serve" | "work",
  env: Readonly<Record<string, string>> = {},
): Promise<AppProcess> {
  const app = await room.startApp({ command, env: { ALLOW_PRIVATE_URLS: "true", ...env } });
  if (command !== "work") await widenLimits(app.url);
  return app;
}

/** Gives clients limits so wide that nobody reaches them: they are always counted. */
async function widenLimits(url: string): Promise<void> {
  const answer = await fetch(`${url}/admin/tiers/set`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      tier: FIRST_TIER,
      requests_per_minute: WIDE_LIMITS.requestsPerMinute,
      max_concurrent: WIDE_LIMITS.maxConcurrent,
    }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`the limits could not be set: ${answer.status} ${await answer.text()}`);
}

/** The settings that put its tasks on a Redis. */
export function onRedis(redis: BenchRedis): Readonly<Record<string, string>> {
  return { STORE_URL: redis.url };
}

/** Tasks of any state that it keeps there. */
export function tasksOn(redis: BenchRedis): Promise<number> {
  return redis.number("HLEN", KEYS.of("tasks"));
}
