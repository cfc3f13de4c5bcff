/** What users write on the command line means what it says. */

import { expect, test } from "bun:test";
import { bodyFields, durationSec, header, instant, looksLikeJson } from "../../src/cli/input.ts";
import { plain } from "../../src/cli/plain.ts";

test.each([
  ["90", 90],
  ["1.5", 1.5],
  ["30s", 30],
  ["5m", 300],
  ["2h", 7_200],
  ["1d", 86_400],
  ["1h30m", 5_400],
  ["0", 0],
])("a delay of %s is %d seconds", (text, seconds) => {
  expect(durationSec(text)).toBe(seconds);
});

test.each(["", "m", "5 m", "-1", "1e9", "5w", "1h30"])("%j is no delay", (text) => {
  expect(() => durationSec(text)).toThrow("30s, 5m, 2h");
});

test("a time is passed on as RFC 3339 or as seconds", () => {
  expect(instant("2030-01-31T08:00:00Z")).toBe("2030-01-31T08:00:00Z");
  expect(instant("1900000000")).toBe(1_900_000_000);
});

test("headers add up, a later one of a name in place of the earlier, and a value may hold colons", () => {
  expect(header("X-A: b:c", header("X-B:2", header("X-A: 1")))).toEqual({ "X-A": "b:c", "X-B": "2" });
});

test("a body of text is sent as it is, byte order mark included, and any other as base64", () => {
  expect(bodyFields(new TextEncoder().encode("\ufeffgrüße\n"))).toEqual({ body: "\ufeffgrüße\n" });
  expect(bodyFields(new Uint8Array([0xff, 0x00]))).toEqual({ body_base64: "/wA=" });
});

test("only a JSON object or array is taken for JSON", () => {
  expect(['{"a":1}', " [1]"].map(looksLikeJson)).toEqual([true, true]);
  expect(["{a}", "7", '"text"', "", "null"].map(looksLikeJson)).toEqual([false, false, false, false, false]);
});

test("text from elsewhere cannot steer the terminal", () => {
  expect(plain("a\u001b[2Jb\r\nc\u009bd")).toBe("a [2Jb c d");
});
