/** Pull queues as consumers see them: leases and what becomes of them, waiting, callbacks, and whose keys open what. */

import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { newQueue, type Queue } from "../../src/core/queue.ts";
import type { ClaimRequest, TaskStore } from "../../src/core/store.ts";
import { MAX_CRASHES, type Task } from "../../src/core/task.ts";
import { heldLease, leaseToken } from "../../src/service/lease-token.ts";
import { newTask, newTaskId } from "../support/tasks.ts";
import { type AdminApi, startAdminApi } from "./admin-support.ts";
import { type Answered, giveKey, paths, putClient, putSettings, withMethods } from "./support.ts";

const PATIENCE_MS = 5_000;
let api: AdminApi;
afterEach(() => api.close());

async function start(options: Parameters<typeof startAdminApi>[0] = {}): Promise<void> {
  api = await startAdminApi({ ...options, settings: { limits: false, ...options.settings } });
  await setQueue("jobs", { mode: "pull" });
}

function setQueue(name: string, rules: Partial<Queue>): Promise<void> {
  return putSettings(api.store, "queue", name, (queue) => ({ ...(queue ?? newQueue(0)), ...rules }));
}

async function enqueue(overrides: Record<string, unknown> = {}): Promise<string> {
  const request = { client_id: "shop", queue: "jobs", task: { body: { page: 1 } }, ...overrides };
  const { status, body } = await api.post("/v1/enqueue", request);
  if (status !== 202) throw new Error(JSON.stringify(body));
  return body.task_id;
}

const lease = (request: Record<string, unknown> = {}, headers: Record<string, string> = {}, queue = "jobs") =>
  api.post(`/v1/queues/${queue}/lease`, request, headers);
const tell = (what: "ack" | "nack" | "extend", leases: unknown, more: Record<string, unknown> = {}) =>
  api.post(`/v1/leases/${what}`, { leases, ...more });

/** The lease of the one task that there is. */
async function leaseOne(request: Record<string, unknown> = {}): Promise<string> {
  const { body } = await lease(request);
  if (body.tasks.length !== 1) throw new Error(`expected one task: ${JSON.stringify(body)}`);
  return body.tasks[0].lease;
}

const statuses = ({ body }: Answered) => body.results.map(({ status }: { status: string }) => status);

async function task(id: string): Promise<Task> {
  const found = await api.store.get(id);
  if (found === null) throw new Error(`task ${id} is gone`);
  return found;
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (Date.now() > endMs) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(5);
  }
}

describe("leasing", () => {
  test("hands out a task with all that a consumer needs, and the state says who has it", async () => {
    await start();
    const id = await enqueue({
      task: { body: { page: 1 }, headers: { "X-A": "1" } },
      priority: "high",
      metadata: { order: "17" },
    });
    const { status, body } = await lease({ consumer: "box-3", lease_sec: 60 });
    expect(status).toBe(200);
    expect(body.tasks).toEqual([
      {
        task_id: id,
        lease: expect.stringMatching(new RegExp(`^${id}\\.[0-9]+\\.[0-9a-z]+$`)),
        lease_until: new Date(api.clock.now() + 60_000).toISOString(),
        queue: "jobs",
        client_id: "shop",
        priority: "high",
        attempt: 1,
        crashes: 0,
        scheduled_at: new Date(api.clock.now()).toISOString(),
        metadata: { order: "17" },
        traceparent: null,
        task: {
          url: "",
          method: "POST",
          headers: { "X-A": "1", "content-type": "application/json" },
          body: '{"page":1}',
        },
      },
    ]);
    const shown = await api.get(`/v1/tasks/${id}`);
    expect(shown.body).toMatchObject({
      state: "running",
      lease: { worker: "pull:box-3" },
      task: { url: "" },
    });
    expect((await lease()).body).toEqual({ tasks: [] });
  });

  test("takes at most max, one unless told otherwise, and passes bytes on as base64", async () => {
    await start();
    for (let i = 0; i < 5; i++) await enqueue({ task: { body_base64: "AP/+" } });
    expect((await lease()).body.tasks).toHaveLength(1);
    const rest = (await lease({ max: 3 })).body.tasks;
    expect(rest).toHaveLength(3);
    expect(rest[0].task.body_base64).toBe("AP/+");
    expect((await lease({ max: 100 })).body.tasks).toHaveLength(1);
  });

  test("says so where there is no such queue, where workers have it, and what of a request is wrong", async () => {
    await start();
    await setQueue("pushed", {});
    const codes = async (queue: string) => {
      const { status, body } = await lease({}, {}, queue);
      return [status, body.code];
    };
    expect(await codes("nowhere")).toEqual([404, "queue_not_found"]);
    expect(await codes("pushed")).toEqual([409, "conflict"]);
    expect(await codes("a%20b")).toEqual([400, "validation_failed"]);
    const wrong = { max: 101, lease_sec: 0, wait_sec: 61, consumer: "a:b", limit: 1 };
    expect(paths(await lease(wrong)).sort()).toEqual(["consumer", "lease_sec", "limit", "max", "wait_sec"]);
  });

  test("hands out nothing of a paused queue, nor what is not due", async () => {
    await start();
    await enqueue({ delay: 60 });
    await enqueue();
    await setQueue("jobs", { paused: true });
    expect((await lease({ max: 10 })).body.tasks).toEqual([]);
    await setQueue("jobs", { paused: false });
    expect((await lease({ max: 10 })).body.tasks).toHaveLength(1);
  });
});

describe("a task without a url", () => {
  test("is taken in a pull queue alone, one by one and in a batch", async () => {
    await start();
    await setQueue("pushed", {});
    const item = (queue: string) => ({ client_id: "shop", queue, task: { body: "x" } });
    const { body } = await api.post("/v1/enqueue/batch", {
      tasks: [item("jobs"), item("pushed"), item("new")],
    });
    expect(body.results.map(({ status }: { status: string }) => status)).toEqual([
      "enqueued",
      "rejected",
      "rejected",
    ]);
    expect(body.results[1].errors[0].path).toBe("tasks[1].task.url");
    await setQueue("pushed", { mode: "pull" });
    await enqueue({ queue: "pushed" });
  });

  test("may still not have a header or a callback that is none", async () => {
    await start();
    const request = { client_id: "shop", queue: "jobs", task: { headers: { "a b": "c" } } };
    expect(paths(await api.post("/v1/enqueue", request))).toEqual(["task.headers.a b"]);
    const called = { client_id: "shop", queue: "jobs", task: {}, callback_url: "http://10.0.0.1/" };
    expect(paths(await api.post("/v1/enqueue", called))).toEqual(["callback_url"]);
  });
});

describe("ack", () => {
  test("ends the task as succeeded, with the consumer's answer kept, cut to a KiB between two characters", async () => {
    await start();
    const [first, second] = [await enqueue(), await enqueue()];
    const { body } = await lease({ max: 2, consumer: "box-3" });
    const [one, two] = body.tasks.map((given: { lease: string }) => given.lease);
    const answer = await tell("ack", [one, { lease: two, response: `x${"ü".repeat(2_000)}` }]);
    expect(answer.body).toEqual({
      results: [
        { lease: one, status: "acked" },
        { lease: two, status: "acked" },
      ],
    });
    const done = await task(first);
    expect(done).toMatchObject({
      state: "succeeded",
      attempts: 1,
      attemptLog: [{ number: 1, status: null, error: null, responseExcerpt: null, worker: "pull:box-3" }],
    });
    expect(done.attemptLog[0]?.durationMs).toBeWithin(0, PATIENCE_MS);
    expect((await task(second)).attemptLog[0]?.responseExcerpt).toBe(`x${"ü".repeat(511)}`);
  });

  test("of a lease that is over changes nothing and says so: told twice, run out, or another's by now", async () => {
    await start();
    const id = await enqueue();
    const held = await leaseOne({ lease_sec: 1 });
    await api.clock.advance(1_001);
    await api.store.rescue(10);
    expect(statuses(await tell("ack", [held]))).toEqual(["lost"]);
    const later = await leaseOne();
    expect(statuses(await tell("ack", [held, later, later]))).toEqual(["lost", "acked", "lost"]);
    expect(await task(id)).toMatchObject({ state: "succeeded", crashes: 1, attempts: 1 });
    expect(statuses(await tell("nack", [later]))).toEqual(["lost"]);
    expect((await task(id)).state).toBe("succeeded");
  });

  test("of a lease nobody ever had is lost, and what is no lease is refused by its place", async () => {
    await start();
    const none = leaseToken({ taskId: newTaskId(), fence: 1, startedAtMs: 1 });
    expect(statuses(await tell("ack", [none]))).toEqual(["lost"]);
    const id = await enqueue();
    for (const [leases, path] of [
      [[none, id], "leases.1"],
      [[{ lease: none, response: 1 }], "leases.0"],
      [[], "leases"],
      [Array.from({ length: 101 }, () => none), "leases"],
    ] as const) {
      const answer = await tell("ack", leases);
      expect([answer.status, paths(answer)]).toEqual([400, [path]]);
    }
  });

  test("cannot end what a worker runs, though the task's id is known and its fence can be guessed", async () => {
    await start();
    const pushed = newTask();
    await api.store.enqueue([pushed]);
    const [claimed] = (await api.store.claim({ worker: "host-1-abc", limit: 1, leaseMs: 30_000 })).tasks;
    const forged = leaseToken({ taskId: pushed.id, fence: claimed?.fence ?? 0, startedAtMs: 1 });
    for (const what of ["ack", "nack", "extend"] as const) {
      expect(statuses(await tell(what, [forged]))).toEqual(["lost"]);
    }
    expect(await task(pushed.id)).toMatchObject({ state: "running", attempts: 0 });
  });

  test("tells of a task that was cancelled meanwhile", async () => {
    await start();
    const id = await enqueue({ callback_url: "https://example.com/done" });
    const held = await leaseOne();
    await api.store.cancel(id);
    expect(statuses(await tell("extend", [held]))).toEqual(["cancelled"]);
    expect(statuses(await tell("ack", [held]))).toEqual(["cancelled"]);
    expect((await task(id)).state).toBe("cancelled");
    expect((await api.store.list({ queue: "callbacks", limit: 10 })).tasks).toEqual([]);
  });
});

describe("nack", () => {
  test("has the task tried again as its retries say, which its queue may say", async () => {
    await start();
    await setQueue("jobs", { retry: { maxAttempts: 3, minBackoffMs: 10_000, jitter: 0 } });
    const id = await enqueue();
    const held = await leaseOne({ consumer: "box-3" });
    expect((await tell("nack", [{ lease: held, error: "no paper" }])).body.results).toEqual([
      { lease: held, status: "nacked" },
    ]);
    expect(await task(id)).toMatchObject({
      state: "retrying",
      reason: "no paper",
      dueMs: api.clock.now() + 10_000,
      attemptLog: [{ number: 1, error: "no paper", worker: "pull:box-3" }],
    });
    await api.clock.advance(10_000);
    const second = await lease();
    expect(second.body.tasks[0].attempt).toBe(2);
    const asked = { lease: second.body.tasks[0].lease, retry_after_sec: 300 };
    expect(statuses(await tell("nack", [asked]))).toEqual(["nacked"]);
    expect((await task(id)).dueMs).toBe(api.clock.now() + 300_000);
    await api.clock.advance(300_000);
    await tell("nack", [await leaseOne()]);
    expect(await task(id)).toMatchObject({
      state: "dead",
      attempts: 3,
      reason: "gave up after 3 attempts: nacked by its consumer",
    });
  });

  test("that is permanent ends the task, with the reports and copies that a worker would bring about", async () => {
    await start();
    await setQueue("jobs", { deadTarget: { kind: "queue", queue: "failed-jobs" } });
    const callbacks = {
      callback_url: "https://example.com/done",
      failure_callback_url: "https://example.com/failed",
    };
    const id = await enqueue(callbacks);
    const told = { lease: await leaseOne(), error: "unreadable", permanent: true };
    expect(statuses(await tell("nack", [told]))).toEqual(["nacked"]);
    expect(await task(id)).toMatchObject({ state: "dead", reason: "unreadable" });
    const { tasks: copies } = await api.store.list({ queue: "failed-jobs", limit: 10 });
    expect(copies).toMatchObject([{ metadata: { "task-runner.dead_task_id": id }, target: { url: "" } }]);
    const { tasks: reports } = await api.store.list({ queue: "callbacks", limit: 10 });
    expect(reports).toMatchObject([{ target: { url: "https://example.com/failed" } }]);
    expect(JSON.parse(String(reports[0]?.target.body))).toMatchObject({
      event: "task.dead",
      task_id: id,
      last_attempt: { error: "unreadable", status: null },
    });
  });

  test("an ack brings the report of the success, with the consumer's answer", async () => {
    await start();
    const id = await enqueue({ callback_url: "https://example.com/done" });
    await tell("ack", [{ lease: await leaseOne(), response: "3 pages" }]);
    const { tasks: reports } = await api.store.list({ queue: "callbacks", limit: 10 });
    expect(reports).toHaveLength(1);
    expect(JSON.parse(String(reports[0]?.target.body))).toMatchObject({
      event: "task.succeeded",
      task_id: id,
      last_attempt: { response_excerpt: "3 pages" },
    });
  });
});

describe("extend", () => {
  test("makes a lease hold from now, and tells of those that are lost", async () => {
    await start();
    const id = await enqueue();
    const held = await leaseOne({ lease_sec: 5 });
    await api.clock.advance(4_000);
    const none = leaseToken({ taskId: newTaskId(), fence: 1, startedAtMs: 1 });
    expect(statuses(await tell("extend", [held, none], { lease_sec: 100 }))).toEqual(["extended", "lost"]);
    expect((await task(id)).lease?.untilMs).toBe(api.clock.now() + 100_000);
    await api.clock.advance(99_000);
    expect(await api.store.rescue(10)).toEqual([]);
    await api.clock.advance(1_001);
    await api.store.rescue(10);
    expect(statuses(await tell("extend", [held]))).toEqual(["lost"]);
  });
});

describe("a task that its consumers do not come back with", () => {
  test("is handed out again, and dies after so many of them instead of being handed out", async () => {
    await start();
    const id = await enqueue({ callback_url: "https://example.com/done" });
    for (let crashes = 0; crashes < MAX_CRASHES; crashes++) {
      const { body } = await lease({ lease_sec: 1 });
      expect(body.tasks).toMatchObject([{ task_id: id, crashes, attempt: 1 }]);
      await api.clock.advance(1_001);
      await api.store.rescue(10);
    }
    const healthy = await enqueue();
    const { body } = await lease({ max: 10 });
    expect(body.tasks).toMatchObject([{ task_id: healthy }]);
    expect(await task(id)).toMatchObject({
      state: "dead",
      attempts: 0,
      reason: `${MAX_CRASHES} workers died while running it`,
    });
    expect((await api.store.list({ queue: "callbacks", limit: 10 })).tasks).toHaveLength(1);
  });

  test("comes back though no worker is there to take it back", async () => {
    await start();
    await api.clock.advance(1);
    const id = await enqueue();
    // Leases are taken back now and then only; this one runs out before the first time.
    const [claimed] = (await api.store.claim({ worker: "pull:x", limit: 1, leaseMs: 1_000, queue: "jobs" }))
      .tasks;
    expect(claimed?.id).toBe(id);
    await api.clock.advance(1_001);
    expect((await lease()).body.tasks).toMatchObject([{ task_id: id, crashes: 1 }]);
  });

  test("is no reason to keep others back when the store cannot be told of its death", async () => {
    let fails = true;
    const failing = (store: TaskStore) =>
      withMethods(store, {
        settle: (settlements) =>
          fails
            ? Promise.reject(new TaskRunnerError("store_unavailable", "gone"))
            : store.settle(settlements),
      });
    await start({ wrapStore: failing });
    const id = await enqueue();
    for (let crashes = 0; crashes < MAX_CRASHES; crashes++) {
      await lease({ lease_sec: 1 });
      await api.clock.advance(1_001);
      await api.store.rescue(10);
    }
    expect((await lease({ max: 10 })).status).toBe(503);
    await api.clock.advance(30_001);
    await api.store.rescue(10);
    const healthy = await enqueue();
    expect((await lease({ max: 10 })).body.tasks).toMatchObject([{ task_id: healthy }]);
    await api.clock.advance(30_001);
    await api.store.rescue(10);
    fails = false;
    await lease({ max: 10 });
    expect((await task(id)).state).toBe("dead");
  });
});

describe("waiting for tasks", () => {
  /** Requests that wait, once they do. */
  async function waits(count: number, request: Record<string, unknown> = {}): Promise<Promise<Answered>[]> {
    const before = api.pull.waiting;
    const answers = Array.from({ length: count }, () => lease({ wait_sec: 30, ...request }));
    await until(`${count} wait`, () => api.pull.waiting === before + count);
    return answers;
  }

  test("ends with the first task that comes, soon after it came", async () => {
    await start();
    const [answer] = await waits(1);
    const startMs = performance.now();
    const id = await enqueue();
    expect((await answer)?.body.tasks).toMatchObject([{ task_id: id }]);
    expect(performance.now() - startMs).toBeLessThan(900);
    expect(api.pull.waiting).toBe(0);
  });

  test("ends with nothing when its time is up", async () => {
    await start();
    const startMs = performance.now();
    const answer = await lease({ wait_sec: 0.2 });
    expect([answer.status, answer.body]).toEqual([200, { tasks: [] }]);
    expect(performance.now() - startMs).toBeWithin(190, 2_000);
  });

  test("hands each task to one of those who wait, who came first first", async () => {
    await start();
    const [first] = await waits(1, { consumer: "first" });
    const others = await waits(4);
    const ids = [await enqueue()];
    expect((await first)?.body.tasks).toMatchObject([{ task_id: ids[0] }]);
    expect((await task(ids[0] ?? "")).lease?.worker).toBe("pull:first");
    for (let i = 0; i < 4; i++) ids.push(await enqueue());
    const answers = await Promise.all(others);
    const got = answers.flatMap(({ body }) => body.tasks.map((one: { task_id: string }) => one.task_id));
    expect(got.sort()).toEqual(ids.slice(1).sort());
  });

  test("sees what was resumed or was set free without a task coming, within a look", async () => {
    await start();
    await enqueue();
    await setQueue("jobs", { paused: true });
    const [answer] = await waits(1);
    await setQueue("jobs", { paused: false });
    expect((await answer)?.body.tasks).toHaveLength(1);
  });

  test("is bounded: one too many is told to come back, and there is room again when one has left", async () => {
    await start({ maxPolls: 2 });
    const held = await waits(2);
    const refused = await lease({ wait_sec: 30 });
    expect([refused.status, refused.body.code]).toEqual([503, "overloaded"]);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect((await lease()).status).toBe(200);
    await enqueue();
    await Promise.any(held);
    await waits(1);
    api.pull.close();
    await Promise.all(held);
  });

  test("of somebody who goes away is over at once, and takes no task", async () => {
    await start();
    const abort = new AbortController();
    const gone = fetch(`${api.url}/v1/queues/jobs/lease`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"wait_sec":30}',
      signal: abort.signal,
    }).then(
      () => "answered",
      () => "broken off",
    );
    await until("he waits", () => api.pull.waiting === 1);
    abort.abort();
    expect(await gone).toBe("broken off");
    await until("his place is free", () => api.pull.waiting === 0);
    const id = await enqueue();
    expect(await task(id)).toMatchObject({ state: "ready", fence: 0 });
  });

  test("a claim that was under way for somebody who has gone is given back, uncharged", async () => {
    const claimed = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const slow = (store: TaskStore) =>
      withMethods(store, {
        claim: async (request: ClaimRequest) => {
          const claim = await store.claim(request);
          if (claim.tasks.length > 0) {
            claimed.resolve();
            await gone.promise;
          }
          return claim;
        },
      });
    await start({ wrapStore: slow });
    const id = await enqueue();
    const socket = connect(api.port, "127.0.0.1");
    const body = '{"wait_sec":30}';
    socket.write(
      `POST /v1/queues/jobs/lease HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await claimed.promise;
    socket.destroy();
    // The server has to have seen it, which nothing tells but a later request over the same loop.
    for (let i = 0; i < 20; i++) await api.get("/health/live");
    gone.resolve();
    await until("it is given back", async () => (await task(id)).state === "ready");
    expect(await task(id)).toMatchObject({ attempts: 0, crashes: 0, releases: 1 });
  });

  test("ends with nothing for all when the server stops", async () => {
    await start();
    const held = await waits(3);
    api.pull.close();
    for (const { status, body } of await Promise.all(held))
      expect([status, body]).toEqual([200, { tasks: [] }]);
    expect((await lease({ wait_sec: 30 })).body).toEqual({ tasks: [] });
  });

  test("tells all who wait when the store cannot be reached", async () => {
    let fails = false;
    const failing = (store: TaskStore) =>
      withMethods(store, {
        claim: (request) =>
          fails ? Promise.reject(new TaskRunnerError("store_unavailable", "gone")) : store.claim(request),
      });
    await start({ wrapStore: failing });
    const held = await waits(2);
    fails = true;
    for (const answer of await Promise.all(held))
      expect([answer.status, answer.body.code]).toEqual([503, "store_unavailable"]);
  });

  test("asks the store no more often than it helps, however many wait and whatever comes elsewhere", async () => {
    let claims = 0;
    const counted = (store: TaskStore) =>
      withMethods(store, {
        claim: (request) => {
          claims++;
          return store.claim(request);
        },
      });
    await start({ wrapStore: counted });
    const held = await waits(50);
    claims = 0;
    const startMs = performance.now();
    for (let i = 0; i < 200; i++) await api.store.enqueue([newTask()]);
    const elapsedMs = performance.now() - startMs;
    expect(claims).toBeLessThanOrEqual(elapsedMs / 20 + 2);
    api.pull.close();
    await Promise.all(held);
  });
});

describe("who may lease", () => {
  const adminKey = "the-admin-key";
  const admin = { "x-admin-key": adminKey };

  test("with an admin key and CLIENT_AUTH off: who has that key", async () => {
    await start({ adminKey });
    await enqueue();
    expect((await lease()).status).toBe(401);
    expect((await tell("ack", [leaseToken({ taskId: newTaskId(), fence: 1, startedAtMs: 1 })])).status).toBe(
      401,
    );
    expect((await lease({}, admin)).body.tasks).toHaveLength(1);
  });

  test.each(["optional", "required"] as const)(
    "with CLIENT_AUTH %s: a client whose allowed_queues name the queue, of all clients' tasks",
    async (clientAuth) => {
      await start({ adminKey, clientAuth });
      await putClient(api.store, "printer", { allowedQueues: ["jobs"] });
      await putClient(api.store, "free", { allowedQueues: null });
      const own = { authorization: `Bearer ${await giveKey(api.store, "printer")}` };
      const unlisted = { authorization: `Bearer ${await giveKey(api.store, "free")}` };
      const id = (await api.post("/v1/enqueue", { client_id: "shop", queue: "jobs", task: {} }, admin)).body
        .task_id;
      expect((await lease()).status).toBe(401);
      const refused = await lease({}, unlisted);
      expect([refused.status, refused.body.code]).toEqual([403, "forbidden"]);
      const { body } = await lease({ consumer: "box-3" }, own);
      expect(body.tasks).toMatchObject([{ task_id: id, client_id: "shop" }]);
      expect((await task(id)).lease?.worker).toBe("pull:printer/box-3");

      const { lease: held } = body.tasks[0];
      const ack = (headers: Record<string, string>) =>
        api.post("/v1/leases/ack", { leases: [held] }, headers);
      expect((await ack({})).status).toBe(401);
      expect(statuses(await ack(unlisted))).toEqual(["lost"]);
      await putClient(api.store, "printer", { allowedQueues: ["other"] });
      expect(statuses(await ack(own))).toEqual(["lost"]);
      await putClient(api.store, "printer", { allowedQueues: ["jobs"] });
      expect(statuses(await ack(own))).toEqual(["acked"]);
    },
  );

  test("a client that is disabled leases no more, and may still tell of what it has", async () => {
    await start({ adminKey, clientAuth: "required" });
    await putClient(api.store, "printer", { allowedQueues: ["jobs"] });
    const own = { authorization: `Bearer ${await giveKey(api.store, "printer")}` };
    await api.post("/v1/enqueue", { client_id: "shop", queue: "jobs", task: {} }, admin);
    const { body } = await lease({}, own);
    await putClient(api.store, "printer", { enabled: false });
    const refused = await lease({}, own);
    expect([refused.status, refused.body.code]).toEqual([403, "client_disabled"]);
    expect(statuses(await api.post("/v1/leases/ack", { leases: [body.tasks[0].lease] }, own))).toEqual([
      "acked",
    ]);
  });

  test("with keys optional and no admin key: still no one without a key", async () => {
    await start({ clientAuth: "optional" });
    const refused = await lease();
    expect([refused.status, refused.body.code]).toEqual([401, "unauthorized"]);
  });
});

describe("the text of a lease", () => {
  test("tells task, fence and start again, and takes no start of the future", () => {
    const held = { taskId: newTaskId(), fence: 12, startedAtMs: 1_700_000_000_000 };
    expect(heldLease(leaseToken(held), 1_800_000_000_000)).toEqual(held);
    expect(heldLease(leaseToken(held), 1_600_000_000_000)).toEqual({
      ...held,
      startedAtMs: 1_600_000_000_000,
    });
    for (const text of ["", held.taskId, `${held.taskId}.0.1`, `${held.taskId}.1.1.1`, `x.1.1`]) {
      expect(heldLease(text, 1)).toBeNull();
    }
  });
});
