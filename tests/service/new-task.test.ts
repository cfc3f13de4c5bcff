import { describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { NewTask } from "../../src/core/task.ts";
import type { EnqueueRequest } from "../../src/service/enqueue-request.ts";
import { buildTask } from "../../src/service/new-task.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const NO_CONTEXT = { idempotencyKey: null, traceparent: null };

function build(overrides: Partial<EnqueueRequest> = {}, maxPayloadBytes = 1_000): NewTask | TaskRunnerError {
  const request: EnqueueRequest = { client_id: "c", task: { url: "https://example.com/" }, ...overrides };
  return buildTask("id", request, NO_CONTEXT, NOW_MS, maxPayloadBytes);
}

function built(overrides: Partial<EnqueueRequest> = {}): NewTask {
  const task = build(overrides);
  if (task instanceof TaskRunnerError) throw task;
  return task;
}

function task(overrides: Partial<EnqueueRequest["task"]>): Partial<EnqueueRequest> {
  return { task: { url: "https://example.com/", ...overrides } };
}

function refusedPaths(overrides: Partial<EnqueueRequest>): readonly string[] {
  const error = build(overrides);
  if (!(error instanceof TaskRunnerError)) throw new Error("was not refused");
  return error.fields.map(({ path }) => path);
}

describe("buildTask", () => {
  test("fills in what was left out", () => {
    expect(built()).toEqual({
      id: "id",
      queue: "default",
      clientId: "c",
      clientRevision: null,
      priority: "normal",
      target: { url: "https://example.com/", method: "POST", headers: {}, body: null },
      timeoutMs: null,
      scheduledAtMs: null,
      name: null,
      idempotencyKey: null,
      orderingKey: null,
      retry: {},
      retentionMs: null,
      metadata: {},
      traceparent: null,
      callbackUrl: null,
      failureCallbackUrl: null,
    });
  });

  test("turns units of seconds into milliseconds", () => {
    const made = built({ ...task({ timeout_sec: 1.5 }), delay: 0.25, retention_sec: 2 });
    expect([made.timeoutMs, made.delayMs, made.retentionMs]).toEqual([1_500, 250, 2_000]);
    // From when is the store's to say, whose clock alone counts.
    expect(made.scheduledAtMs).toBeNull();
  });

  test("normalises the url and upper-cases the method", () => {
    const { target } = built(task({ url: "HTTP://Example.COM:80/a b?c=ü", method: "patch" }));
    expect(target.url).toBe("http://example.com/a%20b?c=%C3%BC");
    expect(target.method).toBe("PATCH");
  });

  test.each(["example.com/hook", "/hook", "https://", "http://exa mple.com", "https://example.com/\n"])(
    "refuses the url %j",
    (url) => {
      expect(refusedPaths(task({ url }))).toEqual(["task.url"]);
    },
  );

  test("leaves out the headers that belong to a connection or are ours to set, in any case", () => {
    const headers = {
      Host: "a",
      "content-length": "1",
      "Transfer-Encoding": "chunked",
      Connection: "close",
      "Keep-Alive": "1",
      TE: "trailers",
      Trailer: "x",
      Upgrade: "h2c",
      "Proxy-Authorization": "x",
      "X-Task-Id": "forged",
      Authorization: "Bearer abc",
      "X-Tasks": "kept",
    };
    expect(built(task({ headers })).target.headers).toEqual({
      Authorization: "Bearer abc",
      "X-Tasks": "kept",
    });
  });

  test.each([
    ["X-A", "a\r\nEvil: 1"],
    ["X-A", "a\nb"],
    ["X-A", "nul\0"],
    ["X-A", "snow ☃"],
    ["X A", "a"],
    ["X-A:", "a"],
    ["", "a"],
    ["Ünicode", "a"],
  ])("refuses the header %j: %j and names it", (name, value) => {
    expect(refusedPaths(task({ headers: { [name]: value } }))).toEqual([`task.headers.${name}`]);
  });

  test("refuses a header named __proto__, which would set a prototype", () => {
    const headers = JSON.parse('{"__proto__":"x"}');
    expect(refusedPaths(task({ headers }))).toEqual(["task.headers.__proto__"]);
  });

  test("refuses a header given twice in different cases", () => {
    expect(refusedPaths(task({ headers: { "X-A": "1", "x-a": "2" } }))).toEqual(["task.headers.x-a"]);
  });

  test("refuses too many headers", () => {
    const headers = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`x-${i}`, "1"]));
    expect(refusedPaths(task({ headers }))).toEqual(["task.headers"]);
  });

  test("sends a string as it is, as text unless the caller says what it is", () => {
    expect(built(task({ body: '{"a": 1}' })).target).toMatchObject({
      body: '{"a": 1}',
      headers: { "content-type": "text/plain;charset=UTF-8" },
    });
    const headers = { "Content-Type": "application/json" };
    expect(built(task({ body: '{"a": 1}', headers })).target.headers).toEqual(headers);
  });

  test.each([[{ a: [1, null, "x"] }], [[1]], [5], [false]])("sends the value %j as JSON", (body) => {
    expect(built(task({ body })).target).toMatchObject({
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
  });

  test("keeps a caller's content type for a JSON value", () => {
    const headers = { "CONTENT-TYPE": "application/cloudevents+json" };
    expect(built(task({ body: {}, headers })).target.headers).toEqual(headers);
  });

  test("takes null for no body", () => {
    expect(built(task({ body: null })).target).toMatchObject({ body: null, headers: {} });
  });

  test("decodes base64 to bytes and adds no content type", () => {
    const { target } = built(task({ body_base64: "AP/+" }));
    expect(target.body).toEqual(new Uint8Array([0, 255, 254]));
    expect(target.headers).toEqual({});
  });

  test.each(["AP/", "AP_-", "A P/", "AB==", "====", "AP/+\n", "ü"])("refuses the base64 %j", (text) => {
    expect(refusedPaths(task({ body_base64: text }))).toEqual(["task.body_base64"]);
  });

  test("refuses two bodies", () => {
    expect(refusedPaths(task({ body: "a", body_base64: "AP/+" }))).toEqual(["task.body_base64"]);
  });

  test("refuses a body on GET and HEAD", () => {
    expect(refusedPaths(task({ method: "get", body: "a" }))).toEqual(["task.body"]);
    expect(refusedPaths(task({ method: "HEAD", body_base64: "" }))).toEqual(["task.body_base64"]);
  });

  test("refuses half a surrogate pair, which would not arrive as sent", () => {
    expect(refusedPaths({ ...task({ body: "\ud800" }), ordering_key: "\udc00" })).toEqual([
      "task.body",
      "ordering_key",
    ]);
  });

  test("counts a payload's bytes, not its characters", () => {
    const fits = build(task({ body: "ü".repeat(500) }));
    const tooLong = build(task({ body: "ü".repeat(501) }));
    expect(fits).not.toBeInstanceOf(TaskRunnerError);
    expect(tooLong).toMatchObject({ code: "payload_too_large" });
    expect(build(task({ body_base64: "AAAA" }), 2)).toMatchObject({ code: "payload_too_large" });
  });

  test("plans by time, past or ahead", () => {
    expect(built({ scheduled_at: "2026-01-02T00:00:00Z" }).scheduledAtMs).toBe(NOW_MS + 86_400_000);
    expect(built({ scheduled_at: 0 }).scheduledAtMs).toBe(0);
  });

  test("refuses a time too far ahead, one that is none, and two times", () => {
    expect(refusedPaths({ scheduled_at: NOW_MS })).toEqual(["scheduled_at"]);
    expect(refusedPaths({ scheduled_at: "2026-01-02" })).toEqual(["scheduled_at"]);
    expect(refusedPaths({ scheduled_at: 0, delay: 1 })).toEqual(["delay"]);
  });

  test("maps retry to milliseconds and leaves out what was left out", () => {
    expect(
      built({
        retry: {
          max_attempts: -1,
          min_backoff_sec: 0.1,
          max_backoff_sec: 10,
          max_doublings: 3,
          max_duration_sec: 60,
          jitter: 0,
        },
      }).retry,
    ).toEqual({
      maxAttempts: -1,
      minBackoffMs: 100,
      maxBackoffMs: 10_000,
      maxDoublings: 3,
      maxDurationMs: 60_000,
      jitter: 0,
    });
    expect(built({ retry: { max_attempts: 2 } }).retry).toEqual({ maxAttempts: 2 });
  });

  test("refuses backoffs the wrong way round, the default ones included", () => {
    expect(refusedPaths({ retry: { min_backoff_sec: 5, max_backoff_sec: 4 } })).toEqual([
      "retry.min_backoff_sec",
    ]);
    expect(refusedPaths({ retry: { max_backoff_sec: 0.5 } })).toEqual(["retry.max_backoff_sec"]);
    expect(refusedPaths({ retry: { min_backoff_sec: 3_601 } })).toEqual(["retry.min_backoff_sec"]);
  });

  test("bounds metadata", () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""]));
    expect(refusedPaths({ metadata: many })).toEqual(["metadata"]);
    expect(refusedPaths({ metadata: { a: "x".repeat(4_096) } })).toEqual(["metadata"]);
    expect(refusedPaths({ metadata: JSON.parse('{"__proto__":"x"}') })).toEqual(["metadata.__proto__"]);
    expect(built({ metadata: { a: "x" } }).metadata).toEqual({ a: "x" });
  });

  test("refuses metadata under the names that are the runner's own, by which it knows its reports", () => {
    const metadata = { "task-runner.report_of": "x", "task-runner": "fine", "Task-Runner.x": "fine" };
    expect(refusedPaths({ metadata })).toEqual(["metadata.task-runner.report_of"]);
  });

  test("keeps callback urls in one spelling, and refuses what is none", () => {
    const urls = { callback_url: "HTTPS://Example.com", failure_callback_url: "http://example.com:80/a b" };
    expect(built(urls)).toMatchObject({
      callbackUrl: "https://example.com/",
      failureCallbackUrl: "http://example.com/a%20b",
    });
    const wrong = { callback_url: "/done", failure_callback_url: "http://exa mple.com" };
    expect(refusedPaths(wrong)).toEqual(["callback_url", "failure_callback_url"]);
  });

  test("a task without a url is kept with an empty one", () => {
    expect(built({ task: { body: "x" } }).target).toMatchObject({ url: "", body: "x" });
  });

  test("names every field at fault at once", () => {
    expect(
      refusedPaths({
        task: { url: "nonsense", headers: { "a b": "c" }, body: "x", body_base64: "!" },
        delay: 1,
        scheduled_at: 1,
        retry: { min_backoff_sec: 9, max_backoff_sec: 1 },
      }),
    ).toEqual(["task.headers.a b", "task.url", "task.body_base64", "delay", "retry.min_backoff_sec"]);
  });
});
