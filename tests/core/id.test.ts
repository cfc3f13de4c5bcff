/** Holds that task ids are short, unique, unguessable in their order and sorted by time. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { idGenerator, isTaskId } from "../../src/core/id.ts";

const MAX_ULID_MS = 2 ** 48 - 1;

describe("task ids", () => {
  test("have 26 characters of the alphabet and are known as task ids", () => {
    const next = generator();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_ULID_MS }), (nowMs) => {
        const id = next(nowMs);
        expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
        expect(isTaskId(id)).toBe(true);
      }),
    );
  });

  test("sort by the time they were made at", () => {
    const next = generator();
    const times = fc.integer({ min: 0, max: MAX_ULID_MS });
    fc.assert(
      fc.property(times, times, (a, b) => {
        fc.pre(a !== b);
        expect(next(a) < next(b)).toBe(a < b);
      }),
    );
  });

  test("carry their time as the ULID specification's example does", () => {
    const next = generator();
    expect(next(1_469_918_176_385).slice(0, 10)).toBe("01ARYZ6S41");
    expect(next(0).slice(0, 10)).toBe("0000000000");
    expect(next(MAX_ULID_MS).slice(0, 10)).toBe("7ZZZZZZZZZ");
  });

  test("are unique over 100,000 of one millisecond", () => {
    const next = generator();
    const ids = new Set(Array.from({ length: 100_000 }, () => next(1_800_000_000_000)));
    expect(ids.size).toBe(100_000);
  });

  test("use every random byte given, once, and ask for more when they are used up", () => {
    let fills = 0;
    const next = idGenerator((bytes) => {
      fills++;
      for (let i = 0; i < bytes.length; i++) bytes[i] = fills;
    });
    const seen = new Set<string>();
    for (let i = 0; i < 1_000; i++) seen.add(next(1).slice(10));
    expect(fills).toBeGreaterThan(1);
    expect(seen.size).toBe(fills);
    for (const random of seen) expect(new Set(random).size).toBe(1);
  });

  test("are unpredictable in all 16 random characters", () => {
    const next = generator();
    const seen = Array.from({ length: 16 }, () => new Set<string>());
    for (let i = 0; i < 2_000; i++) {
      const random = next(1).slice(10);
      for (const [at, characters] of seen.entries()) characters.add(random[at] ?? "");
    }
    for (const characters of seen) expect(characters.size).toBe(32);
  });

  test("are told from what is none", () => {
    const id = generator()(1_800_000_000_000);
    const none = [
      "",
      "x",
      id.slice(1),
      `${id}0`,
      id.toLowerCase(),
      `${id.slice(1)}I`,
      `${id.slice(1)}U`,
      ` ${id}`,
      `${id}\n`,
    ];
    for (const text of none) expect(isTaskId(text)).toBe(false);
  });
});

function generator(): (nowMs: number) => string {
  return idGenerator((bytes) => {
    crypto.getRandomValues(bytes);
  });
}
