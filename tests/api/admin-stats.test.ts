import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { newTarget, newTask, newTasks, success } from "../support/tasks.ts";
import { type AdminApi, claim, refusal, startAdminApi } from "./admin-support.ts";

const DEAD = "http://dead.test:8080";
const target = newTarget({ url: `${DEAD}/hook` });

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi();
  await api.post("/admin/tiers/set", { tier: "free", requests_per_minute: null, max_concurrent: null });
});
afterEach(() => api.close());

const stats = async () => (await api.get("/admin/stats")).body;

describe("GET /admin/stats", () => {
  test("an installation that has nothing to do says so", async () => {
    const { status, body } = await api.get("/admin/stats");
    expect(status).toBe(200);
    expect(body).toEqual({
      store: "sqlite",
      queues: 0,
      tasks: { scheduled: 0, ready: 0, running: 0, retrying: 0, succeeded: 0, dead: 0, cancelled: 0 },
      hosts: [],
      workers: [],
    });
  });

  test("tells tasks over all queues, and the workers that were heard of", async () => {
    await api.store.enqueue([...newTasks(3), ...newTasks(2, { queue: "mail", priority: "high" })]);
    const scheduledAtMs = api.clock.now() + 60_000;
    await api.store.enqueue([newTask({ scheduledAtMs })]);
    const [done, ...running] = await claim(api.store, 3);
    if (done) await api.store.settle([success(done)]);
    const worker = { id: "w1", version: "1.2.3", allowPrivateUrls: false };
    await api.store.announce({ ...worker, concurrency: 7, startedAtMs: api.clock.now() - 5_000 });
    const now = await stats();
    expect(now).toMatchObject({
      queues: 2,
      tasks: { scheduled: 1, ready: 2, running: running.length, succeeded: 1 },
      workers: [
        {
          worker: "w1",
          version: "1.2.3",
          concurrency: 7,
          started_at: "2025-12-31T23:59:55.000Z",
          seen_at: "2026-01-01T00:00:00.000Z",
        },
      ],
    });
    await api.clock.advance(3_600_000);
    expect((await stats()).workers).toEqual([]);
  });

  test("tells the hosts that are held back, and how many tasks wait for each", async () => {
    await api.store.enqueue([...newTasks(4, { target }), ...newTasks(2)]);
    await api.store.holdHost("https://later.test", 60_000);
    await api.store.holdHost(DEAD, 30_000);
    expect((await claim(api.store, 10)).length).toBe(2);
    const { hosts, tasks } = await stats();
    expect(hosts).toEqual([
      { host: DEAD, next_probe_at: "2026-01-01T00:00:30.000Z", tasks: 4 },
      { host: "https://later.test", next_probe_at: "2026-01-01T00:01:00.000Z", tasks: 0 },
    ]);
    expect(tasks).toMatchObject({ ready: 4, running: 2 });
  });

  test("is for whoever has the admin key", async () => {
    const closed = await startAdminApi({ adminKey: "k" });
    try {
      expect(refusal(await closed.get("/admin/stats"))).toEqual([401, "unauthorized"]);
      expect((await closed.get("/admin/stats", { "X-Admin-Key": "k" })).status).toBe(200);
    } finally {
      await closed.close();
    }
  });
});

describe("GET /v1/tasks/{id}/explain", () => {
  const explain = async (id: string) => (await api.get(`/v1/tasks/${id}/explain`)).body;
  const held = {
    code: "host_held",
    host: DEAD,
    until: "2026-01-01T00:00:30.000Z",
    detail: expect.stringContaining(DEAD),
  };

  test("host_held: with the host and when it is tried, whether a claim has met the task or not", async () => {
    await api.store.announce({
      id: "w1",
      version: "1",
      concurrency: 9,
      allowPrivateUrls: false,
      startedAtMs: 0,
    });
    const [task, other] = [newTask({ target }), newTask()];
    await api.store.enqueue([task]);
    await api.store.holdHost(DEAD, 30_000);
    const expected = {
      state: "ready",
      held: true,
      reasons: [held],
      next_at: "2026-01-01T00:00:30.000Z",
    };
    expect(await explain(task.id)).toMatchObject(expected);
    expect(await claim(api.store)).toEqual([]);
    expect(await explain(task.id)).toMatchObject(expected);
    await api.store.enqueue([other]);
    expect(JSON.stringify(await explain(other.id))).not.toContain("host_held");
    await api.store.freeHost(DEAD);
    expect(JSON.stringify(await explain(task.id))).not.toContain("host_held");
  });

  test("host_held: of the host that its queue sends it to, and not in a pull queue", async () => {
    const url = `${DEAD}/all`;
    await api.post("/admin/queues/set", { queue: "sent", target: { url } });
    await api.post("/admin/queues/set", { queue: "pulled", mode: "pull" });
    const [sent, pulled] = [newTask({ queue: "sent" }), newTask({ queue: "pulled", target })];
    const report = newTask({ queue: "sent", metadata: { "task-runner.report_of": sent.id } });
    await api.store.enqueue([sent, pulled, report]);
    await api.store.holdHost(DEAD, 30_000);
    expect((await explain(sent.id)).reasons).toContainEqual(held);
    for (const { id } of [pulled, report])
      expect(JSON.stringify(await explain(id))).not.toContain("host_held");
  });
});
