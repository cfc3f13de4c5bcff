/** Reading Retry-After, in seconds and in each form of an HTTP date. */

import { describe, expect, test } from "bun:test";
import { retryAfterMs } from "../../src/transport/http/retry-after.ts";

/** Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110. */
const THEN_MS = 784_111_777_000;
const YEAR_MS = 366 * 86_400_000;

describe("Retry-After", () => {
  const now = THEN_MS - 60_000;
  for (const [header, waitMs] of [
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7_000],
    ["999999999999999999999", YEAR_MS],
    ["9".repeat(400), YEAR_MS],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 60_000],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 60_000],
    ["Sun Nov  6 08:49:37 1994", 60_000],
    ["Sun, 06 Nov 1994 08:48:00 GMT", 0],
    ["Fri, 31 Dec 9999 23:59:59 GMT", YEAR_MS],
    [null, null],
    ["", null],
    ["-1", null],
    ["1.5", null],
    ["1e3", null],
    ["soon", null],
    ["1994-11-06T08:49:37Z", null],
    ["Sun, 06 Foo 1994 08:49:37 GMT", null],
    ["Sun, 06 Nov 1994 08:49:37 CET", null],
    ["120, 240", null],
  ] as const) {
    test(`${JSON.stringify(header)?.slice(0, 40)} means ${waitMs}`, () => {
      expect(retryAfterMs(header, now)).toBe(waitMs);
    });
  }

  test("a two-digit year is never more than 50 years ahead", () => {
    const in2025 = Date.UTC(2025, 0, 1);
    expect(retryAfterMs("Sunday, 06-Nov-94 08:49:37 GMT", in2025)).toBe(0);
    expect(retryAfterMs("Wednesday, 01-Jan-25 00:01:00 GMT", in2025)).toBe(60_000);
  });
});
