/** The Redis scripts themselves: the keys they touch, and what a second sending of the same command does. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hostOf } from "../../src/core/host.ts";
import { inspectAll } from "../../src/core/inspection.ts";
import type { ClaimedTask, StoreSettings, TaskStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import type { Script } from "../../src/store/redis/script.ts";
import { SCRIPTS } from "../../src/store/redis/scripts.ts";
import type { ScriptConnection } from "../../src/store/redis/store.ts";
import { auditEntry, setClient, setQueue, setTier } from "../conformance/store/admin.ts";
import {
  HOUR_MS,
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  put,
  read,
  SECOND_MS,
  settle,
  take,
} from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { death, newTarget, newTask, newTasks, release, retry, success } from "../support/tasks.ts";
import { ScriptMonitor } from "./redis.monitor.ts";
import { dump, type Opened, openStill } from "./redis.still.ts";

let redis: StandaloneRedis;
let monitor: ScriptMonitor;

beforeAll(async () => {
  redis = await startRedis();
  monitor = await ScriptMonitor.start(redis);
});

afterAll(async () => {
  await monitor.stop();
  await redis.stop();
});

/** One task of everything that a task can have. */
function fullTask(overrides: Partial<NewTask> = {}): NewTask {
  return newTask({
    name: `name ${Math.random()}`,
    idempotencyKey: `key ${Math.random()}`,
    orderingKey: "order",
    retentionMs: MINUTE_MS,
    metadata: { a: "b" },
    ...overrides,
  });
}

/** Every command of the store, each with all that it can do. */
async function exercise(one: Opened): Promise<void> {
  const { store, now, advance } = one;
  const ordered = [fullTask(), fullTask(), fullTask()];
  const later = newTasks(3, { scheduledAtMs: now() + HOUR_MS });
  const soon = newTasks(2, { scheduledAtMs: now() + SECOND_MS });
  await put(store, ...ordered, ...later, ...soon, ...newTasks(70));
  await store.counts({ oldest: true });
  await store.announce({
    id: "worker-1",
    version: "1",
    concurrency: 1,
    allowPrivateUrls: false,
    startedAtMs: 1,
  });
  const [first, second, third, fourth, ...others] = await take(store, 60);
  if (!first || !second || !third || !fourth) throw new Error("there was too little to claim");
  await store.extend([{ taskId: first.id, fence: first.fence }], LEASE_MS);
  await store.cancel(fourth.id);
  await settle(store, success(first), death(second), retry(third, SECOND_MS));
  await store.settleAndClaim([success(fourth), ...others.slice(0, 9).map((one) => release(one, 0))], {
    worker: "worker-1",
    limit: 5,
    leaseMs: LEASE_MS,
  });
  await store.replay(first.id);
  await store.replay(second.id);
  const [a, b, c] = idsOf(later);
  await store.runNow(a ?? "");
  await store.reschedule(b ?? "", { scheduledAtMs: now() + 2 * HOUR_MS, priority: "low" });
  await store.cancel(c ?? "");
  await store.cancel(ordered[2]?.id ?? "");
  advance(LEASE_MS + SECOND_MS);
  await store.rescue(100);
  await take(store, 100);
  advance(3 * HOUR_MS);
  await store.rescue(100);
  await take(store, 100, { worker: "worker-2" });
  await store.sweep(100);
  await store.get(first.id);
  await store.list({ limit: 10 });
  await store.list({ limit: 10, queue: "default", clientId: "client-a", state: "ready" });
  await store.counts({ oldest: true });
  await store.workers(HOUR_MS);
  await store.check();
  await store.keyHolder(ordered[1]?.id ?? "");
  await store.page("client", { limit: 10 });
  await store.clientUse(["client-a", "client-b"]);
  await store.queueUse(["default", "slow"]);
  await exerciseSettings(store);
  await store.audit({ limit: 10 });
  advance(2 * 86_400_000);
  await store.announce({
    id: "worker-3",
    version: "1",
    concurrency: 1,
    allowPrivateUrls: false,
    startedAtMs: 1,
  });
  await inspectAll(store);
  await exercisePromotion(one);
}

/** Lanes held back and let go by every kind of settings, a purge, and the dead begun anew and forgotten. */
/** What is done after a promotion; its connection is what tells of one. */
async function exercisePromotion({ connection, prefix, now }: Opened): Promise<void> {
  const { all, hints } = keysUnder(prefix);
  const call = (script: Script, ...args: readonly (string | number)[]) =>
    connection.call(script, all, [now() - Date.now(), hints, ...args]);
  const { id } = newTask();
  expect((await call(SCRIPTS.absent, id)).reply).toEqual([id]);
  expect((await call(SCRIPTS.logged, "", 2)).reply).toHaveLength(3);
  const head = `${id}2/again/client-a,,,again/key,n/again/name,`;
  expect((await call(SCRIPTS.restore, head, '["http://a/"]\n')).reply).toEqual(["r"]);
}

async function exerciseSettings(store: TaskStore): Promise<void> {
  await setQueue(store, "slow", { maxDispatchesPerSec: 1, afterDeath: "hold" });
  await setTier(store, "small", { requestsPerMinute: 50, maxConcurrent: 1 });
  for (const id of ["client-b", "client-c"]) await setClient(store, id, { tier: "small" });
  for (const clientId of ["client-b", "client-c"]) {
    await put(
      store,
      ...newTasks(3, { queue: "slow", clientId, orderingKey: clientId }),
      ...newTasks(3, { clientId }),
    );
  }
  const [one, ...others] = await take(store, 10);
  if (one === undefined) throw new Error("there was nothing to claim");
  await setQueue(store, "slow", { maxDispatchesPerSec: null });
  await setTier(store, "small", { maxConcurrent: 5 });
  await settle(store, death(one), ...others.map((task) => death(task)));
  await store.replayMany([one, ...others].map(({ id }) => ({ id, notBeforeMs: 0 })));
  await settle(store, ...(await take(store, 3)).map((task) => ({ ...death(task), followUps: [newTask()] })));
  await store.forget([one, ...others].map(({ id }) => id));
  await setClient(store, "client-b", { enabled: false });
  await take(store, 100);
  const { url } = newTarget();
  await put(store, ...newTasks(5));
  await store.holdHost(hostOf(url), SECOND_MS);
  await take(store, 100);
  await store.heldHosts();
  await store.freeHost(hostOf(url));
  await take(store, 2);
  await store.purge("slow", auditEntry());
  while ((await store.purgeStep(10)) !== null);
  await store.record(auditEntry());
}

describe("keys", () => {
  test("every key that a script touches is one it was given, under the prefix and one hash tag", async () => {
    const one = await openStill(redis);
    await exercise(one);
    expect(await monitor.problems()).toEqual([]);
    expect([...monitor.scripts].sort()).toEqual(Object.keys(SCRIPTS).sort());
    for (const channel of monitor.channels) expect(channel).toMatch(/^\{still-\d+\}:hints$/);
    const prefixes = new Set((await monitor.keys()).map((key) => key.slice(0, key.indexOf("}:") + 2)));
    for (const prefix of prefixes) expect(prefix).toMatch(/^\{still-\d+\}:$/);
    await one.close();
  });
});

describe("sent twice", () => {
  /** Sends every script a second time at once, as happens when an answer is lost and the call is repeated. */
  interface Twice {
    readonly connection: ScriptConnection;
    sent: { readonly name: string; readonly first: unknown; readonly second: unknown }[];
    between: (() => Promise<void>) | null;
  }

  async function openTwice(settings: Partial<StoreSettings> = {}) {
    const twice: Pick<Twice, "sent" | "between"> = { sent: [], between: null };
    const one = await openStill(
      redis,
      (connection) => ({
        command: (name, ...args) => connection.command(name, ...args),
        subscribe: (channel, listener) => connection.subscribe(channel, listener),
        onReconnect: (listener) => connection.onReconnect(listener),
        confirm: (ranOn, wait) => connection.confirm(ranOn, wait),
        close: () => connection.close(),
        call: async (script, keys, args, wait) => {
          const first = await connection.call(script, keys, args, wait);
          await twice.between?.();
          const second = await connection.call(script, keys, args, wait);
          twice.sent.push({ name: script.name, first: first.reply, second: second.reply });
          return second;
        },
      }),
      settings,
    );
    return { ...one, twice };
  }

  /** Runs `call` and expects that the second sending left everything as the first one did. */
  async function changesNothing(
    one: Awaited<ReturnType<typeof openTwice>>,
    call: () => Promise<unknown>,
    look: (one: Opened) => Promise<object> = dump,
  ) {
    let before: object | null = null;
    one.twice.between = async () => {
      one.twice.between = null;
      before = await look(one);
    };
    await call();
    expect(before).not.toBeNull();
    expect(await look(one)).toEqual(before ?? {});
  }

  /** Tasks and counts; of leases, which hold anew from a repeated claim on, the time without milliseconds. */
  const shown = async ({ store }: Opened) => ({
    counts: await store.counts(),
    tasks: (await listAll(store)).map(({ lease, ...task }) => ({
      ...task,
      lease: lease && { ...lease, untilMs: Math.floor(lease.untilMs / SECOND_MS) },
    })),
  });

  /** The tasks in an exchange's reply. */
  const claimedIn = (reply: unknown) => (reply as unknown[])[3];

  test("an enqueue keeps each task once and answers alike", async () => {
    const one = await openTwice();
    const named = fullTask();
    const tasks = [
      ...newTasks(70),
      named,
      newTask({ name: named.name }),
      ...newTasks(2, { scheduledAtMs: one.now() + HOUR_MS }),
      ...newTasks(2, { scheduledAtMs: one.now() + SECOND_MS }),
      ...newTasks(2, { orderingKey: "k" }),
    ];
    await changesNothing(one, () => one.store.enqueue(tasks));
    const [sent] = one.twice.sent.slice(-1);
    // All but the time.
    expect(sent?.second).toEqual([expect.anything(), ...((sent?.first ?? []) as string[]).slice(1)]);
    expect((await listAll(one.store)).length).toBe(tasks.length - 1);
    await one.close();
  });

  test("an exchange settles and claims once, and the second answer tells of the same tasks", async () => {
    const one = await openTwice();
    await put(one.store, ...newTasks(50), ...newTasks(5, { priority: "critical", orderingKey: "k" }));
    let claimed: readonly ClaimedTask[] = [];
    const claim = async () => {
      claimed = await take(one.store, 20);
    };
    await changesNothing(one, claim, shown);
    expect(claimed.length).toBe(20);
    const [a, b, c, d, e] = claimed;
    if (!a || !b || !c || !d || !e) throw new Error("there was too little to claim");
    const exchange = async () => {
      const answer = await one.store.settleAndClaim(
        [success(a), death(b), retry(c, MINUTE_MS), release(d, 0), release(e, MINUTE_MS)],
        { worker: "worker-1", limit: 5, leaseMs: LEASE_MS },
      );
      expect(answer.settled).toEqual(Array(5).fill("settled"));
      expect(answer.claim.tasks.length).toBe(5);
    };
    await changesNothing(one, exchange, shown);
    expect(one.twice.sent.slice(-1).map(({ first }) => claimedIn(first))).toEqual(
      one.twice.sent.slice(-1).map(({ second }) => claimedIn(second)),
    );
    // Without a claim there is nothing to be asked for again: the second time says that it has been done.
    const [f] = claimed.slice(5);
    if (f === undefined) throw new Error("there was too little to claim");
    await changesNothing(one, async () => expect(await one.store.settle([success(f)])).toEqual(["stale"]));
    await one.close();
  });

  test("a claim that finds nothing, and one of another worker in between, are told apart", async () => {
    const one = await openTwice();
    await changesNothing(one, () => take(one.store, 5), shown);
    await put(one.store, ...newTasks(3));
    await changesNothing(one, () => take(one.store, 2), shown);
    await changesNothing(one, () => take(one.store, 2, { worker: "worker-2" }), shown);
    await one.close();
  });

  test("a cancel, a run, a replay and a rescue happen once", async () => {
    const one = await openTwice();
    const [waiting, running, later] = [newTask({ orderingKey: "k" }), newTask(), newTask()];
    await put(one.store, running, waiting, { ...later, scheduledAtMs: one.now() + HOUR_MS });
    await take(one.store, 1);
    await changesNothing(one, () => one.store.cancel(waiting.id));
    await changesNothing(one, () => one.store.cancel(running.id));
    await changesNothing(one, () => one.store.replay(waiting.id));
    await changesNothing(one, () => one.store.runNow(later.id));
    await take(one.store, 5);
    one.advance(LEASE_MS + SECOND_MS);
    await changesNothing(one, () => one.store.rescue(100));
    expect((await read(one.store, later.id)).crashes).toBe(1);
    await one.close();
  });

  test("a reschedule leaves one task that runs once, at its time", async () => {
    const one = await openTwice();
    const tasks = newTasks(5, { scheduledAtMs: one.now() + HOUR_MS });
    await put(one.store, ...tasks);
    for (const { id } of tasks)
      await one.store.reschedule(id, { scheduledAtMs: one.now() + HOUR_MS + SECOND_MS, priority: "low" });
    one.advance(HOUR_MS);
    expect(await take(one.store, 10)).toEqual([]);
    one.advance(2 * SECOND_MS);
    expect(idsOf(await take(one.store, 10)).sort()).toEqual(idsOf(tasks).sort());
    expect(await take(one.store, 10, { worker: "worker-2" })).toEqual([]);
    await one.close();
  });

  test("an extend, a sweep and an announcement do no more than once", async () => {
    const one = await openTwice();
    await put(one.store, ...newTasks(4));
    const [a, b, c] = await take(one.store, 3);
    if (!a || !b || !c) throw new Error("there was too little to claim");
    await one.store.settle([success(c)]);
    await one.store.cancel(b.id);
    expect(
      await one.store.extend(
        [a, b, c].map(({ id, fence }) => ({ taskId: id, fence })),
        LEASE_MS,
      ),
    ).toEqual([
      { taskId: b.id, fence: b.fence, why: "cancelled" },
      { taskId: c.id, fence: c.fence, why: "stale" },
    ]);
    one.advance(LEASE_MS - SECOND_MS);
    expect(await one.store.rescue(10)).toEqual([]);
    one.advance(2 * SECOND_MS);
    await one.store.rescue(10);
    expect((await read(one.store, a.id)).crashes).toBe(1);
    one.advance(2 * HOUR_MS);
    await one.store.sweep(10);
    expect((await listAll(one.store)).length).toBe(2);
    const worker = { id: "w", version: "1", concurrency: 1, allowPrivateUrls: false, startedAtMs: 1 };
    await one.store.announce(worker);
    expect((await one.store.workers(HOUR_MS)).length).toBe(1);
    await one.close();
  });
});
