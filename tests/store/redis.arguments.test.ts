/** The Redis store given odd names, odd texts and large numbers, which its scripts take apart by patterns. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  HOUR_MS,
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  put,
  read,
  settle,
  take,
} from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { death, newTarget, newTask, newTasks, release, retry, success } from "../support/tasks.ts";
import { openStill } from "./redis.still.ts";

let redis: StandaloneRedis;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

describe("odd arguments", () => {
  const CLIENTS = [
    ".",
    "-",
    ":",
    "_",
    "..",
    "::",
    "a:0",
    "i1",
    "1",
    "0",
    "m",
    "o",
    "b1",
    "-".repeat(128),
    "A1._:-",
  ];
  const QUEUES = ["-", "_", "0", "1", "m0", "o", "b", "i1", "x".repeat(100)];
  const TEXTS = [
    ..." !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".split(""),
    "\n",
    "\r\n",
    "\0",
    "a,b",
    "a b",
    "a/b",
    "a\nb",
    "%2C",
    "é",
    "日本",
    "😀",
    "\u2028",
    "constructor",
    "__proto__",
    "1e309",
    "-0",
    "0x10",
    "x".repeat(500),
  ];

  test("clients and queues at the edges of their character sets keep apart and keep their order", async () => {
    const one = await openStill(redis);
    const tasks = QUEUES.flatMap((queue) => CLIENTS.flatMap((clientId) => newTasks(2, { queue, clientId })));
    await put(one.store, ...tasks);
    const listed = await listAll(one.store);
    expect(new Set(listed.map(({ queue, clientId }) => `${queue} ${clientId}`)).size).toBe(
      QUEUES.length * CLIENTS.length,
    );
    const claimed = await take(one.store, 1_000);
    expect(claimed.length).toBe(tasks.length);
    const orderOf = (
      of: readonly { id: string; queue: string; clientId: string }[],
      queue: string,
      client: string,
    ) => idsOf(of.filter((task) => task.queue === queue && task.clientId === client));
    for (const queue of QUEUES) {
      for (const client of CLIENTS)
        expect(orderOf(claimed, queue, client)).toEqual(orderOf(tasks, queue, client));
    }
    await one.close();
  });

  test("names, idempotency keys and ordering keys of every odd character keep apart and come back as given", async () => {
    const one = await openStill(redis);
    for (const [at, text] of TEXTS.entries()) {
      const name = newTask({ name: text });
      const key = newTask({ idempotencyKey: text });
      const ordered = newTasks(2, { orderingKey: text, queue: `q${at}`, metadata: { [text]: text } });
      await put(one.store, name, key, ...ordered);
      const again = await one.store.enqueue([newTask({ name: text }), newTask({ idempotencyKey: text })]);
      expect(again.results).toEqual([
        { kind: "duplicate", id: name.id },
        { kind: "duplicate", id: key.id },
      ]);
      expect((await read(one.store, name.id)).name).toBe(text);
      const [first] = ordered;
      expect(await read(one.store, first?.id ?? "")).toMatchObject({
        orderingKey: text,
        metadata: { [text]: text },
      });
    }
    // Of each key one, the first; of all the others every one.
    const claimed = await take(one.store, 1_000);
    expect(claimed.length).toBe(TEXTS.length * 3);
    await settle(one.store, ...claimed.map((task) => success(task)));
    expect((await take(one.store, 1_000)).length).toBe(TEXTS.length);
    await one.close();
  });

  test("bodies, headers, reasons and errors of any text come back as given", async () => {
    const one = await openStill(redis);
    for (const text of [...TEXTS, ""]) {
      const target = newTarget({
        body: text,
        headers: { "x-a": text },
        url: `http://127.0.0.1:9/?q=${encodeURI(text)}`,
      });
      const bytes = newTarget({ body: new TextEncoder().encode(text) });
      await put(one.store, newTask({ target }), newTask({ target: bytes }));
      const [a, b] = await take(one.store, 2);
      if (!a || !b) throw new Error("there was too little to claim");
      expect(a.target).toEqual(target);
      expect(b.target).toEqual(bytes);
      await settle(
        one.store,
        death(a, text || "none", { responseExcerpt: text, error: text }),
        retry(b, HOUR_MS, { error: text || null }),
      );
      expect(await read(one.store, a.id)).toMatchObject({
        reason: text || "none",
        attemptLog: [{ error: text, responseExcerpt: text }],
      });
    }
    await one.close();
  });

  test("numbers as large as the API lets through, and larger, break nothing", async () => {
    const one = await openStill(redis);
    // In the year 5138; the API lets through 366 days.
    const farthestMs = 99_999_999_999_999;
    const times = [0, 1, one.now() + 366 * 86_400_000, farthestMs];
    const tasks = times.map((scheduledAtMs) => newTask({ scheduledAtMs, retentionMs: 31 * 86_400_000 }));
    await put(one.store, ...tasks);
    for (const [at, task] of tasks.entries())
      expect((await read(one.store, task.id)).scheduledAtMs).toBe(times[at] as number);
    const [a, b] = await take(one.store, 1_000);
    if (!a || !b) throw new Error("there was too little to claim");
    await settle(one.store, retry(a, farthestMs - one.now() - MINUTE_MS), release(b, 366 * 86_400_000));
    expect((await read(one.store, a.id)).state).toBe("retrying");
    const last = tasks[3]?.id ?? "";
    expect((await one.store.reschedule(last, { scheduledAtMs: one.now() })).kind).toBe("changed");
    expect(idsOf(await take(one.store, 10))).toEqual([last]);
    await one.close();
  });

  test("a listing takes every time as its bounds, before the first and after the last too", async () => {
    const one = await openStill(redis);
    await put(one.store, newTask());
    for (const fromMs of [-62_167_219_200_000, -1e300, 0, Number.NEGATIVE_INFINITY]) {
      for (const toMs of [1e18, 1e300, Number.POSITIVE_INFINITY]) {
        expect((await one.store.list({ limit: 10, fromMs, toMs })).tasks.length).toBe(1);
      }
    }
    await one.close();
  });

  test("the most that one call may carry fits", async () => {
    const one = await openStill(redis);
    await put(one.store, ...newTasks(1_000));
    const claimed = await take(one.store, 1_000);
    expect(claimed.length).toBe(1_000);
    expect(
      await one.store.extend(
        claimed.map(({ id, fence }) => ({ taskId: id, fence })),
        LEASE_MS,
      ),
    ).toEqual([]);
    await settle(one.store, ...claimed.map((task) => success(task)));
    one.advance(2 * HOUR_MS);
    expect((await one.store.sweep(1_000)).tasks).toBe(1_000);
    await one.close();
  });
});
