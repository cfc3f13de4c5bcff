/** What a plugin's transport answers reaches the store in one form, whatever it was. */

import { describe, expect, test } from "bun:test";
import type { Outcome, Transport } from "../../src/core/transport.ts";
import { completed, heldToContract } from "../../src/plugin/held.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";

describe("an outcome", () => {
  test("gets the fields that it lacks", () => {
    expect(completed({ kind: "delivered" })).toEqual({
      kind: "delivered",
      status: null,
      responseExcerpt: null,
    });
    expect(completed({ kind: "failed" })).toEqual({
      kind: "failed",
      status: null,
      error: "the transport gave no reason",
      responseExcerpt: null,
      permanent: false,
      retryAfterMs: null,
      hostAtFault: false,
    });
    expect(completed({ kind: "deferred" })).toEqual({
      kind: "deferred",
      afterMs: 0,
      reason: "the transport gave no reason",
    });
  });

  test("keeps what is right, loses what is of another type, and is bounded", () => {
    const given = {
      kind: "failed",
      status: "503",
      error: `line\none ${"x".repeat(1_000)}`,
      responseExcerpt: "ż".repeat(1_000),
      permanent: "yes",
      retryAfterMs: Number.POSITIVE_INFINITY,
      hostAtFault: true,
      extra: 1,
    };
    const outcome = completed(given) as Extract<Outcome, { kind: "failed" }>;
    expect(outcome).toMatchObject({ status: null, permanent: false, hostAtFault: true });
    expect(outcome.error).toMatch(/^line one x{291}$/);
    expect(outcome.responseExcerpt).toBe("ż".repeat(512));
    expect(outcome.retryAfterMs).toBe(366 * 86_400_000);
    expect(outcome).not.toHaveProperty("extra");
    expect(completed({ kind: "deferred", afterMs: Number.NaN, reason: "why" })).toMatchObject({
      afterMs: 0,
      reason: "why",
    });
    expect(completed({ kind: "failed", retryAfterMs: 1.5 })).toMatchObject({ retryAfterMs: 2 });
    expect(completed({ kind: "failed", cause: "dns" })).toMatchObject({ cause: "dns" });
    expect(completed({ kind: "failed", cause: "the moon" })).not.toHaveProperty("cause");
  });

  test("that is none throws", () => {
    for (const none of [undefined, null, "delivered", 1, {}, { kind: "done" }]) {
      expect(() => completed(none)).toThrow("it gave no outcome");
    }
  });
});

describe("a plugin's transport", () => {
  const calls: string[] = [];
  const transport: Transport = {
    name: "bus",
    schemes: ["bus:"],
    check: () => [],
    deliver: async ({ target }) => {
      calls.push(target.url);
      return { kind: "delivered", status: null, responseExcerpt: null };
    },
    close: async () => {},
  };

  test("is not asked to call a host that the client may not have called any more", async () => {
    const held = heldToContract(transport);
    const allowedHosts = ["*.inside.example"];
    const refused = await held.deliver(deliveryTo("bus://elsewhere/x", { allowedHosts }), unaborted());
    expect(refused).toMatchObject({ kind: "failed", permanent: true, hostAtFault: false });
    expect((await held.deliver(deliveryTo("bus:x", { allowedHosts }), unaborted())).kind).toBe("failed");
    expect(calls).toEqual([]);
    const url = "bus://a.inside.example/x";
    expect((await held.deliver(deliveryTo(url, { allowedHosts }), unaborted())).kind).toBe("delivered");
    expect(calls).toEqual([url]);
  });
});
