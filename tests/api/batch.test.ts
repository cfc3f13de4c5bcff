import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { enqueueBody, paths, send, startApi, type TestApi, withMethods } from "./support.ts";

let api: TestApi;
let calls: number[] = [];
beforeAll(async () => {
  api = await startApi({
    wrapStore: (store) =>
      withMethods(store, {
        enqueue: (tasks) => {
          calls.push(tasks.length);
          return store.enqueue(tasks);
        },
      }),
  });
});
beforeEach(() => {
  calls = [];
});
afterAll(() => api.close());

const batch = (body: unknown, headers?: Record<string, string>) =>
  send("POST", `${api.url}/v1/enqueue/batch`, body, headers);

describe("POST /v1/enqueue/batch", () => {
  test("admits each task on its own, in order, and counts", async () => {
    const answer = await batch({
      tasks: [
        enqueueBody({ name: "b1" }),
        { client_id: "c" },
        enqueueBody({ name: "b1" }),
        enqueueBody({ task: { url: "http://10.0.0.1/" } }),
        "text",
        enqueueBody({ task: { url: "https://example.com/", body: "x".repeat(70_000) } }),
      ],
    });
    expect(answer.status).toBe(202);
    const { results, ...counts } = answer.body;
    expect(counts).toEqual({ enqueued: 1, duplicates: 1, rejected: 4 });
    expect(results[0]).toMatchObject({ status: "enqueued", state: "ready", queue: "default" });
    expect(results[1]).toMatchObject({
      status: "rejected",
      code: "validation_failed",
      errors: [{ path: "tasks[1].task", message: "is required: an object with the url to call" }],
    });
    expect(results[2]).toEqual({ status: "duplicate", task_id: results[0].task_id });
    expect(results[3]).toMatchObject({ code: "target_forbidden", errors: [{ path: "tasks[3].task.url" }] });
    expect(results[4]).toMatchObject({ code: "validation_failed", errors: [{ path: "tasks[4].body" }] });
    expect(results[5]).toMatchObject({ code: "payload_too_large" });
  });

  test("hands 1,000 tasks to the store in one call", async () => {
    const answer = await batch({ tasks: Array.from({ length: 1_000 }, () => enqueueBody()) });
    expect(answer.body).toMatchObject({ enqueued: 1_000, duplicates: 0, rejected: 0 });
    expect(calls).toEqual([1_000]);
  });

  test("takes one task a line, and passes over blank lines", async () => {
    const lines = [
      JSON.stringify(enqueueBody()),
      "",
      "{oops",
      "  ",
      JSON.stringify(enqueueBody({ delay: 5 })),
    ];
    const answer = await batch(lines.join("\r\n"), { "content-type": "application/x-ndjson" });
    expect(answer.body.results.map((result: { status: string }) => result.status)).toEqual([
      "enqueued",
      "rejected",
      "enqueued",
    ]);
    expect(answer.body.results[1]).toEqual({
      status: "rejected",
      code: "malformed_json",
      detail: "The body is not JSON.",
    });
    expect(answer.body.results[2]).toMatchObject({ state: "scheduled" });
  });

  test("an Idempotency-Key holds for each task by its place", async () => {
    const headers = { "Idempotency-Key": "batch-1" };
    const tasks = [enqueueBody(), enqueueBody()];
    const first = await batch({ tasks }, headers);
    const second = await batch({ tasks: [...tasks, enqueueBody()] }, headers);
    expect(first.body).toMatchObject({ enqueued: 2, duplicates: 0 });
    expect(second.body).toMatchObject({ enqueued: 1, duplicates: 2 });
    expect(second.body.results.slice(0, 2).map(({ task_id }: { task_id: string }) => task_id)).toEqual(
      first.body.results.map(({ task_id }: { task_id: string }) => task_id),
    );
  });

  test("refuses none, and more than 1,000, and keeps nothing", async () => {
    const line = `${JSON.stringify(enqueueBody())}\n`;
    const ndjson = { "content-type": "application/x-ndjson" };
    for (const answer of [
      await batch({ tasks: [] }),
      await batch({ tasks: Array.from({ length: 1_001 }, () => enqueueBody()) }),
      await batch("\n\n", ndjson),
      await batch(line.repeat(1_001), ndjson),
      await batch(`\n${"\n".repeat(3_000)}${line.repeat(1_001)}`, ndjson),
    ]) {
      expect([answer.status, paths(answer)]).toEqual([400, ["tasks"]]);
    }
    expect(calls).toEqual([]);
  });

  test("refuses a frame that is not one", async () => {
    expect(paths(await batch({ tasks: {}, more: 1 })).sort()).toEqual(["more", "tasks"]);
    expect(paths(await batch([]))).toEqual(["body"]);
    expect((await batch({ tasks: [] }, { "content-type": "text/csv" })).status).toBe(415);
  });

  test("refuses a batch too large by its length, before reading it", async () => {
    const answer = await batch("x".repeat(32 * 1024 * 1024 + 1));
    expect([answer.status, answer.body.code]).toEqual([413, "payload_too_large"]);
  });
});
