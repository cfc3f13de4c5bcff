/** One owner per scheme, and targets judged by theirs. */

import { describe, expect, test } from "bun:test";
import type { Transport } from "../../src/core/transport.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { deliveryTo } from "../conformance/transport.ts";

function fake(name: string, schemes: readonly string[], closed: string[] = [], fails = false): Transport {
  return {
    name,
    schemes,
    check: () => [{ path: "task.url", message: `judged by ${name}`, forbidden: false }],
    deliver: async () => ({ kind: "delivered", status: null, responseExcerpt: null }),
    close: async () => {
      closed.push(name);
      if (fails) throw new Error(`${name} is stuck`);
    },
  };
}

describe("the transport registry", () => {
  const web = fake("web", ["http:", "https:"]);
  const nats = fake("nats", ["nats:"]);
  const registry = new TransportRegistry([web, nats]);

  test("finds the owner of a URL's scheme, in whatever case it is written", () => {
    expect(registry.for("http://x/")).toBe(web);
    expect(registry.for("HTTPS://x/")).toBe(web);
    expect(registry.for("nats://x/subject")).toBe(nats);
    expect(registry.for("ftp://x/")).toBeUndefined();
    expect(registry.for("x")).toBeUndefined();
    expect(registry.for("")).toBeUndefined();
    expect(registry.for(" http://x/")).toBeUndefined();
  });

  test("has a target judged by the owner of its scheme", () => {
    expect(registry.check(deliveryTo("nats://x/").target)).toMatchObject([{ message: "judged by nats" }]);
  });

  test("forbids an unknown scheme and says which there are", () => {
    const [problem] = registry.check(deliveryTo("ftp://user:secret@x/").target);
    expect(problem).toEqual({
      path: "task.url",
      message: 'scheme "ftp:" is not supported; use one of: http:, https:, nats:',
      forbidden: true,
    });
  });

  test("finds a URL without a scheme malformed", () => {
    expect(registry.check(deliveryTo("example.com/path").target)).toMatchObject([
      { path: "task.url", forbidden: false },
    ]);
  });

  test("refuses two owners of one scheme, naming both", () => {
    expect(() => new TransportRegistry([web, fake("other", ["https:"])])).toThrow(
      'transports "web" and "other" both claim the scheme "https:"',
    );
  });

  test("refuses what is not a scheme in lower case with its colon", () => {
    for (const scheme of ["http", "HTTP:", "", ":", "http://", "a b:"]) {
      expect(() => new TransportRegistry([fake("odd", [scheme])]), scheme).toThrow("not a scheme");
    }
  });

  test("closes every transport although one fails, and tells of it", async () => {
    const closed: string[] = [];
    const failing = new TransportRegistry([fake("a", ["a:"], closed, true), fake("b", ["b:"], closed)]);
    await expect(failing.close()).rejects.toThrow("a transport did not close cleanly");
    expect(closed).toEqual(["a", "b"]);
  });
});
