/** What a target of the HTTP transport sees, and how its answers are judged. */

import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import type { Outcome } from "../../src/core/transport.ts";
import { MAX_EXCERPT_BYTES } from "../../src/transport/http/response.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { type Reply, startTarget } from "../support/target.ts";
import { httpTransport, realClock } from "./fixtures.ts";

const transport = httpTransport();

async function answered(reply: Reply, via = transport): Promise<Outcome> {
  await using target = await startTarget(() => reply);
  return await via.deliver(deliveryTo(target.url), unaborted());
}

describe("a request as the target sees it", () => {
  test("tells of its task", async () => {
    await using target = await startTarget();
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const delivery = deliveryTo(`${target.url}/a/b?c=d`, {
      attempt: 3,
      fence: 42,
      queue: "mail",
      traceparent,
    });
    await transport.deliver(delivery, unaborted());
    const [request] = target.requests;
    expect(request).toMatchObject({ method: "POST", path: "/a/b?c=d", text: "hello" });
    expect(request?.headers).toMatchObject({
      "x-task-id": delivery.taskId,
      "x-task-queue": "mail",
      "x-task-attempt": "3",
      "x-task-scheduled-at": "2023-11-14T22:13:20.000Z",
      "x-task-fence": "42",
      "idempotency-key": delivery.taskId,
      traceparent,
      "user-agent": "task-runner/1.2.3",
      host: `127.0.0.1:${target.port}`,
      "content-length": "5",
    });
    expect(request?.headers).not.toHaveProperty("content-type");
  });

  test("carries the caller's headers, in whatever case, less those that are not theirs to set", async () => {
    await using target = await startTarget();
    const headers = {
      Authorization: "Bearer abc",
      "X-Custom": "café",
      "Content-Type": "application/json",
      COOKIE: "a=b",
      Host: "evil.example",
      "Content-Length": "999",
      "transfer-encoding": "chunked",
      Connection: "close, X-Custom",
      "Keep-Alive": "timeout=1",
      TE: "trailers",
      Trailer: "X-Custom",
      Upgrade: "websocket",
      "Proxy-Authorization": "Basic abc",
      "Proxy-Anything": "x",
      "X-Task-Id": "forged",
      "x-task-attempt": "99",
      "X-TASK-FORGED": "yes",
    };
    const delivery = deliveryTo(target.url, { headers });
    expect((await transport.deliver(delivery, unaborted())).kind).toBe("delivered");
    const sent = target.requests[0]?.headers ?? {};
    expect(sent).toMatchObject({
      authorization: "Bearer abc",
      "x-custom": "café",
      "content-type": "application/json",
      cookie: "a=b",
      host: `127.0.0.1:${target.port}`,
      "content-length": "5",
      connection: "keep-alive",
      "x-task-id": delivery.taskId,
      "x-task-attempt": "1",
    });
    for (const name of Object.keys(sent)) {
      expect(name).not.toMatch(
        /^(?:transfer-encoding|keep-alive|te|trailer|upgrade|proxy-.*|x-task-forged)$/,
      );
    }
  });

  test("lets the caller name its own client and idempotency key", async () => {
    await using target = await startTarget();
    const headers = { "User-Agent": "mine/1", "Idempotency-Key": "order-7" };
    await transport.deliver(deliveryTo(target.url, { headers }), unaborted());
    expect(target.requests[0]?.headers).toMatchObject({
      "user-agent": "mine/1",
      "idempotency-key": "order-7",
    });
  });

  test("leaves the fragment out", async () => {
    await using target = await startTarget();
    await transport.deliver(deliveryTo(`${target.url}/p?q#secret`), unaborted());
    expect(target.requests[0]?.path).toBe("/p?q");
  });

  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    test(`is a ${method} where the task says so`, async () => {
      await using target = await startTarget();
      const body = method === "GET" || method === "HEAD" ? null : "x";
      const outcome = await transport.deliver(deliveryTo(target.url, { method, body }), unaborted());
      expect(outcome).toMatchObject({ kind: "delivered", responseExcerpt: method === "HEAD" ? null : "ok" });
      expect(target.requests).toMatchObject([{ method, text: body ?? "" }]);
    });
  }

  test("comes over a connection that is kept for the next", async () => {
    await using target = await startTarget();
    for (let i = 0; i < 20; i++) await transport.deliver(deliveryTo(target.url), unaborted());
    expect(target.connections).toBe(1);
  });
});

describe("an answer", () => {
  for (const status of [200, 201, 202, 204, 206, 226, 299]) {
    test(`of ${status} is a success`, async () => {
      expect(await answered(status)).toEqual({ kind: "delivered", status, responseExcerpt: null });
    });
  }

  for (const [status, error] of [
    [300, "answered 300 Multiple Choices; redirects are not followed"],
    [304, "answered 304 Not Modified"],
    [400, "answered 400 Bad Request"],
    [404, "answered 404 Not Found"],
    [429, "answered 429 Too Many Requests"],
    [499, "answered 499"],
    [500, "answered 500 Internal Server Error"],
    [503, "answered 503 Service Unavailable"],
    [599, "answered 599"],
  ] as const) {
    test(`of ${status} is a failure that says so`, async () => {
      expect(await answered(status)).toEqual({
        kind: "failed",
        status,
        error,
        responseExcerpt: null,
        permanent: false,
        retryAfterMs: null,
        hostAtFault: status >= 500,
      });
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    test(`of ${status} is not followed`, async () => {
      await using elsewhere = await startTarget();
      const outcome = await answered({ status, headers: { location: elsewhere.url } });
      expect(outcome).toMatchObject({ kind: "failed", status, permanent: false, hostAtFault: false });
      expect(outcome).toHaveProperty("error", expect.stringContaining("redirects are not followed"));
      expect(elsewhere.requests).toEqual([]);
    });
  }

  test("that says X-Task-Retry: no is a failure for good, and of no meaning on a success", async () => {
    for (const value of ["no", "No", " no "]) {
      const outcome = await answered({ status: 500, headers: { "x-task-retry": value } });
      expect(outcome).toMatchObject({ kind: "failed", permanent: true });
    }
    expect(await answered({ status: 500, headers: { "x-task-retry": "yes" } })).toMatchObject({
      permanent: false,
    });
    expect((await answered({ status: 200, headers: { "x-task-retry": "no" } })).kind).toBe("delivered");
  });

  test("says when to come back by Retry-After, on 429 and 503 only", async () => {
    const headers = { "retry-after": "90" };
    expect(await answered({ status: 429, headers })).toMatchObject({ retryAfterMs: 90_000 });
    expect(await answered({ status: 503, headers })).toMatchObject({ retryAfterMs: 90_000 });
    expect(await answered({ status: 500, headers })).toMatchObject({ retryAfterMs: null });
  });

  test("gives a date in Retry-After, which counts from the transport's clock", async () => {
    const nowMs = Date.UTC(2030, 0, 1);
    const via = httpTransport({ clock: { ...realClock, now: () => nowMs } });
    const headers = { "retry-after": new Date(nowMs + 5_000).toUTCString() };
    expect(await answered({ status: 503, headers }, via)).toMatchObject({ retryAfterMs: 5_000 });
  });

  test("is kept up to 1 KiB, whether it failed or not", async () => {
    const body = "日".repeat(5_000);
    const kept = "日".repeat(Math.floor(MAX_EXCERPT_BYTES / 3));
    expect(await answered({ status: 200, body })).toMatchObject({ responseExcerpt: kept });
    expect(await answered({ status: 500, body })).toMatchObject({ responseExcerpt: kept });
  });

  test("is kept when it comes in pieces without a length", async () => {
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        for (const piece of ["one ", "two ", "three"]) {
          controller.enqueue(new TextEncoder().encode(piece));
          await new Promise<void>((later) => setImmediate(later));
        }
        controller.close();
      },
    });
    expect(await answered({ body })).toMatchObject({ kind: "delivered", responseExcerpt: "one two three" });
  });

  test("is unpacked to be kept when it comes compressed unasked", async () => {
    await using target = await startTarget(() => ({
      status: 500,
      headers: { "content-encoding": "gzip" },
      body: new Uint8Array(gzipSync("out of cheese")),
    }));
    const outcome = await transport.deliver(deliveryTo(target.url), unaborted());
    expect(outcome).toMatchObject({ kind: "failed", status: 500, responseExcerpt: "out of cheese" });
    expect(target.requests[0]?.headers["accept-encoding"]).toBe("identity");
  });

  test("of binary data is kept as a remark", async () => {
    const body = Uint8Array.from({ length: 256 }, (_, index) => index);
    expect(await answered({ body })).toMatchObject({ responseExcerpt: "[binary data]" });
  });
});

describe("a timeout", () => {
  test("covers the body too: an answer that begins and never ends has failed, with its status", async () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("begun")),
    });
    await using target = await startTarget(() => ({ status: 200, body }));
    expect(await transport.deliver(deliveryTo(target.url, { timeoutMs: 200 }), unaborted())).toEqual({
      kind: "failed",
      status: 200,
      error: "timed out after 200 ms",
      cause: "timeout",
      responseExcerpt: null,
      permanent: false,
      retryAfterMs: null,
      hostAtFault: true,
    });
  });

  test("goes by the transport's clock, and the target sees the connection close", async () => {
    await using target = await startTarget(() => "never");
    const timers: { delayMs: number; fire: () => void }[] = [];
    const clock = {
      now: () => 0,
      monoMs: () => 0,
      after: (delayMs: number, fire: () => void) => {
        timers.push({ delayMs, fire });
        return () => {};
      },
    };
    const running = httpTransport({ clock }).deliver(
      deliveryTo(target.url, { timeoutMs: 1_800_000 }),
      unaborted(),
    );
    await target.waitFor(1);
    expect(timers.map((timer) => timer.delayMs)).toEqual([1_800_000]);
    timers[0]?.fire();
    expect(await running).toMatchObject({ kind: "failed", error: "timed out after 1800 s" });
    await target.waitForGone(1);
  });

  test("leaves no timer and no listener behind once the delivery is over", async () => {
    await using target = await startTarget();
    let armed = 0;
    const clock = {
      now: () => 0,
      monoMs: () => 0,
      after: () => {
        armed++;
        return () => {
          armed--;
        };
      },
    };
    const abort = new AbortController();
    let listening = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    Object.assign(abort.signal, {
      addEventListener: (...args: Parameters<AbortSignal["addEventListener"]>) => {
        listening++;
        addEventListener.apply(abort.signal, args);
      },
      removeEventListener: (...args: Parameters<AbortSignal["removeEventListener"]>) => {
        listening--;
        removeEventListener.apply(abort.signal, args);
      },
    });
    expect((await httpTransport({ clock }).deliver(deliveryTo(target.url), abort.signal)).kind).toBe(
      "delivered",
    );
    expect({ armed, listening }).toEqual({ armed: 0, listening: 0 });
  });
});

test("an abort closes the connection to the target", async () => {
  await using target = await startTarget(() => "never");
  const abort = new AbortController();
  const running = transport.deliver(deliveryTo(target.url), abort.signal);
  await target.waitFor(1);
  abort.abort();
  expect(await running).toEqual({ kind: "deferred", afterMs: 0, reason: "broken off by the worker" });
  await target.waitForGone(1);
});

test("no failure repeats what a URL, a header or a body holds in secret", async () => {
  const port = await (async () => {
    await using target = await startTarget();
    return target.port;
  })();
  for (const url of [
    `http://127.0.0.1:${port}/path?token=s3cret#s3cret`,
    "http://nobody.invalid/?token=s3cret",
    `https://127.0.0.1:${port}/?s3cret`,
    "http://user:s3cret@example.com/",
    "http://s3cret/ x",
  ]) {
    const headers = { authorization: "s3cret", "x-bad": "s3cret\r\n" };
    for (const sent of [{ authorization: "s3cret" }, headers]) {
      const outcome = await transport.deliver(
        deliveryTo(url, { headers: sent, body: "s3cret" }),
        unaborted(),
      );
      expect(outcome.kind).toBe("failed");
      expect(JSON.stringify(outcome)).not.toContain("s3cret");
    }
  }
});
