import { beforeEach, describe, expect, test } from "bun:test";
import { WrongKeys } from "../../src/api/wrong-keys.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { giveKey, send, startApi } from "./support.ts";

let clock: ManualClock;
let lines: Record<string, unknown>[];
let wrongKeys: WrongKeys;
const addresses = new WeakMap<Request, string | null>();
beforeEach(() => {
  clock = new ManualClock();
  lines = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  wrongKeys = new WrongKeys({
    clock,
    logger: createLogger({ level: "info", role: "test", destination }),
    addressOf: (request) => addresses.get(request) ?? null,
  });
});

/** Presents a wrong key from an address; tells after how long it was answered. */
function present(address: string | null = "192.0.2.1"): {
  answered: Promise<number>;
  isAnswered: () => boolean;
} {
  const request = new Request("http://x/");
  addresses.set(request, address);
  const startMs = clock.now();
  let isAnswered = false;
  const answered = wrongKeys.slowDown(request).then(() => {
    isAnswered = true;
    return clock.now() - startMs;
  });
  return { answered, isAnswered: () => isAnswered };
}

async function delayOf(address?: string | null): Promise<number> {
  const { answered, isAnswered } = present(address);
  await new Promise(setImmediate);
  if (!isAnswered()) await clock.advance(2_000);
  return answered;
}

describe("wrong keys", () => {
  test("are answered at once five times a minute, then later and later, and never more than two seconds", async () => {
    const atOnce = Array.from({ length: 5 }, () => present());
    for (const { answered } of atOnce) expect(await answered).toBe(0);
    const delays: number[] = [];
    for (let i = 0; i < 8; i++) delays.push(await delayOf());
    expect(delays).toEqual([100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
  });

  test("are answered at once again after a minute without", async () => {
    for (let i = 0; i < 8; i++) await delayOf();
    await clock.advance(60_000);
    expect(await delayOf()).toBe(0);
  });

  test("of one address delay no other, and those of one IPv6 network count together", async () => {
    for (let i = 0; i < 6; i++) await delayOf("192.0.2.1");
    expect(await delayOf("192.0.2.2")).toBe(0);
    expect(await delayOf("::ffff:192.0.2.1")).toBeGreaterThan(0);
    for (let i = 0; i < 6; i++) await delayOf(`2001:db8:0:7::${i}`);
    expect(await delayOf("2001:db8:0:7:a:b:c:d")).toBeGreaterThan(0);
    expect(await delayOf("2001:db8:0:8::1")).toBe(0);
    expect(await delayOf("2001:db8::7:0:0:0:1")).toBeGreaterThan(0);
    expect(await delayOf("2001:db8::7")).toBe(0);
    expect(await delayOf(null)).toBe(0);
  });

  test("are held a thousand at once, and the next is told to come back", async () => {
    for (let i = 0; i < 5; i++) present();
    const held = Array.from({ length: 1_000 }, () => present());
    await expect(present().answered).rejects.toMatchObject({ code: "too_many_attempts", retryAfterSec: 60 });
    expect(held.some(({ isAnswered }) => isAnswered())).toBe(false);
    expect(await delayOf("192.0.2.2")).toBe(0);
    await clock.advance(2_000);
    await Promise.all(held.map(({ answered }) => answered));
    expect(await delayOf()).toBe(2_000);
  });

  test("are logged with address and count, once a minute for an address", async () => {
    for (let i = 0; i < 20; i++)
      await present()
        .answered.catch(() => {})
        .then.call(Promise.resolve(), () => {});
    expect(lines).toHaveLength(1);
    await present("192.0.2.2").answered;
    expect(lines.map(({ level, address, wrong_keys }) => [level, address, wrong_keys])).toEqual([
      ["warn", "192.0.2.1", 1],
      ["warn", "192.0.2.2", 1],
    ]);
    await clock.advance(60_000);
    present();
    expect(lines.at(-1)).toMatchObject({ address: "192.0.2.1", wrong_keys: 20 });
  });

  test("of no more than a thousand addresses are remembered, the latest", async () => {
    for (let i = 0; i < 6; i++) present("192.0.2.1");
    for (let i = 0; i < 6; i++) present("192.0.2.2");
    for (let i = 0; i < 998; i++) present(`10.0.${i >> 8}.${i & 255}`);
    expect(await delayOf("192.0.2.1")).toBeGreaterThan(0);
    present("10.9.9.9");
    expect(await delayOf("192.0.2.2")).toBe(0);
    expect(await delayOf("192.0.2.1")).toBeGreaterThan(0);
  });
});

test("over HTTP wrong keys of either kind wait, and the right ones never do", async () => {
  const api = await startApi({ adminKey: "right", clientAuth: "required" });
  try {
    const key = await giveKey(api.store, "c");
    const list = (headers: Record<string, string>) => send("GET", `${api.url}/v1/tasks`, undefined, headers);
    for (let i = 0; i < 3; i++) expect((await list({ "X-Admin-Key": "wrong" })).status).toBe(401);
    for (let i = 0; i < 2; i++) expect((await list({ "X-API-Key": "wrong" })).status).toBe(401);
    const before = api.clock.pending;
    const held = list({ "X-Admin-Key": "wrong" });
    while (api.clock.pending === before) await new Promise(setImmediate);
    // Time stands still, so that whatever waits is never answered.
    expect((await list({ "X-Admin-Key": "right" })).status).toBe(200);
    expect((await list({ "X-API-Key": key })).status).toBe(200);
    expect((await list({})).status).toBe(401);
    await api.clock.advance(100);
    expect((await held).status).toBe(401);
    expect(api.logged).toMatchObject([{ level: "warn", address: "127.0.0.1", wrong_keys: 1 }]);
  } finally {
    await api.close();
  }
});
