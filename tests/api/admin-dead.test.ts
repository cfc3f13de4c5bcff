import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { newTask, newTaskId, newTasks, success } from "../support/tasks.ts";
import {
  type AdminApi,
  actions,
  claim,
  deadTask,
  lastEntry,
  refusal,
  startAdminApi,
} from "./admin-support.ts";
import { paths } from "./support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi({ settings: { limits: false } });
});
afterEach(() => api.close());

const replay = (body: Record<string, unknown> = {}) => api.post("/admin/dead/replay", body);
const purge = (body: Record<string, unknown> = {}) => api.post("/admin/dead/purge", body);
const stateOf = async (id: string) => (await api.store.get(id))?.state ?? null;

/** Dead tasks, a second apart, the first one first. */
async function deadTasks(count: number, overrides: Parameters<typeof newTask>[0] = {}): Promise<string[]> {
  const ids: string[] = [];
  for (let made = 0; made < count; made++) {
    ids.push(await deadTask(api.store, overrides));
    await api.clock.advance(1_000);
  }
  return ids;
}

describe("POST /admin/dead/replay", () => {
  test("starts all dead tasks over, of every queue, and nothing else", async () => {
    const [first = ""] = await deadTasks(1, { queue: "a" });
    const [second = ""] = await deadTasks(1, { queue: "b" });
    const done = newTask();
    await api.store.enqueue([done]);
    await api.store.settle((await claim(api.store)).map((task) => success(task)));
    const answer = await replay();
    expect([answer.status, answer.body]).toEqual([200, { replayed: 2, next_cursor: null }]);
    const again = await claim(api.store, 10);
    expect(again.map(({ id }) => id).sort()).toEqual([first, second].sort());
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1]);
    expect(await stateOf(done.id)).toBe("succeeded");
  });

  test("takes the body of the guide", async () => {
    const [id = ""] = await deadTasks(1, { queue: "mail", clientId: "shop" });
    const filter = { client_id: "shop", from: "2025-01-01T00:00:00Z" };
    const answer = await replay({ queue: "mail", filter, rate_per_sec: 5 });
    expect(answer.body).toEqual({ replayed: 1, next_cursor: null });
    expect(await stateOf(id)).toBe("ready");
  });

  test("only those that fit", async () => {
    const [mail = ""] = await deadTasks(1, { queue: "mail", clientId: "shop" });
    const [late = ""] = await deadTasks(1, { queue: "mail", clientId: "shop" });
    const [other = ""] = await deadTasks(1, { queue: "mail", clientId: "other" });
    const count = async (body: Record<string, unknown>) => (await replay(body)).body.replayed;
    expect(await count({ queue: "none" })).toBe(0);
    expect(await count({ filter: { client_id: "nobody" } })).toBe(0);
    expect(await count({ filter: { from: "2026-01-01T00:00:03Z" } })).toBe(0);
    expect(await count({ filter: { to: Date.UTC(2026, 0, 1) / 1_000 } })).toBe(0);
    expect(await count({ filter: { to: String(Date.UTC(2026, 0, 1) / 1_000) } })).toBe(0);
    expect(await count({ queue: "mail", filter: { client_id: "shop", to: "2026-01-01T00:00:01Z" } })).toBe(1);
    expect([await stateOf(mail), await stateOf(late), await stateOf(other)]).toEqual([
      "ready",
      "dead",
      "dead",
    ]);
    expect(await count({ filter: { client_id: "shop", from: "2026-01-01T00:00:01Z" } })).toBe(1);
    expect(await stateOf(other)).toBe("dead");
  });

  test("of the tasks that are named those that are dead, and of the queue", async () => {
    const [mail = ""] = await deadTasks(1, { queue: "mail" });
    const [other = ""] = await deadTasks(1, { queue: "other" });
    const waiting = newTask({ queue: "mail" });
    await api.store.enqueue([waiting]);
    const ids = [mail, other, waiting.id, newTaskId(), mail];
    expect((await replay({ queue: "mail", filter: { ids } })).body).toEqual({
      replayed: 1,
      next_cursor: null,
    });
    expect([await stateOf(mail), await stateOf(other)]).toEqual(["ready", "dead"]);
    expect((await replay({ filter: { ids } })).body.replayed).toBe(1);
    expect(await stateOf(other)).toBe("ready");
  });

  test("goes on where it stopped, by its cursor, with named tasks as well", async () => {
    const ids = await deadTasks(5);
    const walk = async (body: Record<string, unknown>) => {
      const counts: number[] = [];
      let cursor: string | null = null;
      for (let steps = 0; steps < 10; steps++) {
        const answer = await purge({ ...body, ...(cursor !== null && { cursor }) });
        counts.push(answer.body.removed);
        cursor = answer.body.next_cursor;
        if (cursor === null) break;
      }
      return counts;
    };
    expect((await replay({ limit: 2, filter: { ids } })).body).toEqual({
      replayed: 2,
      next_cursor: expect.any(String),
    });
    expect(await Promise.all(ids.map(stateOf))).toEqual(["ready", "ready", "dead", "dead", "dead"]);
    expect((await walk({ limit: 2, filter: { ids } })).reduce((sum, count) => sum + count, 0)).toBe(3);
    await deadTasks(5);
    const counts = await walk({ limit: 2 });
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(5);
    expect(Math.max(...counts)).toBe(2);
  });

  test("spaces the runs by the rate, also over several requests", async () => {
    const ids = await deadTasks(4);
    const startMs = api.clock.now();
    const first = await replay({ rate_per_sec: 0.5, limit: 3 });
    expect(first.body.replayed).toBe(3);
    await api.clock.advance(1_000);
    const second = await replay({ rate_per_sec: 0.5, limit: 3, cursor: first.body.next_cursor });
    expect(second.body).toEqual({ replayed: 1, next_cursor: null });
    const tasks = await Promise.all(ids.map((id) => api.store.get(id)));
    const dues = tasks.map((task) => (task?.dueMs ?? 0) - startMs).sort((a, b) => a - b);
    expect(dues).toEqual([0, 2_000, 4_000, 6_000]);
    expect(tasks.map((task) => task?.state).sort()).toEqual(["ready", "scheduled", "scheduled", "scheduled"]);
  });

  test("more than a page of them", async () => {
    await api.store.enqueue(newTasks(1_000));
    await api.store.enqueue(newTasks(1_000));
    for (let rounds = 0; rounds < 2; rounds++) {
      const claimed = await claim(api.store, 1_000);
      await api.store.settle(
        claimed.map(({ id, fence }) => ({
          lease: { taskId: id, fence },
          verdict: { kind: "dead", reason: "no" },
          attempt: null,
        })),
      );
    }
    const first = await replay();
    expect(first.body).toEqual({ replayed: 1_000, next_cursor: expect.any(String) });
    const rest = await purge({ limit: 10_000 });
    expect(rest.body).toEqual({ removed: 1_000, next_cursor: null });
  });

  test("refuses what it does not take", async () => {
    const wrong = {
      queue: "a b",
      filter: { client_id: "a b", ids: ["x"], state: "dead" },
      rate_per_sec: 0,
      limit: 10_001,
      cursor: "",
      all: true,
    };
    expect(paths(await replay(wrong)).sort()).toEqual([
      "all",
      "cursor",
      "filter.client_id",
      "filter.ids.0",
      "filter.state",
      "limit",
      "queue",
      "rate_per_sec",
    ]);
    expect(paths(await replay({ filter: { from: "soon", to: "later" } }))).toEqual([
      "filter.from",
      "filter.to",
    ]);
    expect(paths(await replay({ filter: { ids: [] } }))).toEqual(["filter.ids"]);
    const many = Array.from({ length: 1_001 }, () => newTaskId());
    expect(paths(await replay({ filter: { ids: many } }))).toEqual(["filter.ids"]);
    expect(paths(await purge({ rate_per_sec: 5 }))).toEqual(["rate_per_sec"]);
    for (const cursor of ["x", "~", "999999999999999~1", "~no-cursor!"]) {
      const answer = await replay({ cursor });
      expect([cursor, ...refusal(answer)]).toEqual([cursor, 400, "validation_failed"]);
    }
    expect(refusal(await replay({ filter: { ids: [newTaskId()] }, cursor: "~x" }))).toEqual([
      400,
      "validation_failed",
    ]);
    expect((await api.post("/admin/dead/replay", "x")).status).toBe(400);
  });
});

describe("POST /admin/dead/purge", () => {
  test("removes dead tasks that fit, and nothing else", async () => {
    const [mail = ""] = await deadTasks(1, { queue: "mail", clientId: "shop" });
    const [other = ""] = await deadTasks(1, { queue: "other" });
    const waiting = newTask({ queue: "mail" });
    await api.store.enqueue([waiting]);
    const filter = { to: "2030-01-01T00:00:00Z" };
    const answer = await purge({ queue: "mail", filter, limit: 100 });
    expect([answer.status, answer.body]).toEqual([200, { removed: 1, next_cursor: null }]);
    expect([await stateOf(mail), await stateOf(other), await stateOf(waiting.id)]).toEqual([
      null,
      "dead",
      "ready",
    ]);
    expect((await purge({ queue: "mail" })).body.removed).toBe(0);
    expect((await purge({ filter: { ids: [other, waiting.id] } })).body.removed).toBe(1);
    expect(await stateOf(waiting.id)).toBe("ready");
  });
});

describe("the audit of dead letters", () => {
  test("tells how many, of which queue and by which filter", async () => {
    await deadTasks(2, { queue: "mail", clientId: "shop" });
    const filter = { client_id: "shop" };
    await replay({ queue: "mail", filter, limit: 1, rate_per_sec: 5 });
    expect(await lastEntry(api)).toEqual({
      at: "2026-01-01T00:00:02.000Z",
      actor: "open",
      action: "dead.replay",
      subject: "mail",
      before: null,
      after: { replayed: 1, rate_per_sec: 5, queue: "mail", filter },
    });
    await purge();
    expect(await lastEntry(api)).toMatchObject({
      action: "dead.purge",
      subject: "*",
      after: { removed: 1, queue: null, filter: {} },
    });
  });

  test("keeps the first ids of many, and is silent where nothing was done", async () => {
    const ids = [...(await deadTasks(1)), ...Array.from({ length: 30 }, () => newTaskId())];
    await purge({ filter: { ids: ids.slice(1) } });
    expect((await actions(api)).filter((action) => action.startsWith("dead."))).toEqual([]);
    await purge({ filter: { ids } });
    const { after } = await lastEntry(api);
    expect(after).toEqual({ removed: 1, queue: null, filter: { ids: ids.slice(0, 20), ids_given: 31 } });
  });
});

describe("GET /admin/audit", () => {
  test("lists the latest first, page by page", async () => {
    for (const queue of ["a", "b", "c"]) {
      await api.post("/admin/queues/set", { queue });
      await api.clock.advance(1_000);
    }
    const first = await api.get("/admin/audit?limit=2");
    const subjects = (body: { entries: { subject: string }[] }) => body.entries.map(({ subject }) => subject);
    expect(subjects(first.body)).toEqual(["c", "b"]);
    expect(first.body.entries[0].at).toBe("2026-01-01T00:00:02.000Z");
    const cursor = encodeURIComponent(first.body.next_cursor);
    const rest = await api.get(`/admin/audit?limit=100&cursor=${cursor}`);
    expect(subjects(rest.body)[0]).toBe("a");
    expect(rest.body.next_cursor).toBeNull();
  });

  test("refuses wrong parameters", async () => {
    expect(paths(await api.get("/admin/audit?limit=0&actor=open")).sort()).toEqual(["actor", "limit"]);
    expect(paths(await api.get("/admin/audit?cursor=no-cursor!"))).toEqual(["cursor"]);
  });
});
