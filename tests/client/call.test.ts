/** One call of the client: what it sends, what its error carries, when it is repeated, and how it ends. */

import { describe, expect, test } from "bun:test";
import { ApiError, type ClientOptions, type EnqueueRequest, TaskRunner } from "task-runner/client";
import { unusedPort } from "../support/target.ts";
import { fine, problem, silent, startStub } from "./stub.ts";

const LIMIT_MS = 30_000;
const TASK: EnqueueRequest = { client_id: "shop", task: { url: "https://example.com/hook" } };
const ENQUEUED = { status: "enqueued", task_id: "T" };
/** At once, as far as whole seconds tell. */
const NOW = { "retry-after": "0" };

const over = (stub: { readonly url: string }, options: Partial<ClientOptions> = {}) =>
  new TaskRunner({ url: stub.url, ...options });

/** What a call rejects with. */
async function failure(call: Promise<unknown>): Promise<ApiError> {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ApiError) return error;
  throw new Error(`no ApiError but ${error}`);
}

describe("a request", () => {
  test("goes under the path of the base, with the keys and what belongs to the task", async () => {
    await using stub = startStub(fine(ENQUEUED));
    const runner = over({ url: `${stub.url}/apps/tasks/` }, { apiKey: "trk.shop.x", adminKey: "k" });
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await runner.enqueue(TASK, { idempotencyKey: "once", traceparent });
    await runner.tasks.get("a/b?c");
    await runner.tasks.list({ queue: "mail", limit: 2 });
    const [first, second, third] = stub.seen;
    expect(first).toMatchObject({ method: "POST", path: "/apps/tasks/v1/enqueue", body: TASK });
    const sent = ["authorization", "x-admin-key", "idempotency-key", "traceparent", "content-type"];
    expect(sent.map((name) => first?.headers.get(name))).toEqual([
      "Bearer trk.shop.x",
      "k",
      "once",
      traceparent,
      "application/json",
    ]);
    expect(second?.path).toBe("/apps/tasks/v1/tasks/a%2Fb%3Fc");
    expect(third?.path).toBe("/apps/tasks/v1/tasks?queue=mail&limit=2");
    expect(third?.headers.get("content-type")).toBeNull();
  });

  test.each(["ftp://host/", "http://host/?a=1", "http://host/#a", "nothing"])("has no base %s", (url) => {
    expect(() => new TaskRunner({ url })).toThrow(TypeError);
  });

  test.each([0, -1, Number.NaN, Infinity])("has no timeout of %d ms", (timeoutMs) => {
    expect(() => new TaskRunner({ url: "http://host", timeoutMs })).toThrow(RangeError);
  });

  test("goes nowhere else, whatever the answer says", async () => {
    await using elsewhere = startStub(fine({}));
    await using stub = startStub(() => Response.redirect(elsewhere.url, 307));
    const error = await failure(over(stub, { adminKey: "k" }).stats());
    expect(error.code).toBe("unreachable");
    expect(elsewhere.seen).toEqual([]);
  });
});

describe("a refusal", () => {
  test("is an ApiError with the whole problem", async () => {
    const errors = [{ path: "task.url", message: "is required" }];
    const document = {
      type: "urn:x",
      title: "T",
      status: 400,
      detail: "No.",
      code: "validation_failed",
      errors,
    };
    await using stub = startStub(() =>
      Response.json(document, { status: 400, headers: { "x-request-id": "r-7" } }),
    );
    const error = await failure(over(stub).enqueue(TASK));
    expect(error).toMatchObject({
      name: "ApiError",
      code: "validation_failed",
      status: 400,
      requestId: "r-7",
    });
    expect(error.problem).toEqual(document as never);
    expect(error.message).toBe("No.; task.url is required");
  });

  test("of a proxy is told as what it is", async () => {
    await using stub = startStub(() => new Response("<html>", { status: 502 }));
    const error = await failure(over(stub).enqueue(TASK));
    expect([error.code, error.status, error.problem]).toEqual(["unexpected_answer", 502, null]);
    await using well = startStub(() => new Response("<html>"));
    expect((await failure(over(well).enqueue(TASK))).code).toBe("unexpected_answer");
  });

  test("of nobody is unreachable, and is not sent again", async () => {
    const error = await failure(over({ url: `http://127.0.0.1:${await unusedPort()}` }).tasks.get("T"));
    expect([error.code, error.status]).toEqual(["unreachable", null]);
    expect(error.cause).toBeDefined();
  });
});

describe("a busy server", () => {
  const repeated = [
    ["an enqueue with an idempotency key", (r: TaskRunner) => r.enqueue(TASK, { idempotencyKey: "k" })],
    ["an enqueue of a named task", (r: TaskRunner) => r.enqueue({ ...TASK, name: "n" })],
    ["a batch with an idempotency key", (r: TaskRunner) => r.enqueueBatch([TASK], { idempotencyKey: "k" })],
    ["a batch of named tasks", (r: TaskRunner) => r.enqueueBatch([{ ...TASK, name: "n" }])],
    ["reading a task", (r: TaskRunner) => r.tasks.get("T")],
    ["cancelling a task", (r: TaskRunner) => r.tasks.cancel("T")],
    ["moving a task", (r: TaskRunner) => r.tasks.reschedule("T", { delay: 5 })],
    ["running a task", (r: TaskRunner) => r.tasks.run("T")],
    ["setting a queue", (r: TaskRunner) => r.queues.set({ queue: "q" })],
    ["extending a lease", (r: TaskRunner) => r.pull.extend(["l"])],
  ] as const;
  test.each(repeated)("is asked again by %s", async (_, call) => {
    await using stub = startStub(
      problem(503, "store_unavailable", NOW),
      problem(429, "rate_limited", NOW),
      fine({ results: [] }),
    );
    await call(over(stub));
    const [first, ...rest] = stub.seen.map(({ method, path, body, headers }) => ({
      method,
      path,
      body,
      key: headers.get("idempotency-key"),
    }));
    expect(rest).toEqual([first, first] as never);
  });

  const once = [
    ["an enqueue that nothing tells from another", (r: TaskRunner) => r.enqueue(TASK)],
    [
      "a batch of which one task has no name",
      (r: TaskRunner) => r.enqueueBatch([{ ...TASK, name: "n" }, TASK]),
    ],
    ["replaying a task", (r: TaskRunner) => r.tasks.replay("T")],
    ["making a key", (r: TaskRunner) => r.clients.createKey({ client_id: "c" })],
    ["purging a queue", (r: TaskRunner) => r.queues.purge("q")],
    ["replaying dead tasks", (r: TaskRunner) => r.dead.replay()],
    ["leasing", (r: TaskRunner) => r.pull.lease("q")],
    ["acking", (r: TaskRunner) => r.pull.ack(["l"])],
  ] as const;
  test.each(once)("is not asked again by %s", async (_, call) => {
    await using stub = startStub(problem(503, "store_unavailable", NOW), fine({}));
    const error = await failure(call(over(stub)));
    expect([error.code, error.retryAfterSec, error.requestId]).toEqual(["store_unavailable", 0, "r-1"]);
    expect(stub.seen.length).toBe(1);
  });

  test.each([
    [400, "validation_failed"],
    [409, "conflict"],
    [500, "internal_error"],
    [429, "too_many_attempts"],
  ])("is meant by %d %s by no means", async (status, code) => {
    await using stub = startStub(problem(status, code, NOW), fine({}));
    expect((await failure(over(stub).tasks.get("T"))).status).toBe(status);
    expect(stub.seen.length).toBe(1);
  });

  test(
    "is asked again no sooner than it says",
    async () => {
      await using stub = startStub(problem(503, "overloaded", { "retry-after": "1" }), fine({}));
      await over(stub).tasks.get("T");
      const [first, second] = stub.seen;
      expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(990);
    },
    LIMIT_MS,
  );

  test(
    "is asked so many times and no more",
    async () => {
      await using stub = startStub(problem(503, "overloaded", NOW));
      expect((await failure(over(stub).tasks.get("T"))).code).toBe("overloaded");
      expect(stub.seen.length).toBe(4);
      await failure(over(stub, { maxRepeats: 0 }).tasks.get("T"));
      expect(stub.seen.length).toBe(5);
    },
    LIMIT_MS,
  );

  test("is not waited for where the call's time would be over", async () => {
    await using stub = startStub(problem(429, "rate_limited", { "retry-after": "3600" }), fine({}));
    const error = await failure(over(stub).tasks.get("T"));
    expect([error.code, error.retryAfterSec, stub.seen.length]).toEqual(["rate_limited", 3_600, 1]);
  });
});

describe("a call", () => {
  test(
    "ends when its time is up",
    async () => {
      await using stub = startStub(silent);
      const error = await failure(over(stub).tasks.get("T", { timeoutMs: 50 }));
      expect([error.code, error.message]).toEqual(["timed_out", "No answer came within 50 ms."]);
      expect((await failure(over(stub, { timeoutMs: 50 }).tasks.get("T"))).code).toBe("timed_out");
    },
    LIMIT_MS,
  );

  test(
    "ends with the signal's own reason, before, while it is asked and while it waits to ask again",
    async () => {
      const reason = new Error("enough");
      const ending = (call: Promise<unknown>) =>
        call.then(
          () => null,
          (thrown: unknown) => thrown,
        );
      await using quiet = startStub(silent);
      expect(await ending(over(quiet).tasks.get("T", { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(quiet.seen.length).toBe(0);
      for (const answer of [silent, problem(503, "overloaded", { "retry-after": "20" })]) {
        const controller = new AbortController();
        await using stub = startStub(() => {
          setTimeout(() => controller.abort(reason), 20);
          return answer();
        });
        expect(await ending(over(stub).tasks.get("T", { signal: controller.signal }))).toBe(reason);
        expect(stub.seen.length).toBe(1);
      }
    },
    LIMIT_MS,
  );

  test(
    "that waits for tasks has the time of its waiting too",
    async () => {
      const tasks = { tasks: [] };
      await using stub = startStub(() => Bun.sleep(400).then(() => Response.json(tasks)));
      const runner = over(stub, { timeoutMs: 200 });
      expect(await runner.pull.lease("q", { wait_sec: 20 })).toEqual([]);
      expect((await failure(runner.pull.lease("q", { wait_sec: 20 }, { timeoutMs: 50 }))).code).toBe(
        "timed_out",
      );
    },
    LIMIT_MS,
  );

  test(
    "that waits for a task's end ends about when it was to, also where no answer comes",
    async () => {
      await using stub = startStub(silent);
      const error = await failure(over(stub).tasks.wait("T", { withinMs: 100 }));
      expect([error.code, error.message]).toEqual(["timed_out", "No answer came within 1000 ms."]);
    },
    LIMIT_MS,
  );
});
