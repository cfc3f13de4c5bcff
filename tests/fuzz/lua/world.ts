/** A Redis store with something of everything in it, as it can be put back after each case, and the calls that made it. */

import { hostOf } from "../../../src/core/host.ts";
import type { TaskStore } from "../../../src/core/store.ts";
import type { NewTask } from "../../../src/core/task.ts";
import { type KeyName, keysUnder } from "../../../src/store/redis/keys.ts";
import type { Script } from "../../../src/store/redis/script.ts";
import type { ScriptConnection } from "../../../src/store/redis/store.ts";
import { auditEntry, setClient, setQueue, setTier } from "../../conformance/store/admin.ts";
import { HOUR_MS, put, SECOND_MS, take } from "../../conformance/store/harness.ts";
import { openStill } from "../../store/redis.still.ts";
import type { StandaloneRedis } from "../../support/redis.ts";
import { death, newTarget, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";

/** A call as the store made it. */
export interface Call {
  readonly script: Script;
  /** With the two that every command has. */
  readonly args: readonly (string | number)[];
}

export interface World {
  readonly store: TaskStore;
  readonly connection: ScriptConnection;
  readonly keys: readonly string[];
  readonly key: (name: KeyName) => string;
  /** Calls of every script, as the store makes them. */
  readonly calls: readonly Call[];
  /** Ids of tasks in every state. */
  readonly ids: readonly string[];
  /** The store's time, which stands still. */
  now(): number;
  /** Makes everything as it was when the world was made. */
  restore(): Promise<void>;
  /** A digest of all that is kept. */
  digest(): Promise<string>;
  close(): Promise<void>;
}

/** More calls of one script than this are not kept: they would be alike. */
const MOST_ALIKE = 12;
const NOTHING = "";

export async function openWorld(redis: StandaloneRedis): Promise<World> {
  const calls: Call[] = [];
  let records = true;
  const opened = await openStill(redis, (connection) => ({
    command: (name, ...args) => connection.command(name, ...args),
    subscribe: (channel, listener) => connection.subscribe(channel, listener),
    onReconnect: (listener) => connection.onReconnect(listener),
    confirm: (ranOn, wait) => connection.confirm(ranOn, wait),
    close: () => connection.close(),
    call: (script, keys, args, wait) => {
      const alike = calls.filter((call) => call.script === script).length;
      if (records && alike < MOST_ALIKE) calls.push({ script, args });
      return connection.call(script, keys, args, wait);
    },
  }));
  const { store, connection, prefix } = opened;
  const ids = await fill(store, opened.now, opened.advance);
  records = false;
  const keys = keysUnder(prefix);
  // As bytes, which a text would not survive: what a script of ours gives back is told as hexadecimal.
  const kept = await Promise.all(keys.all.map((key) => dumped(connection, key)));
  return {
    store,
    connection,
    keys: keys.all,
    key: keys.of,
    calls,
    ids,
    now: opened.now,
    restore: async () => {
      await connection.command("EVAL", RESTORE, keys.all.length, ...keys.all, ...kept);
    },
    digest: async () => String(await connection.command("DEBUG", "DIGEST")),
    close: () => opened.close(),
  };
}

const RESTORE = `
for at, key in ipairs(KEYS) do
  redis.call('DEL', key)
  if ARGV[at] ~= '' then
    redis.call('RESTORE', key, 0, (ARGV[at]:gsub('..', function(hex) return string.char(tonumber(hex, 16)) end)))
  end
end`;
const DUMP = `
local kept = redis.call('DUMP', KEYS[1])
return kept and (kept:gsub('.', function(c) return string.format('%02x', c:byte()) end)) or ''`;

async function dumped(connection: ScriptConnection, key: string): Promise<string> {
  return String((await connection.command("EVAL", DUMP, 1, key)) ?? NOTHING);
}

/** Puts tasks of every state, lanes held back by everything, a purge under way and a held host into an empty store. */
async function fill(
  store: TaskStore,
  now: () => number,
  advance: (ms: number) => void,
): Promise<readonly string[]> {
  await setQueue(store, "slow", { maxDispatchesPerSec: 1, afterDeath: "hold" });
  await setQueue(store, "pull", { mode: "pull" });
  await setTier(store, "small", { requestsPerMinute: 20, maxConcurrent: 1 });
  for (const id of ["client-b", "client-c"]) await setClient(store, id, { tier: "small" });
  await setClient(store, "client-d", { allowedHosts: ["example.com"] });
  const full = (at: number): NewTask =>
    newTask({
      name: `name ${at}`,
      idempotencyKey: `key ${at}`,
      orderingKey: "order",
      retentionMs: HOUR_MS,
      metadata: { a: "b" },
    });
  const ordered = [full(1), full(2), full(3)];
  const later = newTasks(4, { scheduledAtMs: now() + HOUR_MS });
  const soon = newTasks(2, { scheduledAtMs: now() + SECOND_MS });
  const many = newTasks(12);
  const slow = newTasks(3, { queue: "slow", clientId: "client-b", orderingKey: "k" });
  const small = newTasks(3, { clientId: "client-c" });
  const pulled = newTasks(3, { queue: "pull" });
  const held = newTasks(3, { queue: "held", target: newTarget({ url: "http://held.example/" }) });
  await put(store, ...ordered, ...later, ...soon, ...many, ...slow, ...small, ...pulled);
  await store.announce({
    id: "worker-1",
    version: "1",
    concurrency: 1,
    allowPrivateUrls: false,
    startedAtMs: 1,
  });
  await store.holdHost(hostOf("http://held.example/"), 60 * SECOND_MS);
  const [a, b, c, d, e, f, ...running] = await take(store, 12);
  if (!a || !b || !c || !d || !e || !f) throw new Error("there was too little to claim");
  await store.extend([{ taskId: a.id, fence: a.fence }], 60 * SECOND_MS);
  await store.cancel(e.id);
  await store.cancel(later[3]?.id ?? "");
  await store.settle([
    success(a),
    { ...death(b), followUps: [newTask()] },
    retry(c, SECOND_MS),
    release(d, 0),
  ]);
  await store.settleAndClaim([death(f)], { worker: "worker-1", limit: 2, leaseMs: 60 * SECOND_MS });
  await store.claim({ worker: "consumer", limit: 2, leaseMs: 60 * SECOND_MS, queue: "pull" });
  await put(store, ...held);
  await take(store, 4, { worker: "worker-2" });
  await store.replayMany([{ id: b.id, notBeforeMs: now() + HOUR_MS }]);
  await store.replay(f.id);
  await store.runNow(later[0]?.id ?? "");
  await store.reschedule(later[1]?.id ?? "", { scheduledAtMs: now() + 2 * HOUR_MS, priority: "low" });
  await store.forget([running[0]?.id ?? ""]);
  advance(70 * SECOND_MS);
  await store.rescue(2);
  await store.sweep(10);
  await store.purge("slow", auditEntry());
  await store.purgeStep(2);
  await store.record(auditEntry());
  await look(store, ordered[1]?.id ?? "");
  const all = [...ordered, ...later, ...soon, ...many, ...slow, ...small, ...pulled, ...held];
  return [...all.map(({ id }) => id), ...running.map(({ id }) => id)];
}

/** Every command that only reads. */
async function look(store: TaskStore, id: string): Promise<void> {
  await store.get(id);
  await store.list({ limit: 10 });
  await store.list({ limit: 10, queue: "default", clientId: "client-a", state: "ready" });
  await store.counts();
  await store.workers(HOUR_MS);
  await store.check();
  await store.keyHolder(id);
  await store.page("client", { limit: 10 });
  await store.clientUse(["client-a", "client-b"]);
  await store.queueUse(["default", "slow"]);
  await store.heldHosts();
  await store.freeHost("http://nobody.example");
  await store.audit({ limit: 10 });
}
