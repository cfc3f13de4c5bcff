import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import {
  enqueueBody,
  MAX_PAYLOAD_BYTES,
  paths,
  send,
  startApi,
  type TestApi,
  withMethods,
} from "./support.ts";

let api: TestApi;
let failWith: TaskRunnerError | Error | null = null;
beforeAll(async () => {
  api = await startApi({
    wrapStore: (store) =>
      withMethods(store, {
        enqueue: async (tasks) => {
          if (failWith !== null) throw failWith;
          return store.enqueue(tasks);
        },
      }),
  });
});
afterAll(() => api.close());

const enqueue = (body: unknown, headers?: Record<string, string>) =>
  send("POST", `${api.url}/v1/enqueue`, body, headers);

describe("POST /v1/enqueue", () => {
  test("keeps a task and says where it stands", async () => {
    const answer = await enqueue(enqueueBody());
    expect(answer.status).toBe(202);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.body).toEqual({
      status: "enqueued",
      task_id: expect.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/),
      queue: "default",
      state: "ready",
      scheduled_at: "2026-01-01T00:00:00.000Z",
      durability: "disk",
    });
    expect(await api.store.get(answer.body.task_id)).toMatchObject({
      state: "ready",
      clientId: "my-service",
    });
  });

  test("keeps a task for later", async () => {
    const { body } = await enqueue(enqueueBody({ delay: 90.5, queue: "mail" }));
    expect(body).toMatchObject({
      queue: "mail",
      state: "scheduled",
      scheduled_at: "2026-01-01T00:01:30.500Z",
    });
  });

  test("keeps everything that was said of a task", async () => {
    const { body } = await enqueue(
      enqueueBody({
        task: {
          url: "https://example.com/hook",
          method: "put",
          headers: { "X-A": "1" },
          body: { id: 7 },
          timeout_sec: 30,
        },
        priority: "high",
        name: "order/7",
        ordering_key: "customer 7",
        retry: { max_attempts: 3 },
        retention_sec: 60,
        metadata: { team: "a" },
      }),
      { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    );
    expect(await api.store.get(body.task_id)).toMatchObject({
      target: {
        url: "https://example.com/hook",
        method: "PUT",
        headers: { "X-A": "1", "content-type": "application/json" },
        body: '{"id":7}',
      },
      timeoutMs: 30_000,
      priority: "high",
      name: "order/7",
      orderingKey: "customer 7",
      retry: { maxAttempts: 3 },
      retentionMs: 60_000,
      metadata: { team: "a" },
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
  });

  test("ignores a traceparent that is none", async () => {
    const { body } = await enqueue(enqueueBody(), { traceparent: "00-xyz-1-01" });
    expect((await api.store.get(body.task_id))?.traceparent).toBeNull();
  });

  test("finds the first task of a name, and of an Idempotency-Key", async () => {
    for (const [body, headers] of [
      [enqueueBody({ name: "once" }), {}],
      [enqueueBody(), { "Idempotency-Key": "key-1" }],
    ] as const) {
      const first = await enqueue(body, headers);
      const second = await enqueue(body, headers);
      expect([first.status, second.status]).toEqual([202, 200]);
      expect(second.body).toEqual({ status: "duplicate", task_id: first.body.task_id });
    }
  });

  test("refuses an Idempotency-Key that it could not keep", async () => {
    const answer = await enqueue(enqueueBody(), { "Idempotency-Key": "x".repeat(256) });
    expect([answer.status, paths(answer)]).toEqual([400, ["Idempotency-Key"]]);
  });

  test("passes on numbers that no double can hold as they were written", async () => {
    const payload = '{"id":12345678901234567890,"tiny":1e-400,"pi":3.14159265358979323846,"n":1.50}';
    const { body } = await enqueue(
      `{"client_id":"c","task":{"url":"https://example.com/","body":${payload}}}`,
    );
    expect((await api.store.get(body.task_id))?.target.body).toBe(
      '{"id":12345678901234567890,"tiny":1e-400,"pi":3.14159265358979323846,"n":1.5}',
    );
  });

  test("lists every failing field once, each with its path and what is allowed", async () => {
    const answer = await enqueue({
      client_id: "no spaces",
      queue: "",
      task: {
        url: 7,
        method: "BREW",
        headers: { a: 1 },
        timeout_sec: 1_801,
        callback: "https://example.com/",
      },
      delay: -1,
      scheduled_at: true,
      priority: "urgent",
      name: "a b",
      ordering_key: "",
      retry: { max_attempts: 0, jitter: 2, max_doublings: 1.5, backoff: 1 },
      retention_sec: "1",
      metadata: { a: null },
      callback_url: "",
      failure_callback_url: null,
      callback: "https://example.com/",
    });
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(answer.body).toMatchObject({
      type: "urn:task-runner:problem:validation_failed",
      title: "The request is not valid",
      status: 400,
      code: "validation_failed",
    });
    expect(paths(answer).sort()).toEqual([
      "callback",
      "callback_url",
      "client_id",
      "delay",
      "failure_callback_url",
      "metadata.a",
      "name",
      "ordering_key",
      "priority",
      "queue",
      "retention_sec",
      "retry.backoff",
      "retry.jitter",
      "retry.max_attempts",
      "retry.max_doublings",
      "scheduled_at",
      "task.callback",
      "task.headers.a",
      "task.method",
      "task.timeout_sec",
      "task.url",
    ]);
    const said = Object.fromEntries(
      answer.body.errors.map(({ path, message }: { path: string; message: string }) => [path, message]),
    );
    expect(said.client_id).toBe("must be 1 to 128 characters of A-Z a-z 0-9 . _ : -");
    expect(said.priority).toBe("must be one of critical, high, normal, low");
    expect(said.callback).toStartWith("is not a known field here; known are client_id, queue, task");
    expect(Object.values(said)).not.toContain("must be another value");
  });

  test("says what is missing", async () => {
    const answer = await enqueue({});
    expect(answer.body.errors).toEqual([
      { path: "client_id", message: "is required: 1 to 128 characters of A-Z a-z 0-9 . _ : -" },
      { path: "task", message: "is required: an object with the url to call" },
    ]);
  });

  test.each(["null", "[]", '"text"', "1", "true"])("refuses %s in place of an object", async (text) => {
    const answer = await enqueue(text);
    expect([answer.status, paths(answer)]).toEqual([400, ["body"]]);
  });

  test("says no to a target that is not allowed, and what is wrong with it", async () => {
    for (const url of ["http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "ftp://example.com/"]) {
      const answer = await enqueue(enqueueBody({ task: { url } }));
      expect([answer.status, answer.body.code, paths(answer)]).toEqual([
        422,
        "target_forbidden",
        ["task.url"],
      ]);
    }
  });

  test("says no to callbacks as it does to targets, each by its name", async () => {
    const client_id = "refused";
    const urls = [
      ["http://127.0.0.1/", 422, "target_forbidden"],
      ["gopher://example.com/", 422, "target_forbidden"],
      ["example.com", 400, "validation_failed"],
    ] as const;
    for (const field of ["callback_url", "failure_callback_url"]) {
      for (const [url, status, code] of urls) {
        const answer = await enqueue(enqueueBody({ client_id, [field]: url }));
        expect([answer.status, answer.body.code, paths(answer)]).toEqual([status, code, [field]]);
      }
    }
    const both = await enqueue(
      enqueueBody({ client_id, task: { url: "http://10.0.0.1/" }, callback_url: "http://10.0.0.1/done" }),
    );
    expect(paths(both)).toEqual(["task.url", "callback_url"]);
    expect((await api.store.list({ clientId: client_id, limit: 10 })).tasks).toEqual([]);
  });

  test("keeps callbacks and shows them with the task, null where there are none", async () => {
    const callbacks = {
      callback_url: "https://example.com/done?task=7",
      failure_callback_url: "https://example.com/failed",
    };
    const { body } = await enqueue(enqueueBody(callbacks));
    expect((await send("GET", `${api.url}/v1/tasks/${body.task_id}`)).body).toMatchObject(callbacks);
    const plain = await enqueue(enqueueBody());
    expect((await send("GET", `${api.url}/v1/tasks/${plain.body.task_id}`)).body).toMatchObject({
      callback_url: null,
      failure_callback_url: null,
    });
  });

  test("asks for a url, but where the queue is pulled from", async () => {
    const answer = await enqueue(enqueueBody({ task: { body: "x" }, queue: "jobs" }));
    expect([answer.status, answer.body.code, paths(answer)]).toEqual([
      400,
      "validation_failed",
      ["task.url"],
    ]);
    expect(answer.body.errors[0].message).toStartWith("is required: an absolute URL");
  });

  test("never shows a header's value or a url's password", async () => {
    const secret = "s3cr3t-value";
    const texts = await Promise.all(
      [
        enqueueBody({ task: { url: "https://example.com/", headers: { Authorization: `${secret}\n` } } }),
        enqueueBody({ task: { url: `https://user:${secret}@example.com/` } }),
        enqueueBody({ task: { url: "https://example.com/", headers: { Authorization: [secret] } } }),
      ].map(async (body) => {
        const answer = await enqueue(body);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        return JSON.stringify(answer.body);
      }),
    );
    expect(texts.join()).not.toContain(secret);
  });

  test("takes a payload of the full size as base64, and refuses a byte more", async () => {
    const sized = (bytes: number) =>
      enqueueBody({
        task: { url: "https://example.com/", body_base64: Buffer.alloc(bytes).toString("base64") },
      });
    expect((await enqueue(sized(MAX_PAYLOAD_BYTES))).status).toBe(202);
    const tooLarge = await enqueue(sized(MAX_PAYLOAD_BYTES + 1));
    expect([tooLarge.status, tooLarge.body.code]).toEqual([413, "payload_too_large"]);
  });

  test("refuses a request too large by its length, and one whose length is not told", async () => {
    const text = JSON.stringify(
      enqueueBody({ task: { url: "https://example.com/", body: "x".repeat(1_000_000) } }),
    );
    expect((await enqueue(text)).status).toBe(413);
    const chunked = await fetch(`${api.url}/v1/enqueue`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new ReadableStream({
        start(controller) {
          for (let at = 0; at < text.length; at += 50_000) {
            controller.enqueue(new TextEncoder().encode(text.slice(at, at + 50_000)));
          }
          controller.close();
        },
      }),
    });
    expect(chunked.status).toBe(413);
  });

  test("takes a request whose length is not told", async () => {
    const answer = await fetch(`${api.url}/v1/enqueue`, {
      method: "POST",
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"client_id":"c","task"'));
          controller.enqueue(new TextEncoder().encode(':{"url":"https://example.com/"}}'));
          controller.close();
        },
      }),
    });
    expect(answer.status).toBe(202);
  });

  test.each(["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])(
    "takes the content type %s",
    async (type) => {
      expect((await enqueue(enqueueBody(), { "content-type": type })).status).toBe(202);
    },
  );

  test.each([
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/json; charset=latin1",
    "application/x-ndjson",
    "multipart/form-data; boundary=x",
  ])("refuses the content type %s and names the header to send", async (type) => {
    const answer = await enqueue(enqueueBody(), { "content-type": type });
    expect([answer.status, answer.body.code]).toEqual([415, "unsupported_media_type"]);
    expect(answer.body.detail).toContain("Content-Type: application/json");
  });

  test.each([
    ["no JSON", "{"],
    ["nothing", ""],
    ["a comment", '{"client_id": "a" /* b */}'],
  ])("refuses %s as malformed", async (_what, text) => {
    const answer = await enqueue(text, { "content-type": "application/json" });
    expect([answer.status, answer.body.code]).toEqual([400, "malformed_json"]);
  });

  test("refuses bytes that are not UTF-8", async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"client_id":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}'),
    ]);
    const response = await fetch(`${api.url}/v1/enqueue`, { method: "POST", body: bytes });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "malformed_json" });
  });

  test("refuses JSON of 10,000 levels as a client's mistake or passes it on, and never breaks", async () => {
    for (const levels of [1_000, 10_000, 20_000]) {
      const deep = `${"[".repeat(levels)}${"]".repeat(levels)}`;
      for (const text of [deep, `{"client_id":"c","task":{"url":"https://example.com/","body":${deep}}}`]) {
        expect([202, 400]).toContain((await enqueue(text)).status);
      }
    }
  });

  test("tells a store's failure and when to come back", async () => {
    failWith = new TaskRunnerError("store_unavailable", "The store cannot be reached.", { retryAfterSec: 3 });
    const answer = await enqueue(enqueueBody());
    failWith = null;
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "3"]);
    expect(answer.body).toMatchObject({ code: "store_unavailable", detail: "The store cannot be reached." });
  });

  test("logs what it did not expect, once, and tells the caller no details", async () => {
    failWith = new Error("table tasks has no column secret");
    const before = api.logged.length;
    const answer = await enqueue(enqueueBody(), { "X-Request-Id": "trace-me" });
    failWith = null;
    expect([answer.status, answer.body.code]).toEqual([500, "internal_error"]);
    expect(JSON.stringify(answer.body)).not.toContain("column");
    expect(answer.body.detail).toContain("trace-me");
    const logged = api.logged.slice(before);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatchObject({ level: "error", request_id: "trace-me" });
    expect(JSON.stringify(logged[0])).toContain("table tasks has no column secret");
  });
});
