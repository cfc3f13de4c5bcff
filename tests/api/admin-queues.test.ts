import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { newTask, newTasks, retry } from "../support/tasks.ts";
import {
  type AdminApi,
  actions,
  claim,
  deadTask,
  lastEntry,
  queueServiceOver,
  refusal,
  startAdminApi,
} from "./admin-support.ts";
import { enqueueBody, paths, putSettings } from "./support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi({ settings: { limits: false } });
});
afterEach(() => api.close());

const NO_COUNTS = {
  scheduled: 0,
  ready: 0,
  running: 0,
  retrying: 0,
  succeeded: 0,
  dead: 0,
  cancelled: 0,
};
const RULES = {
  queue: "mail",
  enabled: true,
  paused: false,
  max_dispatches_per_sec: null,
  max_burst: null,
  max_concurrent: null,
  weight: 1,
  retry: {},
  timeout_sec: null,
  target: null,
  retention_succeeded_sec: null,
  retention_dead_sec: null,
  permanent_statuses: [],
  after_death: "next",
  dead_target: null,
  mode: "push",
  signing: [],
  created_at: "2026-01-01T00:00:00.000Z",
};
const NEW_QUEUE = { ...RULES, running: 0, counts: NO_COUNTS, next_dispatch_at: null, purge: null };

const set = (rules: Record<string, unknown> = {}) =>
  api.post("/admin/queues/set", { queue: "mail", ...rules });
const read = (name = "mail") => api.get(`/admin/queues/get?queue=${name}`);
const on = (action: string, queue = "mail") => api.post(`/admin/queues/${action}`, { queue });

describe("POST /admin/queues/set", () => {
  test("makes a queue without rules of its own", async () => {
    const answer = await set();
    expect([answer.status, answer.body]).toEqual([200, NEW_QUEUE]);
    expect((await read()).body).toEqual(NEW_QUEUE);
  });

  test("takes every rule, shows it as it was given, and keeps it when others change", async () => {
    const rules = {
      enabled: false,
      paused: true,
      max_dispatches_per_sec: 0.5,
      max_burst: 10,
      max_concurrent: 0,
      weight: 100,
      retry: {
        max_attempts: -1,
        min_backoff_sec: 0.25,
        max_backoff_sec: 10,
        max_doublings: 2,
        max_duration_sec: 60,
        jitter: 0.5,
      },
      timeout_sec: 1.5,
      target: { url: "https://example.com/new", method: "PUT", headers: { Authorization: "Bearer s" } },
      retention_succeeded_sec: 0,
      retention_dead_sec: 2_592_000,
      permanent_statuses: [410, 404],
      after_death: "hold",
      dead_target: { queue: "failed" },
      mode: "pull",
    };
    const made = await set(rules);
    expect(made.status).toBe(200);
    expect(made.body).toMatchObject(rules);
    expect((await set({ weight: 7 })).body).toMatchObject({ ...rules, weight: 7 });
  });

  test("null takes a rule away, a list or an object is replaced as a whole", async () => {
    await set({
      max_dispatches_per_sec: 5,
      max_burst: 5,
      max_concurrent: 5,
      timeout_sec: 5,
      target: { url: "https://example.com/", method: "get" },
      retention_succeeded_sec: 5,
      retention_dead_sec: 5,
      permanent_statuses: [404],
      retry: { max_attempts: 2, jitter: 0 },
      dead_target: { url: "https://example.com/dead" },
    });
    expect((await read()).body.target).toEqual({ url: "https://example.com/", method: "GET" });
    const part = await set({ target: { headers: { "X-A": "1" } }, retry: { jitter: 1 } });
    expect(part.body).toMatchObject({ target: { headers: { "X-A": "1" } }, retry: { jitter: 1 } });
    expect([part.body.target.url, part.body.retry.max_attempts]).toEqual([undefined, undefined]);
    const none = await set({
      max_dispatches_per_sec: null,
      max_burst: null,
      max_concurrent: null,
      timeout_sec: null,
      target: null,
      retention_succeeded_sec: null,
      retention_dead_sec: null,
      permanent_statuses: [],
      retry: {},
      dead_target: null,
    });
    expect(none.body).toEqual(NEW_QUEUE);
  });

  test("an override that replaces nothing is none", async () => {
    expect((await set({ target: {} })).body.target).toBeNull();
    expect((await set({ target: { headers: { Host: "a", "X-Task-Id": "b" } } })).body.target).toBeNull();
  });

  test("names every wrong field, those inside of others too", async () => {
    const answer = await set({
      weight: 0,
      max_dispatches_per_sec: 0,
      max_burst: 0,
      max_concurrent: -1,
      timeout_sec: 0,
      retry: { attempts: 3, jitter: 2 },
      target: { uri: "https://example.com/", method: "TRACE" },
      retention_succeeded_sec: 31 * 86_400 + 1,
      permanent_statuses: [200, 404],
      after_death: "wait",
      dead_target: { topic: "a" },
      counts: {},
    });
    expect(refusal(answer)).toEqual([400, "validation_failed"]);
    expect(paths(answer).sort()).toEqual([
      "after_death",
      "counts",
      "dead_target.topic",
      "max_burst",
      "max_concurrent",
      "max_dispatches_per_sec",
      "permanent_statuses.0",
      "retention_succeeded_sec",
      "retry.attempts",
      "retry.jitter",
      "target.method",
      "target.uri",
      "timeout_sec",
      "weight",
    ]);
    expect((await read()).status).toBe(404);
  });

  test.each([
    [{ max_dispatches_per_sec: 1_000_001 }, "max_dispatches_per_sec"],
    [{ max_dispatches_per_sec: "5" }, "max_dispatches_per_sec"],
    [{ max_burst: 1_000_001 }, "max_burst"],
    [{ max_burst: 1.5 }, "max_burst"],
    [{ max_concurrent: 1_000_000_001 }, "max_concurrent"],
    [{ weight: 101 }, "weight"],
    [{ weight: null }, "weight"],
    [{ timeout_sec: 1_801 }, "timeout_sec"],
    [{ retention_dead_sec: -1 }, "retention_dead_sec"],
    [{ permanent_statuses: [600] }, "permanent_statuses.0"],
    [{ permanent_statuses: [404, 404] }, "permanent_statuses"],
    [{ permanent_statuses: Array.from({ length: 101 }, (_, at) => 300 + at) }, "permanent_statuses"],
    [{ retry: { min_backoff_sec: 20, max_backoff_sec: 10 } }, "retry.min_backoff_sec"],
    [{ retry: { max_backoff_sec: 0.5 } }, "retry.max_backoff_sec"],
    [{ retry: null }, "retry"],
    [{ target: "https://example.com/" }, "target"],
    [{ target: { url: "example.com" } }, "target.url"],
    [{ target: { url: 1 } }, "target.url"],
    [{ target: { headers: { "X A": "1" } } }, "target.headers.X A"],
    [{ target: { headers: { "X-A": "1\n2" } } }, "target.headers.X-A"],
    [{ target: { headers: { "X-A": "1", "x-a": "2" } } }, "target.headers.x-a"],
    [{ dead_target: { url: "nowhere" } }, "dead_target.url"],
    [{ dead_target: { queue: "mail" } }, "dead_target.queue"],
    [{ dead_target: { queue: "a b" } }, "dead_target.queue"],
    [{ dead_target: {} }, "dead_target"],
    [{ dead_target: { queue: "a", url: "https://example.com/" } }, "dead_target"],
    [{ mode: "poll" }, "mode"],
    [{ mode: null }, "mode"],
    [{ queue: "callbacks", mode: "pull" }, "mode"],
    [{ queue: "a b" }, "queue"],
    [{ queue: "a".repeat(101) }, "queue"],
    [{ queue: undefined }, "queue"],
  ])("refuses %j", async (rules, path) => {
    const answer = await set(rules);
    expect([answer.status, paths(answer)]).toEqual([400, [path]]);
  });

  test.each([
    [{ target: { url: "http://10.0.0.1/" } }, "target.url"],
    [{ target: { url: "ftp://example.com/" } }, "target.url"],
    [{ dead_target: { url: "http://127.0.0.1/" } }, "dead_target.url"],
  ])("does not let tasks be sent where they may not go themselves: %j", async (rules, path) => {
    const answer = await set(rules);
    expect(refusal(answer)).toEqual([422, "target_forbidden"]);
    expect(paths(answer)).toEqual([path]);
    expect((await read()).status).toBe(404);
  });

  test("asks the workers about private addresses, where they alone know", async () => {
    const queues = queueServiceOver(api, { privateTargets: "ask-workers" });
    const target = { url: "http://10.0.0.1/" };
    await expect(queues.set({ queue: "mail", target }, "open")).rejects.toMatchObject({
      code: "target_forbidden",
    });
    await api.store.announce({
      id: "w1",
      version: "1",
      concurrency: 1,
      allowPrivateUrls: true,
      startedAtMs: 0,
    });
    await api.clock.advance(2_000);
    expect((await queues.set({ queue: "mail", target }, "open")).target).toEqual(target);
  });

  test("is audited with all rules, before and after, and without the values of headers", async () => {
    await set({ target: { headers: { Authorization: "Bearer s3cret" } } });
    expect(await lastEntry(api)).toEqual({
      at: "2026-01-01T00:00:00.000Z",
      actor: "open",
      action: "queues.set",
      subject: "mail",
      before: null,
      after: { ...RULES, target: { headers: { Authorization: "[hidden]" } } },
    });
    await set({ weight: 3, target: null });
    const entry = await lastEntry(api);
    expect(entry.after).toEqual({ ...RULES, weight: 3 });
    expect(JSON.stringify((await api.get("/admin/audit")).body)).not.toContain("s3cret");
    await set({ weight: 3 });
    expect((await actions(api)).filter((action) => action === "queues.set")).toHaveLength(2);
  });

  test("rules apply to tasks that wait already", async () => {
    await api.store.enqueue(newTasks(3, { queue: "mail" }));
    await set({ max_concurrent: 1 });
    expect(await claim(api.store, 10)).toHaveLength(1);
    await set({ max_concurrent: 3 });
    expect(await claim(api.store, 10)).toHaveLength(2);
  });

  test("a disabled queue refuses new tasks", async () => {
    await set({ enabled: false });
    const enqueue = () => api.post("/v1/enqueue", enqueueBody({ queue: "mail" }));
    expect(refusal(await enqueue())).toEqual([409, "queue_disabled"]);
    await set({ enabled: true });
    expect((await enqueue()).status).toBe(202);
  });

  test("changes at the same moment all hold", async () => {
    const answers = await Promise.all([set({ weight: 2 }), set({ max_burst: 3 }), on("pause", "default")]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await read()).body).toMatchObject({ weight: 2, max_burst: 3, paused: false });
  });
});

describe("GET /admin/queues", () => {
  test("tells what a queue holds and uses", async () => {
    await set({ max_dispatches_per_sec: 0.1 });
    await api.store.enqueue([
      ...newTasks(2, { queue: "mail", priority: "high" }),
      ...newTasks(3, { queue: "mail", priority: "low" }),
      newTask({ queue: "mail", scheduledAtMs: api.clock.now() + 60_000 }),
    ]);
    await claim(api.store, 10);
    expect((await read()).body).toMatchObject({
      running: 1,
      counts: { ...NO_COUNTS, scheduled: 1, ready: 4, running: 1 },
      next_dispatch_at: "2026-01-01T00:00:10.000Z",
    });
  });

  test("lists them by name, page by page, the default one among them", async () => {
    await set();
    await api.store.enqueue([newTask({ queue: "by-use" })]);
    const first = await api.get("/admin/queues?limit=2");
    const names = (body: { queues: { queue: string }[] }) => body.queues.map(({ queue }) => queue);
    expect(names(first.body)).toEqual(["by-use", "default"]);
    expect(first.body.queues[0].counts.ready).toBe(1);
    expect(first.body.queues[1].counts).toEqual(NO_COUNTS);
    const cursor = encodeURIComponent(first.body.next_cursor);
    const second = await api.get(`/admin/queues?limit=2&cursor=${cursor}`);
    expect([names(second.body), second.body.next_cursor]).toEqual([["mail"], null]);
  });

  test("refuses wrong parameters and queues that are not there", async () => {
    expect(paths(await api.get("/admin/queues?limit=1001&state=dead")).sort()).toEqual(["limit", "state"]);
    expect(paths(await api.get("/admin/queues/get"))).toEqual(["queue"]);
    expect(paths(await api.get("/admin/queues/get?queue=a%20b"))).toEqual(["queue"]);
    expect(refusal(await read("nothing"))).toEqual([404, "queue_not_found"]);
  });
});

describe("pausing a queue", () => {
  test("holds its tasks until it is resumed, and takes new ones", async () => {
    await set();
    const paused = await on("pause");
    expect([paused.status, paused.body.paused]).toEqual([200, true]);
    expect((await api.post("/v1/enqueue", enqueueBody({ queue: "mail" }))).status).toBe(202);
    expect(await claim(api.store)).toEqual([]);
    expect((await on("resume")).body.paused).toBe(false);
    expect(await claim(api.store)).toHaveLength(1);
  });

  test("a second time changes nothing, and both are audited once", async () => {
    await set();
    for (const action of ["pause", "pause", "resume", "resume"]) expect((await on(action)).status).toBe(200);
    expect(await actions(api)).toEqual(expect.arrayContaining(["queues.resume", "queues.pause"]));
    const done = (await actions(api)).filter((action) => /pause|resume/.test(action));
    expect(done).toEqual(["queues.resume", "queues.pause"]);
    expect((await lastEntry(api)).before).toEqual({ ...RULES, paused: true });
  });

  test("works on the default queue, and on none that is not there", async () => {
    expect((await on("pause", "default")).body.paused).toBe(true);
    for (const action of ["pause", "resume", "purge", "delete"]) {
      expect([action, ...refusal(await on(action, "nothing"))]).toEqual([action, 404, "queue_not_found"]);
      expect([action, paths(await api.post(`/admin/queues/${action}`, { name: "mail" }))]).toEqual([
        action,
        ["queue", "name"],
      ]);
    }
    expect((await read("nothing")).status).toBe(404);
  });
});

describe("purging a queue", () => {
  /** Resolves once no purge of the queue is under way. */
  async function purged(name = "mail") {
    for (let looks = 0; looks < 500; looks++) {
      const { body } = await read(name);
      if (body.purge === null) return body;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error("the purge does not end");
  }

  test("removes what waits in it and nothing else, in the background", async () => {
    const dead = await deadTask(api.store, { queue: "mail" });
    const failed = newTask({ queue: "mail" });
    const running = newTask({ queue: "mail" });
    await api.store.enqueue([failed, running]);
    const claimed = await claim(api.store, 2);
    await api.store.settle(claimed.filter(({ id }) => id === failed.id).map((task) => retry(task, 60_000)));
    await api.store.enqueue([
      ...newTasks(2_500, { queue: "mail" }),
      newTask({ queue: "mail", scheduledAtMs: api.clock.now() + 60_000 }),
    ]);
    const other = newTask();
    await api.store.enqueue([other]);
    const answer = await on("purge");
    expect([answer.status, answer.body]).toEqual([202, { status: "purging", queue: "mail" }]);
    expect((await purged()).counts).toEqual({ ...NO_COUNTS, running: 1, dead: 1 });
    expect((await api.store.get(dead))?.state).toBe("dead");
    expect((await api.store.get(running.id))?.state).toBe("running");
    expect((await api.store.get(other.id))?.state).toBe("ready");
    expect(await lastEntry(api)).toMatchObject({
      action: "queues.purge",
      subject: "mail",
      before: { waiting: 2_502 },
      after: { waiting: 0 },
    });
  });

  test("can be asked for again, and works on an empty queue", async () => {
    await set();
    expect([(await on("purge")).status, (await on("purge")).status]).toEqual([202, 202]);
    expect((await purged()).counts).toEqual(NO_COUNTS);
    expect((await on("purge", "default")).status).toBe(202);
    await purged("default");
  });
});

describe("deleting a queue", () => {
  test("is refused while tasks of it are unfinished, and says how many", async () => {
    await api.store.enqueue(newTasks(2, { queue: "mail" }));
    await api.store.enqueue([newTask({ queue: "mail", scheduledAtMs: api.clock.now() + 1_000 })]);
    await claim(api.store);
    const answer = await on("delete");
    expect(refusal(answer)).toEqual([409, "conflict"]);
    expect(answer.body.detail).toContain("3 unfinished tasks (1 scheduled, 1 ready, 1 running)");
    expect((await read()).status).toBe(200);
  });

  test("removes its rules, and leaves what has ended", async () => {
    await set({ weight: 9 });
    const dead = await deadTask(api.store, { queue: "mail" });
    const answer = await on("delete");
    expect([answer.status, answer.body]).toEqual([200, { status: "deleted", queue: "mail" }]);
    expect((await read()).status).toBe(404);
    expect((await api.store.get(dead))?.state).toBe("dead");
    expect(await lastEntry(api)).toMatchObject({
      action: "queues.delete",
      subject: "mail",
      before: { ...RULES, weight: 9 },
      after: null,
    });
    expect(refusal(await on("delete"))).toEqual([404, "queue_not_found"]);
  });

  test("the default one cannot be deleted", async () => {
    expect(refusal(await on("delete", "default"))).toEqual([409, "conflict"]);
    expect((await read("default")).status).toBe(200);
  });
});

test("the default queue is there even where the store has none", async () => {
  await putSettings(api.store, "queue", "default", () => null);
  expect((await read("default")).body.queue).toBe("default");
  expect((await on("pause", "default")).body.paused).toBe(true);
});
