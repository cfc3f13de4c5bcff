/** The spool: what a new primary never had of what was acknowledged comes back, and nothing else does. */

import { afterAll, describe, expect, test } from "bun:test";
import { inspectAll } from "../../src/core/inspection.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import type { PromotionReport } from "../../src/store/redis/promotion.ts";
import { Spool } from "../../src/store/redis/spool.ts";
import { openRedisStore } from "../../src/store/redis/store.ts";
import { auditEntry } from "../conformance/store/admin.ts";
import {
  DEFAULT_SETTINGS,
  HOUR_MS,
  idsOf,
  liftLimits,
  listAll,
  put,
  settle,
  take,
} from "../conformance/store/harness.ts";
import { startRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { newTask, newTaskId, newTasks, success } from "../support/tasks.ts";

const redis = await startRedis({});
afterAll(() => redis.stop());

let opened = 0;

/** A store whose history can be turned back, as a primary's that was behind. */
async function setUp(windowMs = 60_000) {
  opened += 1;
  const keyPrefix = `spool-${opened}`;
  const connection = await connect(parseRedisUrl(redis.url));
  const reports: PromotionReport[] = [];
  let told = Promise.withResolvers<PromotionReport>();
  const listeners = new Set<() => void>();
  let history = "first";
  const store = await openRedisStore({
    connection: {
      call: (script, keys, args, wait) => connection.call(script, keys, args, wait),
      confirm: (ranOn, wait) => connection.confirm(ranOn, wait),
      subscribe: (channel, listener) => connection.subscribe(channel, listener),
      onReconnect: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      close: () => connection.close(),
      command: async (name, ...args) => {
        const answer = await connection.command(name, ...args);
        return name === "INFO" ? `run_id:${history}\nmaster_replid:x\n` : answer;
      },
    },
    keyPrefix,
    durability: "primary",
    settings: DEFAULT_SETTINGS,
    clock: systemClock,
    spool: {
      windowMs,
      tell: (report) => {
        reports.push(report);
        told.resolve(report);
      },
    },
  });
  await liftLimits(store);
  const keys = keysUnder(keyPrefix).all;
  const copy = (from: string, to: string) =>
    Promise.all(keys.map((key) => connection.command("COPY", key + from, key + to, "REPLACE")));
  return {
    store,
    reports,
    /** What the replica that is promoted later has. */
    replicate: () => copy("", ":replica"),
    /** That replica is the primary from now on. */
    promote: async (atOnce: () => Promise<void> = async () => {}): Promise<PromotionReport> => {
      await connection.command("DEL", ...keys);
      await copy(":replica", "");
      await atOnce();
      history = newTaskId();
      told = Promise.withResolvers();
      for (const listener of listeners) listener();
      return told.promise;
    },
    reconnect: () => {
      for (const listener of listeners) listener();
    },
  };
}

const everyId = async (store: TaskStore) => idsOf(await listAll(store)).sort();

describe("after a promotion", () => {
  test("what the new primary never had is handed in again, as it was", async () => {
    const { store, replicate, promote } = await setUp();
    try {
      const kept = newTasks(150);
      await put(store, ...kept);
      await replicate();
      const lost = [
        ...newTasks(230),
        newTask({ name: "n", idempotencyKey: "i", orderingKey: "o", queue: "other", clientId: "new" }),
        newTask({ scheduledAtMs: Date.now() + HOUR_MS, metadata: { a: "b" }, priority: "low" }),
      ];
      await put(store, ...lost);
      const before = new Map((await listAll(store)).map((task) => [task.id, task]));
      expect(await promote()).toMatchObject({ acknowledged: 382, replayed: 232, lost: 0, forgotten: 0 });
      for (const task of await listAll(store)) {
        const was = before.get(task.id);
        const { createdAtMs: _, dueMs: __, scheduledAtMs: ___, ...same } = was ?? task;
        expect(task).toMatchObject(same);
      }
      expect(await everyId(store)).toEqual([...idsOf(kept), ...idsOf(lost)].sort());
      expect((await inspectAll(store)).violations).toEqual([]);
      // Once more nothing is missing.
      await replicate();
      expect(await promote()).toMatchObject({ replayed: 0, lost: 0 });
    } finally {
      await store.close();
    }
  });

  test("what the new primary had, and is gone there by now, does not come back", async () => {
    const { store, replicate, promote } = await setUp();
    try {
      await put(store, ...newTasks(20, { retentionMs: 0 }), ...newTasks(10, { name: null }));
      const tasks = await take(store, 20);
      await settle(store, ...tasks.map((task) => success(task)));
      const left = await everyId(store);
      await replicate();
      expect(await promote()).toMatchObject({ acknowledged: 30, replayed: 0 });
      expect(await everyId(store)).toEqual(left);
    } finally {
      await store.close();
    }
  });

  test("what was cancelled or purged here meanwhile does not come back", async () => {
    const { store, replicate, promote } = await setUp();
    try {
      await replicate();
      const [cancelled, other] = newTasks(2);
      if (cancelled === undefined || other === undefined) throw new Error("two were made");
      await put(store, cancelled, other, ...newTasks(5, { queue: "purged" }));
      await store.cancel(cancelled.id);
      await store.purge("purged", auditEntry());
      const after = newTask({ queue: "purged" });
      await put(store, after);
      expect(await promote()).toMatchObject({ acknowledged: 2, replayed: 2 });
      expect(await everyId(store)).toEqual(idsOf([other, after]).sort());
    } finally {
      await store.close();
    }
  });

  test("a task whose name another has by then is not handed in beside it", async () => {
    const { store, replicate, promote } = await setUp();
    try {
      await replicate();
      await put(store, newTask({ name: "same" }));
      const again = newTask({ name: "same" });
      // Its caller has found it missing, and was faster.
      expect(await promote(() => put(store, again))).toMatchObject({ replayed: 0, lost: 0 });
      expect(await everyId(store)).toEqual([again.id]);
    } finally {
      await store.close();
    }
  });

  test("a connection that is back at the same primary changes nothing", async () => {
    const { store, reports, reconnect } = await setUp();
    try {
      await put(store, ...newTasks(3));
      reconnect();
      await put(store, ...newTasks(3));
      expect(reports).toEqual([]);
    } finally {
      await store.close();
    }
  });

  test("what was acknowledged before the window is not looked for", async () => {
    const { store, replicate, promote } = await setUp(1);
    try {
      await replicate();
      await put(store, ...newTasks(3));
      await Bun.sleep(5);
      expect(await promote()).toMatchObject({ acknowledged: 0, replayed: 0 });
    } finally {
      await store.close();
    }
  });
});

describe("the spool", () => {
  const call = (count: number, chars: number) => {
    const args: (string | number)[] = [0, "hints", 1];
    const reply = ["1"];
    for (let at = 0; at < count; at++) {
      args.push(`${newTaskId()}2/default/client,,,,,`, "x".repeat(chars));
      reply.push(at % 2 === 0 ? "r" : "cd");
    }
    return { args, reply };
  };

  test("remembers what was accepted of the calls within its window", () => {
    const spool = new Spool(1_000);
    for (const atMs of [0, 500, 1_400]) {
      const { args, reply } = call(4, 10);
      spool.keep(args, reply, 100, atMs);
    }
    expect(spool.since(0).length).toBe(4);
    expect(spool.since(1_000).length).toBe(2);
    expect(spool.crowdedOutSince(0)).toBe(0);
  });

  test("lets the oldest go when there is no room for more, and says how many these were", () => {
    const spool = new Spool(1_000);
    for (let nth = 0; nth < 10; nth++) {
      const { args, reply } = call(2, 10);
      spool.keep(args, reply, 16 * 1024 * 1024, nth);
    }
    expect(spool.since(0).length).toBe(4);
    expect(spool.crowdedOutSince(0)).toBe(6);
    expect(spool.crowdedOutSince(6)).toBe(0);
  });
});
