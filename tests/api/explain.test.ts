import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { NewTask } from "../../src/core/task.ts";
import { death, newTask, newTaskId, newTasks, retry, success } from "../support/tasks.ts";
import { type AdminApi, claim, refusal, startAdminApi } from "./admin-support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi();
  await announce();
});
afterEach(() => api.close());

const announce = (concurrency = 10) =>
  api.store.announce({ id: "w1", version: "1", concurrency, allowPrivateUrls: false, startedAtMs: 0 });
const explain = async (id: string) => (await api.get(`/v1/tasks/${id}/explain`)).body;
const codes = ({ reasons }: { reasons: { code: string }[] }) => reasons.map(({ code }) => code);
const setQueue = (rules: Record<string, unknown>) =>
  api.post("/admin/queues/set", { queue: "default", ...rules });
const setClient = (settings: Record<string, unknown>) =>
  api.post("/admin/clients/set", { client_id: "client-a", ...settings });

async function waiting(overrides: Partial<NewTask> = {}): Promise<string> {
  const task = newTask(overrides);
  await api.store.enqueue([task]);
  return task.id;
}

describe("GET /v1/tasks/{id}/explain", () => {
  test("a task that nothing holds back is likely to run now", async () => {
    const id = await waiting();
    expect(await explain(id)).toEqual({
      task_id: id,
      state: "ready",
      held: false,
      reasons: [],
      next_at: "2026-01-01T00:00:00.000Z",
    });
  });

  test("not_due: until it is", async () => {
    const id = await waiting({ scheduledAtMs: api.clock.now() + 60_000 });
    const { reasons, ...rest } = await explain(id);
    expect(rest).toEqual({
      task_id: id,
      state: "scheduled",
      held: true,
      next_at: "2026-01-01T00:01:00.000Z",
    });
    expect(reasons).toEqual([
      { code: "not_due", detail: expect.any(String), until: "2026-01-01T00:01:00.000Z" },
    ]);
    await api.clock.advance(60_000);
    expect(await explain(id)).toMatchObject({ held: false, reasons: [] });
  });

  test("not_due: of a task to be tried again, with what it failed of", async () => {
    const id = await waiting();
    await api.store.settle((await claim(api.store)).map((task) => retry(task, 5_000)));
    const { state, reasons, next_at } = await explain(id);
    expect([state, next_at]).toEqual(["retrying", "2026-01-01T00:00:05.000Z"]);
    expect(reasons[0]).toMatchObject({ code: "not_due", detail: expect.stringContaining("answered 500") });
  });

  test("queue_paused", async () => {
    const id = await waiting();
    await api.post("/admin/queues/pause", { queue: "default" });
    expect(await explain(id)).toMatchObject({
      held: true,
      reasons: [{ code: "queue_paused", detail: expect.stringContaining("/admin/queues/resume") }],
      next_at: null,
    });
  });

  test("client_disabled", async () => {
    const id = await waiting();
    await setClient({ enabled: false });
    expect(await explain(id)).toMatchObject({ held: true, reasons: [{ code: "client_disabled" }] });
  });

  test("client_limit: how many run, and how many may", async () => {
    await waiting();
    await claim(api.store);
    const id = await waiting();
    expect(await explain(id)).toMatchObject({
      held: true,
      reasons: [{ code: "client_limit", running: 1, limit: 1 }],
      next_at: null,
    });
    await setClient({ overrides: { max_concurrent: 2 } });
    expect(await explain(id)).toMatchObject({ held: false });
    await setClient({ overrides: { max_concurrent: 0 } });
    expect((await explain(id)).reasons).toMatchObject([{ running: 1, limit: 0 }]);
  });

  test("client_limit: that of the default tier, for a client that is not known", async () => {
    await waiting();
    await claim(api.store);
    const id = await waiting();
    await api.post("/admin/clients/delete", { client_id: "client-a" });
    expect((await explain(id)).reasons).toMatchObject([{ code: "client_limit", running: 1, limit: 1 }]);
  });

  test("queue_limit: how many run, and how many may", async () => {
    await setQueue({ max_concurrent: 2 });
    await waiting({ clientId: "b" });
    await waiting({ clientId: "c" });
    await claim(api.store, 2);
    const id = await waiting();
    expect(await explain(id)).toMatchObject({
      reasons: [{ code: "queue_limit", running: 2, limit: 2 }],
      next_at: null,
    });
  });

  test("queue_rate: until the next one may begin", async () => {
    await setQueue({ max_dispatches_per_sec: 0.1 });
    await waiting({ clientId: "b" });
    await claim(api.store);
    const id = await waiting();
    expect(await explain(id)).toMatchObject({
      held: true,
      reasons: [{ code: "queue_rate", until: "2026-01-01T00:00:10.000Z" }],
      next_at: "2026-01-01T00:00:10.000Z",
    });
    await api.clock.advance(10_000);
    expect(await explain(id)).toMatchObject({ held: false });
  });

  test("key_held: by which task, dead ones included where they hold it", async () => {
    await setClient({ tier: "premium" });
    await setQueue({ after_death: "hold" });
    const first = await waiting({ orderingKey: "k" });
    const [running] = await claim(api.store);
    const id = await waiting({ orderingKey: "k" });
    expect(await explain(id)).toMatchObject({
      held: true,
      reasons: [{ code: "key_held", by: first }],
      next_at: null,
    });
    if (running === undefined) throw new Error("nothing was handed out");
    await api.store.settle([death(running)]);
    expect((await explain(id)).reasons).toMatchObject([
      { code: "key_held", by: first, detail: expect.stringContaining("has died") },
    ]);
    await api.post("/admin/dead/purge", {});
    expect(await explain(id)).toMatchObject({ held: false });
  });

  test("waiting_turn: how many others are ready, and how busy the workers are", async () => {
    await api.store.enqueue(newTasks(3, { clientId: "b" }));
    const id = await waiting();
    await waiting({ queue: "other" });
    expect((await explain(id)).reasons).toMatchObject([
      { code: "waiting_turn", ready: 3, running: 0, capacity: 10 },
    ]);
  });

  test("waiting_turn: of a task that is alone while all workers are busy", async () => {
    await announce(1);
    await waiting({ clientId: "b", queue: "other" });
    await claim(api.store);
    const id = await waiting();
    expect((await explain(id)).reasons).toMatchObject([
      { code: "waiting_turn", ready: 0, running: 1, capacity: 1 },
    ]);
  });

  test("no_worker: when none was heard of for 90 s", async () => {
    const id = await waiting();
    await api.clock.advance(89_000);
    expect(codes(await explain(id))).toEqual([]);
    await api.clock.advance(2_000);
    expect(codes(await explain(id))).toEqual(["no_worker"]);
  });

  test("pull_queue: a consumer has to lease it, whatever the workers do", async () => {
    await api.clock.advance(91_000);
    await setQueue({ mode: "pull" });
    const id = await waiting();
    await waiting();
    const { held, reasons } = await explain(id);
    expect(held).toBe(true);
    expect(reasons).toMatchObject([{ code: "waiting_turn", ready: 1, capacity: 0 }, { code: "pull_queue" }]);
    const later = await waiting({ scheduledAtMs: api.clock.now() + 60_000 });
    expect(codes(await explain(later))).toEqual(["not_due"]);
    await api.post("/v1/queues/default/lease", { consumer: "box-3" });
    expect((await explain(id)).reasons).toMatchObject([{ code: "running", worker: "pull:box-3" }]);
  });

  test("every reason at once; with no time for one of them there is none for the task", async () => {
    await setQueue({ max_dispatches_per_sec: 0.001, max_concurrent: 1 });
    await waiting();
    await claim(api.store);
    const id = await waiting({ scheduledAtMs: api.clock.now() + 120_000 });
    await setQueue({ paused: true });
    await setClient({ enabled: false });
    await api.clock.advance(100_000);
    const { held, reasons, next_at } = await explain(id);
    expect([held, next_at]).toEqual([true, null]);
    expect(codes({ reasons })).toEqual([
      "not_due",
      "queue_paused",
      "queue_limit",
      "queue_rate",
      "client_disabled",
      "client_limit",
      "no_worker",
    ]);
  });

  test("of several times the latest counts", async () => {
    await setQueue({ max_dispatches_per_sec: 0.1 });
    await waiting({ clientId: "b" });
    await claim(api.store);
    const id = await waiting({ scheduledAtMs: api.clock.now() + 5_000 });
    expect(await explain(id)).toMatchObject({ next_at: "2026-01-01T00:00:10.000Z" });
    const late = await waiting({ scheduledAtMs: api.clock.now() + 15_000 });
    expect(await explain(late)).toMatchObject({ next_at: "2026-01-01T00:00:15.000Z" });
  });

  test("running: by whom, and how long its lease holds", async () => {
    const id = await waiting();
    await claim(api.store);
    expect(await explain(id)).toEqual({
      task_id: id,
      state: "running",
      held: false,
      reasons: [
        {
          code: "running",
          detail: expect.stringContaining("attempt 1"),
          worker: "w1",
          until: "2026-01-01T00:00:30.000Z",
        },
      ],
      next_at: null,
    });
    await api.clock.advance(31_000);
    expect((await explain(id)).reasons[0].detail).toContain("let its lease run out");
  });

  test("finished: how, and when", async () => {
    const dead = await waiting();
    await api.store.settle((await claim(api.store)).map((task) => death(task)));
    expect(await explain(dead)).toEqual({
      task_id: dead,
      state: "dead",
      held: false,
      reasons: [{ code: "finished", detail: "It was given up at 2026-01-01T00:00:00.000Z: answered 410." }],
      next_at: null,
    });
    const done = await waiting();
    await api.store.settle((await claim(api.store)).map((task) => success(task)));
    expect((await explain(done)).reasons[0].detail).toBe("It succeeded at 2026-01-01T00:00:00.000Z.");
    const cancelled = await waiting();
    await api.store.cancel(cancelled);
    expect((await explain(cancelled)).reasons[0].detail).toContain("It was cancelled at");
  });

  test.each(["nonsense", newTaskId(), "%00"])("does not find %s", async (id) => {
    expect(refusal(await api.get(`/v1/tasks/${id}/explain`))).toEqual([404, "task_not_found"]);
  });

  test("needs no admin key, but the client's own where clients have keys", async () => {
    await api.close();
    api = await startAdminApi({ adminKey: "k3y", clientAuth: "required" });
    const admin = { "x-admin-key": "k3y" };
    const keyOf = async (client: string) =>
      (await api.post("/admin/clients/keys/create", { client_id: client }, admin)).body.key;
    const id = await waiting();
    const path = `/v1/tasks/${id}/explain`;
    expect((await api.get(path)).status).toBe(401);
    expect((await api.get(path, { "x-api-key": await keyOf("other") })).status).toBe(404);
    expect((await api.get(path, { "x-api-key": await keyOf("client-a") })).body.task_id).toBe(id);
    expect((await api.get(path, admin)).body.task_id).toBe(id);
  });
});
