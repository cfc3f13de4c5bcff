/** An exchange whose answer is lost on its way: what it leased is found again, and by nobody else. */

import { afterAll, expect, test } from "bun:test";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { openRedisStore, type ScriptConnection } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS, liftLimits } from "../conformance/store/harness.ts";
import { startRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { newTasks, success } from "../support/tasks.ts";

const redis = await startRedis({});
afterAll(() => redis.stop());

/** A store on the real Redis, and a way to lose the answer of its next call after Redis has carried it out. */
async function openLossy(keyPrefix: string) {
  const connection = await connect(parseRedisUrl(redis.url));
  let losing = false;
  const lossy: ScriptConnection = {
    call: async (...args) => {
      const answer = await connection.call(...args);
      if (!losing) return answer;
      losing = false;
      throw new Error("the answer was lost");
    },
    confirm: (...args) => connection.confirm(...args),
    command: (...args) => connection.command(...args),
    subscribe: (...args) => connection.subscribe(...args),
    onReconnect: (listener) => connection.onReconnect(listener),
    close: () => connection.close(),
  };
  const settings = DEFAULT_SETTINGS;
  const store = await openRedisStore({
    connection: lossy,
    keyPrefix,
    durability: "primary",
    settings,
    clock: systemClock,
  });
  await liftLimits(store);
  const loseNext = () => {
    losing = true;
  };
  const close = async () => {
    await connection.command("DEL", ...keysUnder(keyPrefix).all);
    await store.close();
  };
  return { store, loseNext, close };
}

const request = { worker: "w1", limit: 5, leaseMs: 60_000 };

test("the next exchange of the worker gets the tasks of the one whose answer was lost", async () => {
  const { store, loseNext, close } = await openLossy("lossy-1");
  try {
    const tasks = newTasks(8);
    await store.enqueue(tasks);
    loseNext();
    expect(await store.claim(request).then(String, String)).toContain("the answer was lost");
    const found = (await store.claim(request)).tasks;
    expect(found.map((task) => task.id)).toEqual(tasks.slice(0, 5).map((task) => task.id));
    const rest = (await store.claim(request)).tasks;
    expect(rest.map((task) => task.id)).toEqual(tasks.slice(5).map((task) => task.id));
    const settled = await store.settle([...found, ...rest].map((task) => success(task)));
    expect(settled).toEqual(tasks.map(() => "settled"));
  } finally {
    await close();
  }
});

test("settlements handed in again with it are taken once, and their tasks stay ended", async () => {
  const { store, loseNext, close } = await openLossy("lossy-2");
  try {
    const tasks = newTasks(4);
    await store.enqueue(tasks);
    const first = (await store.claim({ ...request, limit: 2 })).tasks;
    const settlements = first.map((task) => success(task));
    loseNext();
    expect(await store.settleAndClaim(settlements, request).then(String, String)).toContain("lost");
    const again = await store.settleAndClaim(settlements, request);
    expect(again.settled).toEqual(["stale", "stale"]);
    expect(again.claim.tasks.map((task) => task.id)).toEqual(tasks.slice(2).map((task) => task.id));
    expect(await Promise.all(first.map(async ({ id }) => (await store.get(id))?.state))).toEqual([
      "succeeded",
      "succeeded",
    ]);
    expect((await store.get(first[0]?.id ?? ""))?.attempts).toBe(1);
  } finally {
    await close();
  }
});

test("what another worker asks for meanwhile is its own", async () => {
  const { store, loseNext, close } = await openLossy("lossy-3");
  try {
    const tasks = newTasks(6);
    await store.enqueue(tasks);
    loseNext();
    await store.claim({ ...request, limit: 3 }).catch(() => {});
    const others = (await store.claim({ ...request, worker: "w2" })).tasks;
    expect(others.map((task) => task.id)).toEqual(tasks.slice(3).map((task) => task.id));
    const own = (await store.claim(request)).tasks;
    expect(own.map((task) => task.id)).toEqual(tasks.slice(0, 3).map((task) => task.id));
  } finally {
    await close();
  }
});
