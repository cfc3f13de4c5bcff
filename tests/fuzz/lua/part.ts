/** Fuzzes the Redis scripts: odd arguments through the store, wrong ones past it, and broken data under both. */

import fc from "fast-check";
import type { TaskStore } from "../../../src/core/store.ts";
import type { KeyName } from "../../../src/store/redis/keys.ts";
import { listAll } from "../../conformance/store/harness.ts";
import { startRedis } from "../../support/redis.ts";
import { newTask } from "../../support/tasks.ts";
import { Cases, type Job, must, type Report } from "../cases.ts";
import { type Call, openWorld, type World } from "./world.ts";

export async function fuzzScripts(job: Job): Promise<Report> {
  const cases = new Cases(job);
  const redis = await startRedis();
  try {
    const world = await openWorld(redis);
    await cases.run("scripts: odd arguments through the store", 0.35, oddCalls(world), (call) =>
      throughStore(world, call),
    );
    await cases.run(
      "scripts: wrong arguments past the store",
      0.4,
      wrongCalls(world),
      (call) => pastStore(world, call),
      shownCall,
    );
    const seen: Seen = { failed: 0, halfDone: 0 };
    await cases.run(
      "scripts: broken data",
      0.25,
      brokenData(world),
      (broken) => onBrokenData(world, broken, seen),
      shownBroken,
    );
    cases.notes.push(
      `scripts on broken data: ${seen.failed} failed, ${seen.halfDone} of them after they had written something`,
    );
    await world.close();
  } finally {
    await redis.stop();
  }
  return cases.report();
}

// Through the store ----------------------------------------------------------------------------------------

interface OddCall {
  readonly method: string;
  readonly id: string;
  readonly number: number;
  readonly other: number;
  readonly text: string;
}

const ODD_NUMBERS = [
  ...[
    0,
    1,
    -1,
    0.5,
    -0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    2 ** 31,
    2 ** 53,
    -(2 ** 53),
  ],
  ...[1e15, 1e17, 1e21, 1e300, 5e-324, 999, 1_000, 1_001, 1_767_225_600_000],
];
const ODD_TEXTS = [
  ...[
    "",
    " ",
    "\0",
    "\n",
    "-",
    "-1",
    "nan",
    "inf",
    "1e999",
    "0x10",
    "é",
    "😀",
    "a,b",
    "a/b",
    "%s%n",
    "[",
    "]",
    "c/",
    "q/",
    "t/",
  ],
  ...["x".repeat(26), "x".repeat(10_000), "-".repeat(26), "0".repeat(26), "\u2028", "{}", "\ud83d"],
];

function oddCalls({ ids }: World): fc.Arbitrary<OddCall> {
  const id = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...ids) },
    { weight: 1, arbitrary: fc.constantFrom(...ODD_TEXTS) },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 30 }).map((text) => text.toWellFormed()) },
  );
  return fc.record({
    method: fc.constantFrom(...(Object.keys(METHODS) as (keyof typeof METHODS)[])),
    id,
    number: fc.oneof(fc.constantFrom(...ODD_NUMBERS), fc.integer({ min: -5, max: 1_100 })),
    other: fc.oneof(fc.constantFrom(...ODD_NUMBERS), fc.integer({ min: 0, max: 100 })),
    text: fc.oneof(fc.constantFrom(...ODD_TEXTS), fc.constantFrom("default", "slow", "pull", "client-b")),
  });
}

type Method = (store: TaskStore, call: OddCall, now: number) => Promise<unknown>;

const attempt = (startedAtMs: number, error: string) => ({
  number: 1,
  startedAtMs,
  durationMs: 1,
  status: null,
  error,
  responseExcerpt: error,
  worker: "w",
});

const METHODS: Readonly<Record<string, Method>> = {
  enqueue: (store, { number, other, text }) =>
    store.enqueue([
      newTask({ scheduledAtMs: number, retentionMs: other, name: text || null, orderingKey: text || null }),
    ]),
  get: (store, { id }) => store.get(id),
  cancel: (store, { id }) => store.cancel(id),
  runNow: (store, { id }) => store.runNow(id),
  replay: (store, { id }) => store.replay(id),
  reschedule: (store, { id, number }) => store.reschedule(id, { scheduledAtMs: number, priority: "low" }),
  replayMany: (store, { id, number }) => store.replayMany([{ id, notBeforeMs: number }]),
  forget: (store, { id, text }) => store.forget([id, text, id]),
  keyHolder: (store, { id }) => store.keyHolder(id),
  extend: (store, { id, number, other }) => store.extend([{ taskId: id, fence: number }], other),
  settle: (store, { id, number, other, text }) =>
    store.settle([
      {
        lease: { taskId: id, fence: number },
        verdict: { kind: "retry", afterMs: other, reason: text },
        attempt: attempt(other, text),
      },
    ]),
  release: (store, { id, number, other, text }) =>
    store.settle([
      {
        lease: { taskId: id, fence: number },
        verdict: { kind: "released", afterMs: other, reason: text },
        attempt: null,
      },
    ]),
  end: (store, { id, number, other, text }) =>
    store.settle([
      {
        lease: { taskId: id, fence: number },
        verdict: { kind: "dead", reason: text },
        attempt: attempt(other, text),
      },
    ]),
  claim: (store, { number, other, text }) => store.claim({ worker: text, limit: number, leaseMs: other }),
  claimOf: (store, { number, other, text }) =>
    store.claim({ worker: "w", limit: number, leaseMs: other, queue: text }),
  rescue: (store, { number }) => store.rescue(number),
  sweep: (store, { number }) => store.sweep(number),
  list: (store, { number, other, text }) => store.list({ limit: number, fromMs: other, queue: text }),
  listFrom: (store, { text }) => store.list({ limit: 10, cursor: `r-${text}` }),
  holdHost: (store, { text, number }) => store.holdHost(text, number),
  freeHost: (store, { text }) => store.freeHost(text),
  purgeStep: (store, { number }) => store.purgeStep(number),
  workers: (store, { number }) => store.workers(number),
  page: (store, { number, text }) => store.page("client", { limit: number, cursor: text }),
  clientUse: (store, { text, id }) => store.clientUse([text, id]),
  queueUse: (store, { text, id }) => store.queueUse([text, id]),
  audit: (store, { number, text }) => store.audit({ limit: number, cursor: text }),
};

/** A call with odd arguments is done whole or refused whole, and what is counted is what is there. */
async function throughStore(world: World, call: OddCall): Promise<void> {
  await world.restore();
  const before = await world.digest();
  try {
    await METHODS[call.method]?.(world.store, call, world.now());
  } catch (error) {
    const after = await world.digest();
    must(before === after, () => `it failed half done: ${messageOf(error)}`);
    return;
  }
  await isWhole(world);
}

// Past the store -------------------------------------------------------------------------------------------

interface WrongCall {
  readonly call: Call;
  readonly args: readonly (string | number)[];
}

function wrongCalls({ calls, ids }: World): fc.Arbitrary<WrongCall> {
  const value = fc.oneof(
    fc.constantFrom(...ODD_TEXTS, ...ODD_NUMBERS.map(String)),
    fc.constantFrom(...ids),
    fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.toWellFormed()),
  );
  const change = fc.tuple(
    fc.nat(60),
    fc.constantFrom("replace", "replace", "remove", "insert", "cut"),
    value,
  );
  return fc
    .tuple(fc.constantFrom(...calls), fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([call, changes]) => {
      // The first two are the store's own and the same for every call.
      const args = call.args.slice(2);
      for (const [place, how, by] of changes) {
        const at = place % (args.length + 1);
        if (how === "replace" && at < args.length) args[at] = by;
        else if (how === "remove") args.splice(at, 1);
        else if (how === "insert") args.splice(at, 0, by);
        else if (how === "cut") args.length = Math.min(args.length, at);
      }
      return { call, args: [...call.args.slice(0, 2), ...args] };
    });
}

function shownCall({ call, args }: WrongCall): string {
  return `${call.script.name} ${JSON.stringify(args.slice(2))}\nof ${JSON.stringify(call.args.slice(2))}`;
}

/** A script that is called wrongly writes nothing, or does something whole. */
async function pastStore(world: World, { call, args }: WrongCall): Promise<void> {
  await world.restore();
  const before = await world.digest();
  const skew = world.now() - Date.now();
  try {
    await world.connection.call(call.script, world.keys, [skew, ...args.slice(1)]);
  } catch (error) {
    const after = await world.digest();
    must(before === after, () => `${call.script.name} failed half done: ${messageOf(error)}`);
    return;
  }
  await isWhole(world);
}

// On broken data -------------------------------------------------------------------------------------------

interface BrokenData {
  readonly call: Call;
  readonly key: KeyName;
  readonly how: "type" | "missing" | "cut" | "garbage" | "field";
  readonly place: number;
}

const KEYS: readonly KeyName[] = [
  ...([
    "tasks",
    "state",
    "queues",
    "lanes",
    "ring:2",
    "due",
    "later",
    "leases",
    "expiry",
    "names",
    "names-until",
  ] as const),
  ...([
    "orderings",
    "counts",
    "log",
    "meta",
    "claims",
    "workers",
    "settings",
    "limits",
    "index",
    "flows",
    "wakes",
  ] as const),
  ...(["purges", "audit", "hosts"] as const),
];

function brokenData({ calls }: World): fc.Arbitrary<BrokenData> {
  return fc.record({
    call: fc.constantFrom(...calls),
    key: fc.constantFrom(...KEYS),
    how: fc.constantFrom("type", "missing", "cut", "garbage", "field"),
    place: fc.nat(1_000),
  });
}

function shownBroken({ call, key, how, place }: BrokenData): string {
  return `${call.script.name} with ${key} broken by ${how} at ${place}: ${JSON.stringify(call.args.slice(2)).slice(0, 400)}`;
}

const BREAK = `
local key, how, place = KEYS[1], ARGV[1], tonumber(ARGV[2])
if how == 'type' then
  redis.call('DEL', key)
  redis.call('SET', key, 'not what it was')
elseif how == 'missing' then
  redis.call('DEL', key)
elseif redis.call('TYPE', key).ok == 'hash' then
  local fields = redis.call('HKEYS', key)
  table.sort(fields)
  local field = fields[place % #fields + 1]
  local value = redis.call('HGET', key, field)
  if how == 'cut' then redis.call('HSET', key, field, value:sub(1, place % #value))
  elseif how == 'garbage' then redis.call('HSET', key, field, '\\147\\1garbage\\255')
  else redis.call('HDEL', key, field) end
elseif redis.call('TYPE', key).ok == 'zset' then
  redis.call('ZADD', key, place, 'garbage')
elseif redis.call('TYPE', key).ok == 'list' then
  redis.call('LPUSH', key, 'garbage')
end`;

/** How scripts fared with broken data. */
interface Seen {
  failed: number;
  halfDone: number;
}

/**
 * A script that finds broken data copes or fails with an error of its own, and never runs on: the store answers, and once
 * the data is mended all is as it was. Scripts read as they go, so that one may have written something before it meets
 * what is broken; how often is told, and looking all data through before each step would cost more than the step.
 */
async function onBrokenData(world: World, { call, key, how, place }: BrokenData, seen: Seen): Promise<void> {
  await world.restore();
  await world.connection.command("EVAL", BREAK, 1, world.key(key), how, place);
  const before = await world.digest();
  const skew = world.now() - Date.now();
  try {
    await world.connection.call(call.script, world.keys, [skew, ...call.args.slice(1)]);
  } catch (error) {
    const told = messageOf(error);
    must(/^(?:ERR|WRONGTYPE) /.test(told), () => `${call.script.name} on ${how} of ${key}: ${told}`);
    seen.failed++;
    if (before !== (await world.digest())) seen.halfDone++;
    await world.restore();
    await isWhole(world);
  }
}

// What must hold -------------------------------------------------------------------------------------------

/** What is counted is what is there, and the store takes and hands out a task. */
async function isWhole({ store, key, connection }: World): Promise<void> {
  const counted = new Map<string, number>();
  for (const { queue, priority, states } of await store.counts()) {
    for (const [state, count] of Object.entries(states)) {
      must(count >= 0, () => `${queue}/${priority} counts ${count} ${state} tasks`);
      if (count > 0) counted.set(`${queue}/${priority} ${state}`, count);
    }
  }
  const there = new Map<string, number>();
  for (const { queue, priority, state } of await listAll(store)) {
    const name = `${queue}/${priority} ${state}`;
    there.set(name, (there.get(name) ?? 0) + 1);
  }
  for (const name of new Set([...counted.keys(), ...there.keys()])) {
    must(
      counted.get(name) === there.get(name),
      () => `${name}: counted ${counted.get(name) ?? 0}, there are ${there.get(name) ?? 0}`,
    );
  }
  const flows = (await connection.command("HGETALL", key("flows"))) as string[] | Record<string, string>;
  const all = Array.isArray(flows) ? flows : Object.entries(flows).flat();
  for (let at = 0; at < all.length; at += 2) {
    must(
      !/^[cq]\//.test(all[at] ?? "") || !/-|nan|inf/i.test(all[at + 1] ?? ""),
      () => `${all[at]} uses ${all[at + 1]}`,
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 300) : String(error);
}
