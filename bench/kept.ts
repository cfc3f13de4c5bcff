/** The first thing a figure must stand up to: what was acknowledged is there. */

import type { BenchRedis } from "./redis.ts";

/** A process that takes tasks, and its Redis with what counts the tasks there. */
export interface Taking {
  readonly pid: number;
  readonly port: number;
  readonly redis?: BenchRedis;
  readonly kept?: (redis: BenchRedis) => Promise<number>;
}

/** Throws when fewer tasks are kept than were acknowledged. More may be: the last answers were not waited for. */
export function assertKept(kept: number, acknowledged: number): void {
  if (kept < acknowledged) throw new Error(`${acknowledged} tasks were acknowledged, ${kept} are kept`);
}
