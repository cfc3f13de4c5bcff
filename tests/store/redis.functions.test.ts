/** The frequent commands as functions of Redis: loaded when missing, begun anew at each call, and done without where they are refused. */

import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { LIBRARY_PREFIX } from "../../src/store/redis/script.ts";
import { SCRIPTS } from "../../src/store/redis/scripts.ts";
import { put, settle, take } from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { openFresh } from "../support/redis-store.ts";
import { newTask, success } from "../support/tasks.ts";
import { dump, openStill } from "./redis.still.ts";

const LIBRARIES = Object.values(SCRIPTS).flatMap(({ library }) => library?.name ?? []);
/** What the libraries are made of, beside the commands that hand over to `run`. */
const PARTS = ["base.lua", "shared.lua", "limits.lua", "accept.lua", "hosts.lua", "library.lua"];
const LUA = new URL("../../src/store/redis/lua/", import.meta.url);

let redis: StandaloneRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(() => redis.process.command("FUNCTION", "FLUSH"));

const loaded = async () =>
  [...JSON.stringify(await redis.process.command("FUNCTION", "LIST")).matchAll(/library_name","(\w+)/g)].map(
    ([, name]) => name,
  );

/** How often each way was called since this was last asked. */
async function calls(): Promise<{ functions: number; scripts: number }> {
  const stats = String(await redis.process.command("INFO", "commandstats"));
  await redis.process.command("CONFIG", "RESETSTAT");
  const of = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  return { functions: of("fcall"), scripts: of("eval") + of("evalsha") };
}

test("there are libraries of what is called for every task, with names of their text", () => {
  expect(LIBRARIES.map((name) => name.replace(/[0-9a-f]{16}$/, ""))).toEqual(
    ["enqueue", "exchange", "extend"].map((name) => `${LIBRARY_PREFIX}${name}_`),
  );
});

test("a library is loaded by the first call that misses it, also after the server has forgotten it", async () => {
  const { store, close } = await openStill(redis);
  try {
    for (let round = 0; round < 2; round++) {
      await redis.process.command("FUNCTION", "FLUSH");
      await put(store, newTask());
      expect(await loaded()).toEqual(LIBRARIES.slice(0, 1));
      await calls();
      await put(store, newTask());
      expect(await calls()).toEqual({ functions: 1, scripts: 0 });
    }
    expect(await take(store, 10)).toHaveLength(4);
  } finally {
    await close();
  }
});

test("libraries of other builds go when a store is opened, and those of others stay", async () => {
  const library = (name: string) =>
    `#!lua name=${name}\nredis.register_function('${name}', function() return 1 end)`;
  for (const name of [`${LIBRARY_PREFIX}enqueue_0123456789abcdef`, "somebody_elses"]) {
    await redis.process.command("FUNCTION", "LOAD", library(name));
  }
  const first = await openStill(redis);
  await put(first.store, newTask());
  const second = await openStill(redis);
  try {
    expect((await loaded()).sort()).toEqual(["somebody_elses", ...LIBRARIES.slice(0, 1)]);
  } finally {
    await first.close();
    await second.close();
  }
});

test("a user who may call no functions works by scripts, and asks for a function once", async () => {
  await redis.process.command(
    "ACL",
    ...["SETUSER", "plain", "on", ">plain-password", "~*", "&*", "+@all", "-fcall", "-function"],
  );
  const endpoint = parseRedisUrl(redis.url.replace("redis://", "redis://plain:plain-password@"));
  const { store, close } = await openFresh(endpoint, "primary");
  try {
    await put(store, newTask());
    await calls();
    await put(store, newTask());
    const [task] = await take(store, 1);
    if (!task) throw new Error("there was nothing to claim");
    await settle(store, success(task));
    expect(await calls()).toEqual({ functions: 0, scripts: 3 });
    expect(await store.get(task.id)).toMatchObject({ state: "succeeded" });
    expect(await loaded()).toEqual([]);
  } finally {
    await close();
  }
});

test("a server that answers functions is not asked whether it is the primary, and one that runs scripts is", async () => {
  const rolesAsked = async () =>
    Number(
      /cmdstat_role:calls=(\d+)/.exec(String(await redis.process.command("INFO", "commandstats")))?.[1] ?? 0,
    );
  const { store, connection, close } = await openStill(redis);
  // More than two heartbeats, in each of which there are calls.
  const callsGoOn = async (call: () => Promise<unknown>) => {
    await redis.process.command("CONFIG", "RESETSTAT");
    for (let calls = 0; calls < 12; calls++) {
      await call();
      await Bun.sleep(200);
    }
  };
  try {
    await callsGoOn(() => put(store, newTask()));
    expect(await rolesAsked()).toBe(0);
    await callsGoOn(() => connection.command("EVAL", "return 1", 0));
    expect(await rolesAsked()).toBeWithin(1, 4);
  } finally {
    await close();
  }
});

test("a call sees nothing of an earlier one that failed half-way, in another store or its own", async () => {
  const broken = await openStill(redis);
  const whole = await openStill(redis);
  const counts = `{${broken.prefix}}:counts`;
  try {
    // Counters are written last: by then the call has all of its state.
    await broken.connection.command("SET", counts, "no hash");
    const lost = newTask({ clientId: "client-lost", orderingKey: "key", scheduledAtMs: 1 });
    await expect(broken.store.enqueue([lost])).rejects.toThrow("WRONGTYPE");
    await put(whole.store, newTask({ clientId: "client-kept" }));
    expect(JSON.stringify(await dump(whole))).not.toContain("client-lost");
    expect(await take(whole.store, 10)).toHaveLength(1);
    await broken.connection.command("DEL", counts);
    await put(broken.store, newTask());
    expect(await broken.store.counts()).toMatchObject([{ states: { ready: 1 } }]);
  } finally {
    await broken.close();
    await whole.close();
  }
});

test("no part of a library keeps state of its own: all begins in per_call", async () => {
  // A value that a part is loaded with would be seen by every later call. What is written in capitals never changes.
  const kept: string[] = [];
  for (const file of await readdir(LUA)) {
    const text = await Bun.file(new URL(file, LUA)).text();
    for (const [line] of text.matchAll(/^local (?!function)[a-z][^\n]*=[^\n]*/gm)) {
      if (text.includes("return run(function()") || PARTS.includes(file)) kept.push(`${file}: ${line}`);
    }
  }
  expect(kept).toEqual(["library.lua: local begins = {}", "shared.lua: local before_commit = {}"]);
});
