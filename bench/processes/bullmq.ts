/** What BullMQ's processes have in common. */

import { type ConnectionOptions, createBunRedisClient } from "bullmq";
import type { Request } from "./routes.ts";

export const BULLMQ_QUEUE = "tasks";

/** Which of the Redis clients that BullMQ works with on Bun: its default, or the one built in. */
export type BullmqClient = "ioredis" | "bun";

export interface BullmqOptions {
  readonly redis: { readonly host: string; readonly port: number };
  readonly client: BullmqClient;
  /** Jobs at once, for the worker. */
  readonly concurrency?: number;
}

/** A job carries what a task's target is. */
export type JobData = Request["task"];

export function connectionOf({ redis, client }: BullmqOptions): ConnectionOptions {
  if (client === "ioredis") return { ...redis };
  return createBunRedisClient(new Bun.RedisClient(`redis://${redis.host}:${redis.port}`));
}
