import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ClaimedTask } from "../../src/core/store.ts";
import { newTaskId, retry, success } from "../support/tasks.ts";
import { enqueueBody, paths, send, startApi, type TestApi } from "./support.ts";

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.close());

async function enqueued(overrides: Record<string, unknown> = {}): Promise<string> {
  const { body } = await send("POST", `${api.url}/v1/enqueue`, enqueueBody(overrides));
  return body.task_id;
}

async function claimed(): Promise<ClaimedTask> {
  const { tasks } = await api.store.claim({ worker: "w1", limit: 1, leaseMs: 30_000 });
  const [task] = tasks;
  if (task === undefined) throw new Error("nothing to claim");
  return task;
}

const at = (id: string, rest = "") => `${api.url}/v1/tasks/${id}${rest}`;

describe("GET /v1/tasks/{id}", () => {
  test("shows a waiting task whole", async () => {
    const id = await enqueued({
      task: { url: "https://example.com/hook", body: { a: 1 }, headers: { "X-A": "1" }, timeout_sec: 9.5 },
      delay: 60,
      name: "n",
      ordering_key: "k",
      priority: "low",
      retry: { max_attempts: 4, min_backoff_sec: 0.5, max_duration_sec: 10, jitter: 0.2 },
      retention_sec: 30,
      metadata: { team: "a" },
    });
    const { status, body } = await send("GET", at(id));
    expect(status).toBe(200);
    expect(body).toEqual({
      task_id: id,
      queue: "default",
      client_id: "my-service",
      state: "scheduled",
      reason: null,
      priority: "low",
      name: "n",
      ordering_key: "k",
      task: {
        url: "https://example.com/hook",
        method: "POST",
        headers: { "X-A": "1", "content-type": "application/json" },
        body: '{"a":1}',
        timeout_sec: 9.5,
      },
      created_at: "2026-01-01T00:00:00.000Z",
      scheduled_at: "2026-01-01T00:01:00.000Z",
      next_run_at: "2026-01-01T00:01:00.000Z",
      finished_at: null,
      attempts: [],
      counts: { attempts: 0, crashes: 0, releases: 0 },
      lease: null,
      retry: { max_attempts: 4, min_backoff_sec: 0.5, max_duration_sec: 10, jitter: 0.2 },
      retention_sec: 30,
      metadata: { team: "a" },
      callback_url: null,
      failure_callback_url: null,
    });
  });

  test("shows bytes as base64, and no body as none", async () => {
    const bytes = await send(
      "GET",
      at(await enqueued({ task: { url: "https://a.com/", body_base64: "AP8=" } })),
    );
    expect(bytes.body.task).toMatchObject({ body_base64: "AP8=" });
    expect(bytes.body.task).not.toHaveProperty("body");
    const none = await send("GET", at(await enqueued()));
    expect(none.body.task).not.toHaveProperty("body");
    expect(none.body.task).not.toHaveProperty("body_base64");
  });

  test("shows who runs it, what failed and when it is tried again, and how it ended", async () => {
    const id = await enqueued();
    const first = await claimed();
    expect((await send("GET", at(id))).body).toMatchObject({
      state: "running",
      next_run_at: null,
      lease: { worker: "w1", until: "2026-01-01T00:00:30.000Z" },
    });
    await api.store.settle([retry(first, 5_000)]);
    expect((await send("GET", at(id))).body).toMatchObject({
      state: "retrying",
      next_run_at: "2026-01-01T00:00:05.000Z",
      lease: null,
      counts: { attempts: 1 },
      attempts: [
        {
          number: 1,
          started_at: "2026-01-01T00:00:00.000Z",
          duration_ms: 5,
          status: 500,
          error: "answered 500",
          response_excerpt: null,
          worker: "worker-1",
        },
      ],
    });
    await api.clock.advance(5_000);
    await api.store.settle([success(await claimed(), { responseExcerpt: "fine" })]);
    const { body } = await send("GET", at(id));
    expect(body).toMatchObject({ state: "succeeded", finished_at: "2026-01-01T00:00:05.000Z" });
    expect(body.attempts[1]).toMatchObject({ number: 2, status: 200, error: null, response_excerpt: "fine" });
  });

  test.each(["nonsense", newTaskId(), "%00", "..%2f..", "%zz"])("does not find %s", async (id) => {
    const answer = await send("GET", at(id));
    expect([answer.status, answer.body.code]).toEqual([404, "task_not_found"]);
  });
});

describe("GET /v1/tasks", () => {
  const list = (query: string) => send("GET", `${api.url}/v1/tasks${query}`);
  const ids = (answer: { body: { tasks: { task_id: string }[] } }) =>
    answer.body.tasks.map(({ task_id }) => task_id);

  test("lists newest first, page by page", async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) {
      made.unshift(await enqueued());
      await api.clock.advance(1_000);
    }
    const seen: string[] = [];
    let cursor = "";
    for (let page = 0; page < 10; page++) {
      const answer = await list(`?limit=2${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
      expect(answer.status).toBe(200);
      seen.push(...ids(answer));
      if (answer.body.next_cursor === null) break;
      cursor = answer.body.next_cursor;
    }
    expect(seen).toEqual(made);
  });

  test("filters by queue, state, client and time", async () => {
    const early = await enqueued({ queue: "a", client_id: "one" });
    await api.clock.advance(10_000);
    const late = await enqueued({ queue: "b", client_id: "two", delay: 60 });
    expect(ids(await list("?queue=a"))).toEqual([early]);
    expect(ids(await list("?state=scheduled"))).toEqual([late]);
    expect(ids(await list("?client_id=one"))).toEqual([early]);
    expect(ids(await list("?from=2026-01-01T00:00:05Z"))).toEqual([late]);
    expect(ids(await list(`?to=${Date.UTC(2026, 0, 1) / 1_000 + 5}`))).toEqual([early]);
    expect(ids(await list("?queue=a&state=scheduled"))).toEqual([]);
  });

  test("names every wrong parameter", async () => {
    const answer = await list("?queue=a%20b&state=asleep&limit=0&cursor=&offset=1&from=soon");
    expect(answer.status).toBe(400);
    expect(paths(answer).sort()).toEqual(["cursor", "limit", "offset", "queue", "state"]);
    expect(paths(await list("?from=soon&to=later"))).toEqual(["from", "to"]);
    expect(paths(await list("?limit=1001"))).toEqual(["limit"]);
    expect(paths(await list("?limit=1e2"))).toEqual(["limit"]);
    expect(paths(await list("?queue=a&queue=b"))).toEqual(["queue"]);
    expect(paths(await list("?__proto__=a"))).toEqual(["__proto__"]);
  });

  test("refuses a cursor that is none", async () => {
    const answer = await list("?cursor=no-cursor!");
    expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
  });
});

describe("changing a task", () => {
  test("DELETE cancels a waiting task, and a second one is told the state", async () => {
    const id = await enqueued();
    const first = await send("DELETE", at(id));
    expect([first.status, first.body.state]).toEqual([200, "cancelled"]);
    const second = await send("DELETE", at(id));
    expect([second.status, second.body.code]).toEqual([409, "conflict"]);
    expect(second.body.detail).toBe("A task that is cancelled cannot be cancelled.");
  });

  test("PATCH moves a waiting task to another time and priority", async () => {
    const id = await enqueued({ delay: 60 });
    const moved = await send("PATCH", at(id), { delay: 5, priority: "critical" });
    expect(moved.status).toBe(200);
    expect(moved.body).toMatchObject({ priority: "critical", next_run_at: "2026-01-01T00:00:05.000Z" });
    const timed = await send("PATCH", at(id), { scheduled_at: "2026-01-01T01:00:00Z" });
    expect(timed.body).toMatchObject({ priority: "critical", next_run_at: "2026-01-01T01:00:00.000Z" });
  });

  test("PATCH refuses nothing to change, unknown fields, two times and times too far", async () => {
    const id = await enqueued({ delay: 60 });
    expect(paths(await send("PATCH", at(id), {}))).toEqual(["body"]);
    expect(paths(await send("PATCH", at(id), { state: "dead" }))).toEqual(["state"]);
    expect(paths(await send("PATCH", at(id), { delay: 1, scheduled_at: 1 }))).toEqual(["delay"]);
    expect(paths(await send("PATCH", at(id), { scheduled_at: "2036-01-01T00:00:00Z" }))).toEqual([
      "scheduled_at",
    ]);
    expect((await send("PATCH", at(id), "delay=1", { "content-type": "text/plain" })).status).toBe(415);
  });

  test("PATCH tells the state that forbids it", async () => {
    const id = await enqueued();
    await claimed();
    const answer = await send("PATCH", at(id), { delay: 1 });
    expect([answer.status, answer.body.detail]).toEqual([409, "A task that is running cannot be moved."]);
  });

  test("run makes a waiting task due now", async () => {
    const id = await enqueued({ delay: 60 });
    const answer = await send("POST", at(id, "/run"));
    expect([answer.status, answer.body.state]).toEqual([200, "ready"]);
    expect((await claimed()).id).toBe(id);
  });

  test("replay starts a finished task over, and no other", async () => {
    const id = await enqueued();
    expect((await send("POST", at(id, "/replay"))).status).toBe(409);
    await api.store.settle([success(await claimed())]);
    const answer = await send("POST", at(id, "/replay"));
    expect([answer.status, answer.body.state, answer.body.counts.attempts]).toEqual([200, "ready", 0]);
  });

  test("a task that is not there cannot be changed", async () => {
    const id = newTaskId();
    for (const answer of [
      await send("DELETE", at(id)),
      await send("PATCH", at(id), { delay: 1 }),
      await send("POST", at(id, "/run")),
      await send("POST", at(id, "/replay")),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([404, "task_not_found"]);
    }
  });
});
