import { describe, expect, test } from "bun:test";
import { parseInstantMs } from "../../src/service/instant.ts";

describe("parseInstantMs", () => {
  test.each([
    ["2030-01-31T08:00:00Z", Date.UTC(2030, 0, 31, 8)],
    ["2030-01-31t08:00:00z", Date.UTC(2030, 0, 31, 8)],
    ["2030-01-31 08:00:00.5Z", Date.UTC(2030, 0, 31, 8, 0, 0, 500)],
    ["2030-01-31T08:00:00.123456789Z", Date.UTC(2030, 0, 31, 8, 0, 0, 123)],
    ["2030-01-31T08:00:00+02:30", Date.UTC(2030, 0, 31, 5, 30)],
    ["2030-01-31T23:00:00-02:00", Date.UTC(2030, 1, 1, 1)],
    ["2028-02-29T00:00:00Z", Date.UTC(2028, 1, 29)],
    ["0050-01-01T00:00:00Z", Date.parse("0050-01-01T00:00:00.000Z")],
  ])("reads %s", (text, ms) => {
    expect(parseInstantMs(text)).toBe(ms);
  });

  test("takes a number for seconds, to the millisecond", () => {
    expect(parseInstantMs(1_900_000_000.1234)).toBe(1_900_000_000_123);
  });

  test.each([
    "2030-02-29T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-00-10T00:00:00Z",
    "2030-01-31T24:00:00Z",
    "2030-01-31T08:60:00Z",
    "2030-01-31T08:00:60Z",
    "2030-01-31T08:00:00",
    "2030-01-31T08:00:00+25:00",
    "2030-01-31",
    "tomorrow",
    "1900000000",
    "",
  ])("refuses %j", (text) => {
    expect(parseInstantMs(text)).toBeNull();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("refuses %p", (value) => {
    expect(parseInstantMs(value)).toBeNull();
  });
});
