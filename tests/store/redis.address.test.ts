/** What Redis addresses and URLs come to, and that their errors are of use without giving a password away. */

import { describe, expect, test } from "bun:test";
import { addressText, endpointText, parseAddress, parseRedisUrl } from "../../src/store/redis/address.ts";

describe("parseAddress", () => {
  test.each([
    ["redis:7000", { host: "redis", port: 7_000 }],
    [" rel-redis-1.rel-redis:6380 ", { host: "rel-redis-1.rel-redis", port: 6_380 }],
    ["10.0.0.1", { host: "10.0.0.1", port: 6_379 }],
    ["[::1]:7000", { host: "::1", port: 7_000 }],
    ["[fe80::1%eth0]", { host: "fe80::1%eth0", port: 6_379 }],
  ])("reads %p", (text, expected) => {
    expect(parseAddress(text, 6_379)).toEqual(expected);
  });

  test.each(["", ":6379", "host:", "host:0", "host:65536", "host:port", "::1", "[::1", "a b:1", "host:1:2"])(
    "refuses %p and says what is allowed",
    (text) => {
      expect(() => parseAddress(text, 6_379)).toThrow(`"${text}" is not host:port`);
    },
  );

  test("is written back with IPv6 in brackets", () => {
    expect(addressText({ host: "::1", port: 1 })).toBe("[::1]:1");
    expect(addressText({ host: "redis", port: 1 })).toBe("redis:1");
  });
});

describe("parseRedisUrl", () => {
  test.each([
    ["redis://redis", { kind: "standalone", host: "redis", port: 6_379, db: 0, tls: false }],
    ["redis://[::1]:7000/3", { kind: "standalone", host: "::1", port: 7_000, db: 3, tls: false }],
    [
      "redis://:p%40ss%2F@h:1/0",
      { kind: "standalone", host: "h", port: 1, db: 0, tls: false, password: "p@ss/" },
    ],
    [
      "redis://:a/b?c#d@e@h:1",
      { kind: "standalone", host: "h", port: 1, db: 0, tls: false, password: "a/b?c#d@e" },
    ],
    [
      "rediss://app:a:b@h:1/",
      { kind: "standalone", host: "h", port: 1, db: 0, tls: true, username: "app", password: "a:b" },
    ],
    ["redis://%61pp@h:1/", { kind: "standalone", host: "h", port: 1, db: 0, tls: false, username: "app" }],
    [
      "redis+sentinel://:pw@s1:1,s2,[::1]:3/mymaster/2",
      {
        kind: "sentinel",
        sentinels: [
          { host: "s1", port: 1 },
          { host: "s2", port: 26_379 },
          { host: "::1", port: 3 },
        ],
        masterName: "mymaster",
        db: 2,
        tls: false,
        password: "pw",
      },
    ],
  ])("reads %p", (url, expected) => {
    expect(parseRedisUrl(url) as unknown).toEqual(expected);
  });

  test.each([
    ["http://h", /^not a Redis URL; allowed: redis:\/\//],
    ["redis://", /is not host:port/],
    ["redis://h:99999/0", /"h:99999" is not host:port/],
    ["redis://h/zero", /database .* whole number/],
    ["redis://user:@h", /needs a password after the colon/],
    ["redis://:@h", /needs a password after the colon/],
    ["redis+sentinel://h", /must be the master's name/],
    ["redis+sentinel://h1,,h2/m", /"" is not host:port/],
    ["redis://h?db=1", /^not a Redis URL/],
  ])("refuses %p", (url, reason) => {
    expect(() => parseRedisUrl(url)).toThrow(reason);
  });

  test.each([
    "redis://:top/secret@h:x",
    "redis://:secret@h:x",
    "redis://:secret%zz@h:1",
    "redis://:secret@h/x",
    "redis://:secret@@h:1/y",
    "redis+sentinel://:secret@h",
    "valkey://:secret@h",
  ])("never repeats the password of %p", (url) => {
    try {
      parseRedisUrl(url);
    } catch (error) {
      expect(String(error)).not.toMatch(/secret|top/);
      return;
    }
    // What could be read must not show it in logs either.
    expect(endpointText(parseRedisUrl(url))).not.toContain("secret");
  });
});
