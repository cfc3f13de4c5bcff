/** The inspection of the store on Redis: all that can break is broken by hand, found, and mended where that is safe. */

import { afterAll, describe, expect, test } from "bun:test";
import { inspectAll } from "../../src/core/inspection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { DAY_MS, drain, idsOf, put, read, settle, take, takeOne } from "../conformance/store/harness.ts";
import { startRedis } from "../support/redis.ts";
import { newTask, newTasks, release, success } from "../support/tasks.ts";
import { expectFound, type Filled, fill, saidOf } from "./inspect-support.ts";
import { type Opened, openStill } from "./redis.still.ts";

const redis = await startRedis({});
afterAll(() => redis.stop());

/** Runs Lua on the keys of a store; what the records are made of is within reach. */
function breakBy(
  { connection, prefix }: Opened,
  lua: string,
  ...args: readonly (string | number)[]
): Promise<unknown> {
  const keys = keysUnder(prefix).all;
  const prelude = `
    local tasks, state, queues, lanes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
    local due, later, leases, expiry, names, orderings = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[15]
    local counts, flows, wakes = KEYS[16], KEYS[24], KEYS[25]
    local function ring(rank) return KEYS[5 + rank] end
    local function edit(key, field, change)
      local record = cmsgpack.unpack(redis.call('HGET', key, field))
      change(record)
      redis.call('HSET', key, field, cmsgpack.pack(record))
    end
    local function lane(name) return redis.call('HGET', lanes, name) end`;
  return connection.command("EVAL", `${prelude}\n${lua}`, keys.length, ...keys, ...args);
}

const STATE = 1;
const LEASE = 13;
const EXPIRES = 17;
const RINGED = 5;

async function withFilled(body: (opened: Opened, filled: Filled) => Promise<void>): Promise<void> {
  const opened = await openStill(redis);
  try {
    const filled = await fill(opened.store, opened.now());
    expect(await saidOf(opened.store)).toEqual([]);
    await body(opened, filled);
  } finally {
    await opened.close();
  }
}

/** A running task whose record is one that can be edited: it was given back once. */
async function runningAgain({ store }: Opened, { running }: Filled) {
  await settle(store, release(running, 0));
  const again = (await take(store, 10)).find(({ id }) => id === running.id);
  if (again === undefined) throw new Error("it was not handed out again");
  return again;
}

describe("what is found, and mended where that is safe:", () => {
  test("a running task without a lease is taken back", () =>
    withFilled(async (opened, filled) => {
      const { id } = await runningAgain(opened, filled);
      await breakBy(opened, `edit(state, ARGV[1], function(a) a[${LEASE}] = false end)`, id);
      const kinds = (await saidOf(opened.store)).map(({ kind }) => kind);
      expect(kinds).toContain("running_without_lease");
      await saidOf(opened.store, true);
      expect(await saidOf(opened.store)).toEqual([]);
      opened.advance(2_000);
      expect(idsOf(await opened.store.rescue(10))).toEqual([id]);
      expect(await saidOf(opened.store)).toEqual([]);
    }));

  test("a lease that nobody would notice the end of", () =>
    withFilled(async (opened, filled) => {
      await breakBy(opened, `redis.call('DEL', leases)`);
      const said = await saidOf(opened.store);
      expect(new Set(said.map(({ kind }) => kind))).toEqual(
        new Set(["running_without_lease", "wrong_slots"]),
      );
      await saidOf(opened.store, true);
      opened.advance(2 * DAY_MS);
      expect(idsOf(await opened.store.rescue(10))).toContain(filled.running.id);
    }));

  test("a lease of a task that does not run", () =>
    withFilled(async (opened, filled) => {
      const { id } = await runningAgain(opened, filled);
      await breakBy(
        opened,
        `edit(state, ARGV[1], function(a)
           a[${STATE}] = 'r'
           local number = a[2]
           redis.call('HINCRBY', counts, 'u' .. number, -1)
           redis.call('HINCRBY', counts, 'r' .. number, 1)
           if redis.call('HGET', counts, 'u' .. number) == '0' then redis.call('HDEL', counts, 'u' .. number) end
         end)`,
        id,
      );
      const kinds = (await saidOf(opened.store, true)).map(({ kind }) => kind);
      expect(kinds).toEqual(["orphan_lease", "lost_place"]);
      expect(await saidOf(opened.store)).toEqual([]);
      expect(idsOf(await drain(opened.store))).toContain(id);
    }));

  test("a lane that left its ring", () =>
    withFilled(async (opened, { ready }) => {
      await breakBy(opened, `redis.call('LREM', ring(2), 0, lane('2/default/client-a'))`);
      expect(idsOf(await drain(opened.store))).not.toContain(ready[0]?.id ?? "");
      await expectFound(opened.store, { kind: "lost_lane", subject: "2/default/client-a" }, { mends: true });
      expect(idsOf(await drain(opened.store))).toEqual(idsOf(ready));
    }));

  test("a lane that stands nowhere and says so", () =>
    withFilled(async (opened, { ready }) => {
      await breakBy(
        opened,
        `local number = lane('2/default/client-a')
         redis.call('LREM', ring(2), 0, number)
         edit(queues, 'm' .. number, function(m) m[${RINGED}] = false end)`,
      );
      await expectFound(opened.store, { kind: "lost_lane", subject: "2/default/client-a" }, { mends: true });
      expect(idsOf(await drain(opened.store))).toContain(ready[0]?.id ?? "");
    }));

  test("a lane that is said to wait for room and does not", () =>
    withFilled(async (opened) => {
      await breakBy(
        opened,
        `local name = 'p2c/limited'
         local m = cmsgpack.unpack(redis.call('HGET', queues, 'm' .. name))
         for segment = m[1], m[3] do redis.call('HDEL', queues, name .. ':' .. segment) end
         redis.call('HDEL', queues, 'm' .. name)`,
      );
      const kinds = (await saidOf(opened.store, true)).map(({ kind }) => kind);
      expect(kinds).toEqual(["lost_lane", "wrong_parked"]);
      expect(await saidOf(opened.store)).toEqual([]);
      const [held] = (await opened.store.list({ limit: 10, clientId: "limited", state: "running" })).tasks;
      if (held === undefined) throw new Error("one was to run");
      await settle(opened.store, {
        lease: { taskId: held.id, fence: held.fence },
        verdict: { kind: "succeeded" },
        attempt: null,
      });
      expect((await take(opened.store, 20)).some(({ clientId }) => clientId === "limited")).toBe(true);
    }));

  test("a lane that stands in its ring twice, and one in the wrong ring", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `redis.call('RPUSH', ring(2), lane('2/default/client-a'))`);
      await expectFound(
        opened.store,
        { kind: "stray_lane", detail: "it is in its ring 2 times" },
        { mends: true },
      );
      await breakBy(opened, `redis.call('RPUSH', ring(0), lane('2/default/client-a'))`);
      await expectFound(opened.store, { kind: "stray_lane" }, { mends: true });
    }));

  test("lanes that wait although there is room", () =>
    withFilled(async (opened, { limited }) => {
      await breakBy(
        opened,
        `local use = redis.call('HGET', flows, 'c/limited')
         redis.call('HSET', flows, 'c/limited', (use:gsub('^%d+', '0')))`,
      );
      const said = await saidOf(opened.store, true);
      expect(said.map(({ kind }) => kind)).toEqual(["wrong_slots"]);
      expect(await saidOf(opened.store)).toEqual([]);
      expect(limited.length).toBe(3);
    }));

  test("a ready task that stands in no line", () =>
    withFilled(async (opened, { ready }) => {
      await breakBy(
        opened,
        `local number = lane('2/default/client-a')
         local field = number .. ':' .. cmsgpack.unpack(redis.call('HGET', queues, 'm' .. number))[1]
         redis.call('HSET', queues, field, (redis.call('HGET', queues, field):gsub(ARGV[1], ARGV[2])))`,
        ready[1]?.id ?? "",
        ready[0]?.id ?? "",
      );
      await expectFound(
        opened.store,
        { kind: "lost_place", subject: ready[1]?.id as string },
        { mends: true },
      );
      expect(idsOf(await drain(opened.store))).toEqual(expect.arrayContaining(idsOf(ready)));
    }));

  test("a task that nobody would notice to be due", () =>
    withFilled(async (opened, { scheduled }) => {
      await breakBy(opened, `redis.call('DEL', later)`);
      const said = await saidOf(opened.store, true);
      expect(new Set(said.map(({ kind }) => kind))).toEqual(new Set(["unscheduled"]));
      opened.advance(DAY_MS);
      expect(idsOf(await drain(opened.store))).toContain(scheduled.id);
    }));

  test("a time kept for a task that is not there", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `redis.call('ZADD', due, 1, ARGV[1])`, newTask().id);
      await expectFound(opened.store, { kind: "stale_schedule" }, { mends: true });
    }));

  test("a span that counts more than it has", () =>
    withFilled(async (opened) => {
      await breakBy(
        opened,
        `local span = redis.call('ZRANGE', later, 0, 0)[1]
         edit(queues, 'mb' .. span, function(m) m[6] = m[6] + 1 end)`,
      );
      await expectFound(opened.store, { kind: "wrong_index" }, { mends: true });
    }));

  test("a finished task that nobody will remove", () =>
    withFilled(async (opened, { ordered }) => {
      const first = (await take(opened.store, 20)).find(({ id }) => id === ordered[0].id);
      if (first === undefined) throw new Error("it was to be claimed");
      await settle(opened.store, release(first, 0));
      const again = await takeOne(opened.store);
      await settle(opened.store, success(again));
      await breakBy(opened, `edit(state, ARGV[1], function(a) a[${EXPIRES}] = false end)`, again.id);
      const kinds = (await saidOf(opened.store, true)).map(({ kind }) => kind);
      expect(kinds).toContain("wrong_retention");
      expect(await saidOf(opened.store)).toEqual([]);
      opened.advance(2 * DAY_MS);
      await opened.store.sweep(100);
      expect(await opened.store.get(again.id)).toBeNull();
    }));

  test("a count that is not what is there", () =>
    withFilled(async (opened) => {
      const [before] = await opened.store.counts();
      await breakBy(opened, `redis.call('HINCRBY', counts, 'r' .. lane('2/default/client-a'), 5)`);
      await expectFound(
        opened.store,
        { kind: "wrong_count", subject: "2/default/client-a", detail: "it counts ready 8 for 3" },
        { mends: true },
      );
      expect((await opened.store.counts())[0]).toEqual(before as never);
      await breakBy(opened, `redis.call('HSET', counts, 'd' .. lane('2/default/client-a'), 2)`);
      await expectFound(
        opened.store,
        { kind: "wrong_count", detail: "it counts dead 2 for 0" },
        { mends: true },
      );
    }));

  test("a count of an ordering key's tasks", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `edit(orderings, 'ordered/key', function(o) o[2] = o[2] + 1 end)`);
      await expectFound(opened.store, { kind: "wrong_count", subject: "key ordered/key" }, { mends: true });
    }));

  test("slots that nobody uses, and leases without slots", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `redis.call('HSET', flows, 'q/first', 7)`);
      await expectFound(opened.store, { kind: "wrong_slots", subject: "queue first" }, { mends: true });
      expect((await opened.store.queueUse(["first"]))[0]?.running).toBe(1);
      await breakBy(opened, `redis.call('HDEL', flows, 'q/first')`);
      await expectFound(opened.store, { kind: "wrong_slots", subject: "queue first" }, { mends: true });
      await breakBy(opened, `redis.call('HSET', flows, 'c/nobody', 3)`);
      await expectFound(opened.store, { kind: "wrong_slots", subject: "client nobody" }, { mends: true });
    }));

  test("a name of a task that is not there", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `redis.call('HSET', names, 'n/default/ghost', ARGV[1])`, newTask().id);
      await expectFound(opened.store, { kind: "dangling_name", subject: "n/default/ghost" }, { mends: true });
      await put(opened.store, newTask({ name: "ghost" }));
    }));

  test("a name that is kept for ever for a task that is over", () =>
    withFilled(async (opened, { done }) => {
      await breakBy(opened, `redis.call('HSET', names, 'n/default/over', ARGV[1])`, done.id);
      await expectFound(opened.store, { kind: "dangling_name", subject: "n/default/over" }, { mends: true });
      opened.advance(DAY_MS);
      await put(opened.store, newTask({ name: "over" }));
    }));

  test("an ordering key held by a task that is not there", () =>
    withFilled(async (opened, { ordered }) => {
      await breakBy(opened, `edit(orderings, 'ordered/key', function(o) o[1] = ARGV[1] end)`, newTask().id);
      const kinds = (await saidOf(opened.store)).map(({ kind }) => kind);
      expect(kinds).toEqual(["lost_order", "stale_holder"]);
      const said = await saidOf(opened.store, true);
      expect(said.find(({ kind }) => kind === "stale_holder")?.mended).toBe(true);
      expect(idsOf(await drain(opened.store))).toContain(ordered[1].id);
    }));

  test("a task that waits for an ordering key that nobody has", () =>
    withFilled(async (opened, { ordered }) => {
      await breakBy(opened, `edit(orderings, 'ordered/key', function(o) o[1] = false end)`);
      expect((await saidOf(opened.store)).map(({ kind }) => kind)).toEqual(["lost_order", "lost_order"]);
      // The one that has its turn already gets it back, and the other one does not go beside it.
      expect(await saidOf(opened.store, true)).toEqual([
        expect.objectContaining({ kind: "lost_order", subject: ordered[0].id, mended: true }),
      ]);
      expect(idsOf(await drain(opened.store))).not.toContain(ordered[1].id);
    }));

  test("records that cannot be read, which are left to people", () =>
    withFilled(async (opened, { ready, done }) => {
      const id = ready[0]?.id ?? "";
      await breakBy(opened, `redis.call('HSET', tasks, ARGV[1], 'nothing that is a task')`, id);
      const said = await saidOf(opened.store, true);
      expect(said[0]).toMatchObject({ kind: "unreadable_record", subject: id, mended: false });
      expect(said.every(({ mended }) => !mended)).toBe(true);
      expect((await read(opened.store, done.id)).state).toBe("succeeded");
    }));

  test("the state of a task that is not there", () =>
    withFilled(async (opened) => {
      await breakBy(opened, `redis.call('HSET', state, ARGV[1], 'k1,1,1,1,1,0\\n')`, newTask().id);
      await expectFound(opened.store, { kind: "orphan_record" }, { mends: true });
    }));
});

test("a lease that a failover has lost and its holder takes up again has its ordering key with it", async () => {
  const opened = await openStill(redis);
  const { store, connection, prefix } = opened;
  const keys = keysUnder(prefix).all;
  const copy = (from: string, to: string) =>
    Promise.all(keys.map((key) => connection.command("COPY", `${key}${from}`, `${key}${to}`, "REPLACE")));
  try {
    const [first, second] = newTasks(2, {
      orderingKey: "key",
      retentionMs: 60_000,
      scheduledAtMs: opened.now() + 1_000,
    });
    if (first === undefined || second === undefined) throw new Error("two were made");
    await put(store, first, second);
    await copy("", ":before");
    opened.advance(1_100);
    const held = await takeOne(store);
    // The primary that knew of the lease is gone.
    await connection.command("DEL", ...keys);
    await copy(":before", "");
    expect(await store.extend([{ taskId: held.id, fence: held.fence }], 60_000)).toEqual([]);
    expect(await saidOf(store)).toEqual([]);
    expect(await drain(store)).toEqual([]);
    await settle(store, success(held));
    expect(idsOf(await drain(store))).toEqual([held.id === first.id ? second.id : first.id]);
    expect(await saidOf(store)).toEqual([]);
  } finally {
    await opened.close();
  }
});

test("a busy store of more tasks than one step can look at is never taken for broken", async () => {
  const opened = await openStill(redis);
  try {
    await put(opened.store, ...newTasks(1_000));
    let ended = false;
    const work = (async () => {
      for (let round = 0; round < 150; round++) {
        await opened.store.enqueue(newTasks(5, { retentionMs: round % 2 === 0 ? 0 : null }));
        const tasks = await take(opened.store, 5);
        await settle(
          opened.store,
          ...tasks.map((task) => (round % 5 === 0 ? release(task, 0) : success(task))),
        );
      }
      ended = true;
    })();
    let walks = 0;
    while (!ended) {
      const { violations } = await inspectAll(opened.store, { limit: 50 });
      expect(violations).toEqual([]);
      walks += 1;
    }
    await work;
    expect(walks).toBeGreaterThan(0);
    // And what is broken is found as soon as it is quiet.
    await breakBy(opened, `redis.call('HINCRBY', counts, 'r' .. lane('2/default/client-a'), 1)`);
    const { violations } = await inspectAll(opened.store, { limit: 50 });
    expect(violations.map(({ kind }) => kind)).toEqual(["wrong_count"]);
  } finally {
    await opened.close();
  }
});
