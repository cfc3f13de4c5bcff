/** A transport made by defineTransport keeps its contract whatever its own part does. */

import { describe, expect, test } from "bun:test";
import { type Delivery, defineTransport, delivered, type Outcome, problem } from "../../src/plugin/plugin.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";

const never = () => new Promise<never>(() => {});

function transportOf(
  exchange: (delivery: Delivery, signal: AbortSignal) => Promise<Outcome>,
  close?: () => Promise<void>,
) {
  const check = ({ url }: { url: string }) =>
    url === "x:good" ? [] : [problem("task.url", "must be x:good"), problem("task.method", "is odd")];
  return defineTransport({
    name: "x",
    schemes: ["x:"],
    check,
    exchange,
    ...(close === undefined ? {} : { close }),
  });
}

const good = (changes: Partial<Delivery> = {}) => deliveryTo("x:good", changes);

describe("a defined transport", () => {
  test("answers what its exchange answers", async () => {
    const outcome = delivered({ status: 7 });
    expect(await transportOf(async () => outcome).deliver(good(), unaborted())).toBe(outcome);
  });

  test("takes what is thrown, now or later, for a failure through the host's fault", async () => {
    const exchanges: (() => Promise<never>)[] = [
      () => {
        throw new Error("at once");
      },
      async () => {
        throw new Error("later");
      },
    ];
    const outcomes = await Promise.all(
      exchanges.map((exchange) => transportOf(exchange).deliver(good(), unaborted())),
    );
    expect(outcomes).toMatchObject([
      { kind: "failed", error: "at once", hostAtFault: true, permanent: false },
      { kind: "failed", error: "later", hostAtFault: true, permanent: false },
    ]);
  });

  test("refuses for good what its check refuses, without an exchange", async () => {
    expect(await transportOf(never).deliver(deliveryTo("x:bad"), unaborted())).toMatchObject({
      kind: "failed",
      error: "it cannot be sent: task.url must be x:good; task.method is odd",
      permanent: true,
      hostAtFault: false,
    });
  });

  test("fails when the time is over, and tells its exchange that nobody waits any more", async () => {
    let told: AbortSignal | undefined;
    const transport = transportOf((_, signal) => {
      told = signal;
      return never();
    });
    expect(await transport.deliver(good({ timeoutMs: 20 }), unaborted())).toMatchObject({
      kind: "failed",
      error: "timed out after 0.02 s",
      hostAtFault: true,
    });
    expect(told?.aborted).toBe(true);
  });

  test("defers what the worker aborts, and goes on with the others", async () => {
    const other = Promise.withResolvers<Outcome>();
    const transport = transportOf(({ taskId }) => (taskId === "other" ? other.promise : never()));
    const abort = new AbortController();
    const broken = transport.deliver(good(), abort.signal);
    const running = transport.deliver(good({ taskId: "other" }), unaborted());
    abort.abort();
    expect((await broken).kind).toBe("deferred");
    other.resolve(delivered());
    expect((await running).kind).toBe("delivered");
  });

  test("forgets an exchange that fails after all was over", async () => {
    const late = Promise.withResolvers<never>();
    const abort = new AbortController();
    const running = transportOf(() => late.promise).deliver(good(), abort.signal);
    abort.abort();
    expect((await running).kind).toBe("deferred");
    late.reject(new Error("nobody hears this"));
    await late.promise.catch(() => {});
  });

  test("begins nothing after an abort or a close; a close defers what is running and is passed on once", async () => {
    let begun = 0;
    let closed = 0;
    const exchange = () => {
      begun++;
      return never();
    };
    const transport = transportOf(exchange, async () => {
      closed++;
    });
    expect((await transport.deliver(good(), AbortSignal.abort())).kind).toBe("deferred");
    expect(begun).toBe(0);
    const running = transport.deliver(good(), unaborted());
    await Promise.all([transport.close(), transport.close()]);
    expect((await running).kind).toBe("deferred");
    expect((await transport.deliver(good(), unaborted())).kind).toBe("deferred");
    expect({ begun, closed }).toEqual({ begun: 1, closed: 1 });
  });
});
