/**
 * BullMQ on Bun as its documents advise: a Queue with add and addBulk behind the Elysia route of the limit, a
 * Worker whose processor fetches, each in a process of its own, over ioredis unless told otherwise. Jobs carry
 * what our tasks carry.
 */

import { BULLMQ_QUEUE, type BullmqClient, type BullmqOptions } from "../processes/bullmq.ts";
import type { BenchRedis } from "../redis.ts";
import type { Helper, Room } from "../room.ts";

export interface BullmqServer {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

export async function startBullmqServer(
  room: Room,
  redis: BenchRedis,
  client: BullmqClient = "ioredis",
): Promise<BullmqServer> {
  const options: BullmqOptions = { redis: redis.address, client };
  const helper = await room.startHelper("bullmq-serve", options);
  const port = Number(await helper.event("ready"));
  return { pid: helper.pid, port, url: `http://127.0.0.1:${port}`, stop: () => helper.stop() };
}

export async function startBullmqWorker(
  room: Room,
  redis: BenchRedis,
  concurrency: number,
  client: BullmqClient = "ioredis",
): Promise<Helper> {
  const options: BullmqOptions = { redis: redis.address, client, concurrency };
  const helper = await room.startHelper("bullmq-work", options);
  await helper.event("ready");
  return helper;
}

/** Jobs that wait for a worker, due or not. */
export async function jobsOn(redis: BenchRedis): Promise<number> {
  const [waiting, delayed] = await Promise.all([
    redis.number("LLEN", `bull:${BULLMQ_QUEUE}:wait`),
    redis.number("ZCARD", `bull:${BULLMQ_QUEUE}:delayed`),
  ]);
  return waiting + delayed;
}
