/** The client against a server that really runs, under a path prefix and behind keys. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, type EnqueueRequest, TaskRunner } from "task-runner/client";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { SECRETS_KEY } from "../support/signing.ts";

const LIMIT_MS = 60_000;
const ADMIN_KEY = "client-admin-key";

let dataDir = "";
let app: AppProcess;
let admin: TaskRunner;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "task-runner-client-"));
  app = await startApp({
    command: "all",
    env: {
      DATA_DIR: dataDir,
      ALLOW_PRIVATE_URLS: "true",
      PATH_PREFIX: "/apps/tasks",
      ADMIN_API_KEY: ADMIN_KEY,
      CLIENT_AUTH: "required",
      SECRETS_KEY,
    },
  });
  admin = new TaskRunner({ url: `${app.url}/apps/tasks`, adminKey: ADMIN_KEY });
  await admin.tiers.set({ tier: "free", requests_per_minute: null, max_concurrent: null });
}, LIMIT_MS);
afterAll(async () => {
  await app.stop();
  await rm(dataDir, { recursive: true, force: true });
}, LIMIT_MS);

const taskOf = (given: Partial<EnqueueRequest> = {}): EnqueueRequest => ({
  client_id: "shop",
  task: { url: `${app.url}/health/live`, method: "GET" },
  ...given,
});
const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "none",
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  );

describe("tasks", () => {
  test(
    "are handed in once by name, and waited for until they end",
    async () => {
      const first = await admin.enqueue(taskOf({ name: "once" }));
      expect(first.status).toBe("enqueued");
      expect(await admin.enqueue(taskOf({ name: "once" }))).toEqual({
        status: "duplicate",
        task_id: first.task_id,
      });
      const task = await admin.tasks.wait(first.task_id);
      expect([task.state, task.attempts[0]?.status]).toEqual(["succeeded", 200]);
      expect((await admin.tasks.explain(first.task_id)).reasons.map(({ code }) => code)).toEqual([
        "finished",
      ]);
    },
    LIMIT_MS,
  );

  test("are handed in in a batch, each with what became of it", async () => {
    const wrong = taskOf({ task: { url: "ftp://example.com/" } });
    const { results, enqueued, rejected } = await admin.enqueueBatch([taskOf({ delay: 3_600 }), wrong]);
    expect([enqueued, rejected]).toEqual([1, 1]);
    const codes = results.map((result) => (result.status === "rejected" ? result.code : result.status));
    expect(codes).toEqual(["enqueued", "target_forbidden"]);
  });

  test(
    "are moved, run, replayed and cancelled",
    async () => {
      const { task_id: id } = await admin.enqueue(taskOf({ delay: 3_600 }));
      expect((await admin.tasks.reschedule(id, { priority: "high" })).priority).toBe("high");
      await admin.tasks.run(id);
      expect((await admin.tasks.wait(id)).state).toBe("succeeded");
      await admin.tasks.replay(id);
      expect((await admin.tasks.wait(id)).attempts.length).toBe(2);
      const { task_id: other } = await admin.enqueue(taskOf({ delay: 3_600 }));
      expect((await admin.tasks.cancel(other)).state).toBe("cancelled");
      expect((await admin.tasks.wait(other)).state).toBe("cancelled");
      expect(await codeOf(admin.tasks.run(other))).toBe("conflict");
    },
    LIMIT_MS,
  );

  test(
    "that do not end in time are told so, with what they are",
    async () => {
      const { task_id: id } = await admin.enqueue(taskOf({ delay: 3_600 }));
      const error: unknown = await admin.tasks.wait(id, { withinMs: 150 }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: "timed_out",
        message: expect.stringContaining("scheduled after 150 ms"),
      });
      const signal = AbortSignal.timeout(50);
      const reason: unknown = await admin.tasks.wait(id, { signal }).catch((thrown: unknown) => thrown);
      expect(reason).toBe(signal.reason);
      expect(await codeOf(admin.tasks.wait("01KAQ6M1T2X5RZ0W9V7B3C4D8E"))).toBe("task_not_found");
    },
    LIMIT_MS,
  );

  test("are walked through page by page, each once, and no page more than is needed", async () => {
    const tasks = Array.from({ length: 5 }, () => taskOf({ queue: "walked", delay: 3_600 }));
    const { results } = await admin.enqueueBatch(tasks);
    const made = results.map((result) => ("task_id" in result ? result.task_id : ""));
    let pages = 0;
    const counting = new TaskRunner({
      url: `${app.url}/apps/tasks`,
      adminKey: ADMIN_KEY,
      fetch: (to, init) => {
        pages++;
        return fetch(to, init);
      },
    });
    const found: string[] = [];
    for await (const { task_id: id } of counting.tasks.all({ queue: "walked", limit: 2 })) found.push(id);
    expect(found.sort()).toEqual(made.sort());
    expect(pages).toBe(3);
    for await (const _ of counting.tasks.all({ queue: "walked", limit: 2 })) break;
    expect(pages).toBe(4);
    const page = await admin.tasks.list({ queue: "walked", state: "dead" });
    expect(page).toEqual({ tasks: [], next_cursor: null });
  });
});

describe("keys", () => {
  test("of a client open its own tasks and nothing else, until they are revoked", async () => {
    const { key, key_id } = await admin.clients.createKey({ client_id: "own", label: "test" });
    const own = new TaskRunner({ url: `${app.url}/apps/tasks/`, apiKey: key });
    const { task_id: id } = await own.enqueue(taskOf({ client_id: "own", delay: 3_600 }));
    expect((await own.tasks.cancel(id)).client_id).toBe("own");
    expect(await codeOf(own.enqueue(taskOf()))).toBe("forbidden");
    expect(await codeOf(own.stats())).toBe("unauthorized");
    expect((await admin.clients.revokeKey("own", key_id)).keys).toEqual([]);
    expect(await codeOf(own.tasks.get(id))).toBe("unauthorized");
    expect(await codeOf(new TaskRunner({ url: app.url }).tasks.get(id))).toBe("not_found");
  });
});

describe("settings", () => {
  test("of clients and tiers are set, read, listed and deleted", async () => {
    const tier = await admin.tiers.set({ tier: "partner", requests_per_minute: 300, max_concurrent: null });
    expect(await admin.tiers.list()).toContainEqual(tier);
    await admin.clients.set({ client_id: "partner-7", tier: "partner" });
    expect((await admin.clients.get("partner-7")).limits).toEqual({
      requests_per_minute: 300,
      max_concurrent: null,
    });
    const { secret_id, secret } = await admin.clients.createSecret("partner-7");
    expect(secret).toStartWith("whsec_");
    expect((await admin.clients.revokeSecret("partner-7", secret_id)).signing).toEqual([]);
    const ids: string[] = [];
    for await (const { client_id: id } of admin.clients.all()) ids.push(id);
    expect(ids).toContain("partner-7");
    await admin.clients.delete("partner-7");
    await admin.tiers.delete("partner");
    expect(await codeOf(admin.clients.get("partner-7"))).toBe("client_not_found");
    const { entries } = await admin.audit({ limit: 2 });
    expect(entries.map(({ action }) => action)).toEqual(["tiers.delete", "clients.delete"]);
  });

  test("of queues are set, paused, purged and deleted", async () => {
    expect((await admin.queues.set({ queue: "mail", weight: 5 })).weight).toBe(5);
    expect((await admin.queues.pause("mail")).paused).toBe(true);
    expect((await admin.queues.resume("mail")).paused).toBe(false);
    const { secret_id } = await admin.queues.createSecret("mail");
    expect((await admin.queues.revokeSecret("mail", secret_id)).signing).toEqual([]);
    await admin.queues.purge("mail");
    const names: string[] = [];
    for await (const { queue } of admin.queues.all()) names.push(queue);
    expect(names).toContain("mail");
    await admin.queues.delete("mail");
    expect(await codeOf(admin.queues.get("mail"))).toBe("queue_not_found");
    expect((await admin.queues.list({ limit: 1 })).queues.length).toBe(1);
    expect((await admin.stats()).workers.length).toBe(1);
  });

  test(
    "let dead tasks be started over and removed",
    async () => {
      const task = { url: `${app.url}/no-such-page`, method: "GET" };
      const { task_id: id } = await admin.enqueue(
        taskOf({ queue: "dying", task, retry: { max_attempts: 1 } }),
      );
      expect((await admin.tasks.wait(id)).state).toBe("dead");
      expect(await admin.dead.replay({ queue: "dying" })).toEqual({ replayed: 1, next_cursor: null });
      expect((await admin.tasks.wait(id)).state).toBe("dead");
      expect(await admin.dead.purge({ queue: "dying" })).toEqual({ removed: 1, next_cursor: null });
    },
    LIMIT_MS,
  );
});

describe("a pull queue", () => {
  test(
    "hands its tasks to who waits for them, who extends, gives back and acks",
    async () => {
      await admin.queues.set({ queue: "render", mode: "pull", retry: { min_backoff_sec: 0, jitter: 0 } });
      expect(await admin.pull.lease("render")).toEqual([]);
      const waiting = admin.pull.lease("render", { wait_sec: 30, consumer: "box-3" });
      const { task_id: id } = await admin.enqueue(taskOf({ queue: "render", task: { body: { page: 7 } } }));
      const [leased] = await waiting;
      expect([leased?.task_id, leased?.task.body]).toEqual([id, '{"page":7}']);
      const lease = leased?.lease ?? "";
      expect(await admin.pull.extend([lease], { lease_sec: 90 })).toEqual([{ lease, status: "extended" }]);
      expect(await admin.pull.nack([{ lease, error: "no ink" }])).toEqual([{ lease, status: "nacked" }]);
      const [again] = await admin.pull.lease("render", { wait_sec: 30 });
      expect(again?.attempt).toBe(2);
      const done = again?.lease ?? "";
      const results = await admin.pull.ack([{ lease: done, response: "3 pages" }, lease]);
      expect(results.map(({ status }) => status)).toEqual(["acked", "lost"]);
      expect((await admin.tasks.wait(id)).attempts.map(({ error }) => error)).toEqual(["no ink", null]);
      const controller = new AbortController();
      const broken = admin.pull.lease("render", { wait_sec: 30 }, { signal: controller.signal });
      controller.abort();
      expect(await broken.catch((thrown: unknown) => thrown)).toBe(controller.signal.reason);
    },
    LIMIT_MS,
  );
});

test("what the schemas do not have is refused by the compiler as by the server", async () => {
  const { task } = taskOf();
  const refused = [
    // @ts-expect-error: it is client_id
    admin.enqueue({ clientId: "shop", task }),
    // @ts-expect-error: there is no such priority
    admin.enqueue({ client_id: "shop", task, priority: "urgent" }),
    // @ts-expect-error: there is no such rule
    admin.queues.set({ queue: "q", speed: 1 }),
    // @ts-expect-error: there is no such state
    admin.tasks.list({ state: "done" }),
  ];
  for (const call of refused) expect(await codeOf(call)).toBe("validation_failed");
});
