/** Causes of failures, told from the very words that transports use. */

import { describe, expect, test } from "bun:test";
import type { Delivery } from "../../src/core/transport.ts";
import { systemClock } from "../../src/runtime.ts";
import { causeOf } from "../../src/telemetry/causes.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { startTarget } from "../support/target.ts";
import { newTarget } from "../support/tasks.ts";

async function causeOfCalling(
  url: string,
  options: { readonly timeoutMs?: number; readonly allowPrivate?: boolean } = {},
): Promise<string> {
  const { timeoutMs = 5_000, allowPrivate = true } = options;
  const transport = createHttpTransport({ allowPrivate, version: "0.0.0", clock: systemClock });
  const delivery: Delivery = {
    taskId: "01HZX0000000000000000000AA",
    queue: "default",
    target: newTarget({ url }),
    attempt: 1,
    fence: 1,
    scheduledAtMs: 0,
    timeoutMs,
    traceparent: null,
    allowedHosts: null,
    signingSecrets: [],
  };
  try {
    const outcome = await transport.deliver(delivery, new AbortController().signal);
    if (outcome.kind === "deferred") return outcome.kind;
    const error = outcome.kind === "failed" ? outcome.error : null;
    return causeOf({ status: outcome.status, error });
  } finally {
    await transport.close();
  }
}

describe("the cause of a delivery that failed", () => {
  for (const [reply, cause] of [
    [200, "ok"],
    [302, "status_3xx"],
    [404, "status_4xx"],
    [429, "status_429"],
    [503, "status_5xx"],
  ] as const) {
    test(`after an answer of ${reply} is ${cause}`, async () => {
      await using target = await startTarget(() => reply);
      expect(await causeOfCalling(target.url)).toBe(cause);
    });
  }

  test("of a target that never answers is timeout", async () => {
    await using target = await startTarget(() => "never");
    expect(await causeOfCalling(target.url, { timeoutMs: 50 })).toBe("timeout");
  });

  test("of a port where nobody listens is connection", async () => {
    const target = await startTarget();
    const { url } = target;
    await target.stop();
    expect(await causeOfCalling(url)).toBe("connection");
  });

  test("of a name that is none is dns", async () => {
    expect(await causeOfCalling("http://no-such-host.invalid/")).toBe("dns");
  });

  test("of a server that speaks no TLS is tls", async () => {
    await using target = await startTarget();
    expect(await causeOfCalling(target.url.replace("http:", "https:"))).toBe("tls");
  });

  test("of a private address that is not allowed is forbidden", async () => {
    expect(await causeOfCalling("http://127.0.0.1:9/", { allowPrivate: false })).toBe("forbidden");
  });

  test("of a task that died without an attempt is crashes, and of anything else other", () => {
    expect(causeOf(null)).toBe("crashes");
    expect(causeOf({ status: null, error: "the consumer said so" })).toBe("other");
  });
});
