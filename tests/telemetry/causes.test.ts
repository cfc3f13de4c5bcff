/** Causes of failures, as the transport of HTTP tells them, and of what else ends leases. */

import { describe, expect, test } from "bun:test";
import type { Delivery } from "../../src/core/transport.ts";
import { systemClock } from "../../src/runtime.ts";
import { causeOf, causeOfFailure } from "../../src/telemetry/causes.ts";
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
    return outcome.kind === "failed" ? causeOfFailure(outcome) : outcome.kind;
  } finally {
    await transport.close();
  }
}

describe("the cause of a delivery that failed", () => {
  for (const [reply, cause] of [
    [200, "delivered"],
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

  test("of an answer whose head came and whose end did not is timeout, whatever its status", async () => {
    const start = (stream: ReadableStreamDefaultController) => stream.enqueue(new Uint8Array([46]));
    await using target = await startTarget(() => ({ status: 503, body: new ReadableStream({ start }) }));
    expect(await causeOfCalling(target.url, { timeoutMs: 500 })).toBe("timeout");
  });
});

describe("the cause of a settlement", () => {
  const attempt = { number: 1, startedAtMs: 0, durationMs: 1, responseExcerpt: null, worker: "w" };

  test("is what was told, or else the status, or else other", () => {
    const failed = { ...attempt, status: 503, error: "timed out after 1 s" };
    expect(causeOf({ attempt: failed, cause: "timeout" })).toBe("timeout");
    expect(causeOf({ attempt: failed })).toBe("status_5xx");
    expect(causeOf({ attempt: { ...failed, status: null } })).toBe("other");
    expect(causeOf({ attempt: { ...failed, error: null } })).toBe("ok");
    expect(causeOf({ attempt: null, cause: "crashes" })).toBe("crashes");
    expect(causeOf({ attempt: null })).toBe("other");
  });
});
