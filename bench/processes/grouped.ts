/** Hands groups of tasks to a queue's own library, several groups in flight, and says how many tasks it took. */

import { Queue } from "bullmq";
import { defineScript } from "../../src/store/redis/script.ts";
import { enqueueRequest, NOWHERE } from "../load-shape.ts";
import { BULLMQ_QUEUE, connectionOf, type JobData } from "./bullmq.ts";
import { endOnStop, optionsOf, say } from "./messages.ts";
import { newId, taskMaker } from "./new-tasks.ts";
import { openConnection, openStore } from "./stores.ts";

export interface GroupedOptions {
  /** Our store, BullMQ's addBulk, or a script that does the least that keeps tasks and their order. */
  readonly kind: "store" | "bullmq" | "limit";
  readonly redis: { readonly host: string; readonly port: number };
  readonly redisUrl: string;
  /** Tasks of one call. */
  readonly group: number;
  /** Calls under way at once. */
  readonly inFlight: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface GroupedResult {
  /** Tasks acknowledged per second, after the warm-up. */
  readonly perSec: number;
  /** The same, the warm-up included, until nothing was in flight any more. */
  readonly acknowledged: number;
}

const options = optionsOf<GroupedOptions>();

/** Hands in one group; resolves when it was acknowledged. */
type HandIn = () => Promise<unknown>;

async function ours(): Promise<HandIn> {
  const store = await openStore({ redisUrl: options.redisUrl });
  const newTask = taskMaker(1);
  return () => store.enqueue(Array.from({ length: options.group }, newTask));
}

async function bullmq(): Promise<HandIn> {
  const queue = new Queue<JobData>(BULLMQ_QUEUE, {
    connection: connectionOf({ redis: options.redis, client: "ioredis" }),
  });
  await queue.waitUntilReady();
  return () => queue.addBulk(Array.from({ length: options.group }, () => ({ name: "task", data: target() })));
}

function target(): JobData {
  return enqueueRequest(NOWHERE).task;
}

const LEAST = defineScript(
  "least",
  "for at = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) redis.call('RPUSH', KEYS[2], ARGV[at]) end",
);

async function limit(): Promise<HandIn> {
  const connection = await openConnection(options.redisUrl);
  return () => {
    const args: string[] = [];
    for (let i = 0; i < options.group; i++) args.push(newId(Date.now()), JSON.stringify(target()));
    return connection.call(LEAST, ["{bench}:tasks", "{bench}:ids"], args);
  };
}

const handIn = await { store: ours, bullmq, limit }[options.kind]();
let acknowledged = 0;
let running = true;

async function loop(): Promise<void> {
  while (running) {
    await handIn();
    acknowledged += options.group;
  }
}

const loops = Promise.all(Array.from({ length: options.inFlight }, loop));
await Promise.race([Bun.sleep(options.warmUpMs), loops]);
const before = acknowledged;
const startMs = performance.now();
await Promise.race([Bun.sleep(options.measureMs), loops]);
const perSec = ((acknowledged - before) * 1_000) / (performance.now() - startMs);
running = false;
await loops;
const result: GroupedResult = { perSec, acknowledged };
endOnStop();
say("result", result);
