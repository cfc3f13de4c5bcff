/** Runs the store's conformance suite on a standalone Redis. */

import { afterAll, expect, test } from "bun:test";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { storeConformance } from "../conformance/store.ts";
import { startRedis } from "../support/redis.ts";
import { openFresh } from "../support/redis-store.ts";
import { newTask } from "../support/tasks.ts";

const redis = await startRedis({ password: "conformance" });
const endpoint = parseRedisUrl(redis.url);
// A store with a bound goes by the memory of its whole Redis, where what other tests leave behind would count too.
const bounded = await startRedis();
const boundedEndpoint = parseRedisUrl(bounded.url);
afterAll(() => Promise.all([redis.stop(), bounded.stop()]));

storeConformance("redis standalone", (settings) =>
  openFresh((settings?.maxBytes ?? 0) > 0 ? boundedEndpoint : endpoint, "primary", settings),
);

const PLAIN_PASSWORD = "plain";
await redis.process.command(
  "ACL",
  ...["SETUSER", "plain", "on", `>${PLAIN_PASSWORD}`, "~*", "&*", "+@all", "-fcall", "-function"],
);
const plain = { ...endpoint, username: "plain", password: PLAIN_PASSWORD };
// What the frequent commands are where a server, or its administrator, lets us call no functions.
storeConformance("redis by scripts alone", (settings) =>
  (settings?.maxBytes ?? 0) > 0
    ? openFresh(boundedEndpoint, "primary", settings)
    : openFresh(plain, "primary", settings),
);

test("a standalone Redis promises no more than its primary", async () => {
  const opened = await openFresh(endpoint, "primary");
  try {
    expect((await opened.store.enqueue([newTask()])).durability).toBe("primary");
  } finally {
    await opened.close();
  }
});
