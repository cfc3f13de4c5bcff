/** The Redis scripts called as nobody should: refused before they have written anything, and never running on. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { SCRIPTS } from "../../src/store/redis/scripts.ts";
import { put } from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { newTask, newTaskId } from "../support/tasks.ts";
import { dump, type Opened, openStill } from "./redis.still.ts";

let redis: StandaloneRedis;
let one: Opened;
beforeAll(async () => {
  redis = await startRedis();
  one = await openStill(redis);
});
afterAll(async () => {
  await one.close();
  await redis.stop();
});

const HEAD = "2/default/client-a,,,,,";
const WHAT = '["http://127.0.0.1:9/"]\n';
const task = (head: string) => [newTaskId() + head, WHAT];
const claim = (limit: string, settlements = "0", ...rest: string[]) => [
  ...["w", "t", "1", "1", "1", limit, "1000", "0", "", settlements],
  ...rest,
];

const WRONG: readonly (readonly [what: string, script: keyof typeof SCRIPTS, args: readonly string[]])[] = [
  ["no arguments", "purge", []],
  ["one missing in the middle", "hold", ["60000", "10000"]],
  ["one too many", "record", ["", "token", "{}", "9", "10"]],
  ["a second task without what it is", "enqueue", ["1", ...task(HEAD), newTaskId() + HEAD]],
  ["a second task without a head", "enqueue", ["1", ...task(HEAD), "x".repeat(26), WHAT]],
  ["a second task at no time", "enqueue", ["1", ...task(HEAD), ...task("2/default/client-a,z_z,,,,")]],
  [
    "a second task kept for no number",
    "enqueue",
    ["1", ...task(HEAD), ...task("2/default/client-a,,soon,,,")],
  ],
  ["tasks without end", "exchange", claim("1e15")],
  ["fewer settlements than it says", "exchange", claim("1", "2", "x", "1", "k", "0", "", "")],
  ["a settlement after no time", "exchange", claim("1", "1", "x", "1", "t", "nan", "", "")],
  [
    "a lease that ended long ago",
    "exchange",
    ["w", "t", "1", "1", "1", "1", "-9007199254740992", "0", "", "0"],
  ],
  ["a lease for ever", "extend", ["inf", newTaskId(), "1"]],
  ["a limit that is none", "rescue", ["1000", "-1"]],
  ["a change that is none", "change", ["1", "1", newTaskId(), "explode"]],
  ["a priority that is none", "change", ["1", "1", newTaskId(), "move", "", "7"]],
  ["settings that are no list", "settings", ["q/x", "", "{}", "nothing", "0", "token", "{}", "9"]],
  [
    "settings to begin with that are no list",
    "begin",
    ["2", "free", "t/a", "{}", "[1,1]", "t/b", "{}", "oops"],
  ],
];

test.each(WRONG)("%s: %s writes nothing", async (_, script, args) => {
  await put(one.store, newTask());
  const before = await dump(one);
  const skew = one.now() - Date.now();
  const called = one.connection.call(SCRIPTS[script], keysUnder(one.prefix).all, [skew, "hints", ...args]);
  await expect(called).rejects.toThrow(/^ERR /);
  expect(await dump(one)).toEqual(before);
});
