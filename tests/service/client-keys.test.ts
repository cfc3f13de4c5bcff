import { afterEach, beforeEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { ClientKeys, newClientKey } from "../../src/service/client-keys.ts";
import { giveKey, openTestStore, putClient, type TestStore } from "../api/support.ts";

let opened: TestStore;
let keys: ClientKeys;
beforeEach(async () => {
  opened = await openTestStore();
  keys = new ClientKeys(opened.store);
});
afterEach(() => opened.close());

test("a key names its client, and what is kept of it is the hash of its secret", () => {
  const { key, kept } = newClientKey("a.b:c-1", "ci", 5);
  expect(key).toMatch(/^trk\.a\.b:c-1\.[A-Za-z0-9_-]{43}$/);
  const secret = key.slice(key.lastIndexOf(".") + 1);
  const hash = createHash("sha256").update(secret).digest("hex");
  expect(kept).toEqual({ id: hash.slice(0, 8), hash, label: "ci", createdAtMs: 5 });
});

test("no two keys are alike", () => {
  expect(new Set(Array.from({ length: 1_000 }, () => newClientKey("c", null, 0).key)).size).toBe(1_000);
});

test("each key of a client is its own, also where the client's id holds dots", async () => {
  const first = await giveKey(opened.store, "a.b.c");
  const second = await giveKey(opened.store, "a.b.c");
  expect([await keys.ownerOf(first), await keys.ownerOf(second)]).toEqual(["a.b.c", "a.b.c"]);
});

test("a key is nobody's once it is revoked, and a new one is good at once", async () => {
  const key = await giveKey(opened.store, "c");
  expect(await keys.ownerOf(key)).toBe("c");
  await putClient(opened.store, "c", { keys: [] });
  expect(await keys.ownerOf(key)).toBeNull();
  const next = await giveKey(opened.store, "c");
  expect([await keys.ownerOf(next), await keys.ownerOf(key)]).toEqual(["c", null]);
});

test("what is not quite a key is nobody's", async () => {
  const key = await giveKey(opened.store, "c");
  const secret = key.slice("trk.c.".length);
  const last = secret.at(-1) === "A" ? "B" : "A";
  await giveKey(opened.store, "d");
  for (const wrong of [
    "",
    "trk.",
    "trk..",
    "trk.c",
    "trk.c.",
    secret,
    `trk.${secret}`,
    `trk..${secret}`,
    `trk.d.${secret}`,
    `trk.e.${secret}`,
    `TRK.c.${secret}`,
    `trk.c.${secret.slice(0, -1)}`,
    `trk.c.${secret.slice(0, -1)}${last}`,
    `trk.c.${secret}x`,
    `trk.c.${secret} `,
    `trk.c.${secret}.`,
    `trk.${"c".repeat(200)}.${secret}`,
    `${key}${key}`,
  ]) {
    expect(await keys.ownerOf(wrong)).toBeNull();
  }
});

test("tells which clients have keys, as it is now", async () => {
  expect(await keys.hasKeys("c")).toBe(false);
  await giveKey(opened.store, "c");
  expect(await keys.hasKeys("c")).toBe(true);
  await putClient(opened.store, "c", { keys: [] });
  expect(await keys.hasKeys("c")).toBe(false);
});

test("no text whatever is somebody's key, or fails to be looked up", async () => {
  const key = await giveKey(opened.store, "c");
  const part = fc.oneof(fc.constantFrom("trk", "c", key.slice("trk.c.".length), "", "trk.c"), fc.string());
  const text = fc.array(part, { maxLength: 6 }).map((parts) => parts.join("."));
  await fc.assert(
    fc.asyncProperty(text, async (given) => {
      expect(await keys.ownerOf(given)).toBe(given === key ? "c" : null);
    }),
    { seed: 20_260_101, numRuns: 1_000 },
  );
});
