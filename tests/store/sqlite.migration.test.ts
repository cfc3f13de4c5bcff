/** What becomes of a file of an earlier version: its leases count, and its clients and queues are known. */

import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BUILT_IN_TIERS } from "../../src/core/client.ts";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { hostOf } from "../../src/core/host.ts";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { auditEntry } from "../conformance/store/admin.ts";
import { DEFAULT_SETTINGS } from "../conformance/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTask } from "../support/tasks.ts";

const undo: (() => void)[] = [];

afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

/** The path of a file of version 1, with three tasks under lease and three that wait. */
function oldFile(): string {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-migration-"));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "store.db");
  const db = new DatabaseSync(path);
  db.exec(readFileSync(join(import.meta.dir, "sqlite.version-1.sql"), "utf8"));
  db.close();
  return path;
}

async function open(path: string, settings: Partial<StoreSettings> = {}): Promise<TaskStore> {
  const clock = new ManualClock();
  const store = await openSqliteStore({ path, settings: { ...DEFAULT_SETTINGS, ...settings }, clock });
  undo.push(() => void store.close());
  return store;
}

test("an older file's leases take slots, a cancelled task's too, until they end", async () => {
  const store = await open(oldFile());
  const running = async () => (await store.clientUse(["alice", "bob", "carol"])).map((use) => use.running);
  expect(await running()).toEqual([2, 1, 0]);
  expect((await store.queueUse(["mail", "default", "later"])).map((use) => use.running)).toEqual([2, 1, 0]);
  // Of the tier free each may have one running: alice has two, so hers wait.
  expect((await store.claim({ worker: "w", limit: 10, leaseMs: 60_000 })).tasks).toEqual([]);
  const cancelled = await store.get("01KDVFGG00000000000000000C");
  const lease = { taskId: cancelled?.id ?? "", fence: cancelled?.fence ?? 0 };
  expect(await store.settle([{ lease, verdict: { kind: "succeeded" }, attempt: null }])).toEqual([
    "cancelled",
  ]);
  expect(await running()).toEqual([2, 0, 0]);
});

test("an older file's waiting tasks go on as its leases end", async () => {
  const store = await open(oldFile(), { defaultTier: "basic" });
  const { tasks } = await store.claim({ worker: "w", limit: 10, leaseMs: 60_000 });
  expect(tasks.map((task) => task.id)).toEqual(["01KDVFGG00000000000000000D", "01KDVFGG00000000000000000E"]);
  expect(await store.clientUse(["alice"])).toEqual([{ running: 4, requests: 0 }]);
});

test("an older file's tasks can be set aside for their host", async () => {
  const store = await open(oldFile(), { defaultTier: "basic" });
  const before = (await store.list({ limit: 100 })).tasks.filter(({ state }) => state === "ready");
  for (const host of new Set(before.map(({ target }) => hostOf(target.url))))
    await store.holdHost(host, 60_000);
  for (let claims = 0; claims < 5; claims++)
    expect((await store.claim({ worker: "w", limit: 10, leaseMs: 60_000 })).tasks).toEqual([]);
  const held = await store.heldHosts();
  expect(held.reduce((sum, { tasks }) => sum + tasks, 0)).toBe(before.length);
  expect(before.length).toBeGreaterThan(0);
});

test("an older file's clients and queues are registered, with the default tier", async () => {
  const store = await open(oldFile(), { defaultTier: "basic", autoCreateQueues: false });
  const clients = await store.page("client", { limit: 10 });
  expect(clients.items.map(({ id, value }) => [id, value.tier])).toEqual([
    ["alice", "basic"],
    ["bob", "basic"],
    ["carol", "basic"],
  ]);
  const queues = await store.page("queue", { limit: 10 });
  expect(queues.items.map(({ id }) => id)).toEqual(["default", "later", "mail"]);
  const revisions = [...clients.items, ...queues.items].map(({ revision }) => revision);
  expect(new Set(revisions).size).toBe(revisions.length);
  const { results } = await store.enqueue([newTask({ queue: "mail" }), newTask({ queue: "new" })]);
  expect(results.map(({ kind }) => kind)).toEqual(["created", "refused"]);
});

test("a default tier that there is not is refused, naming those there are, and leaves nothing open", async () => {
  const path = oldFile();
  for (const round of [1, 2]) {
    const refused = await open(path, { defaultTier: "gold" }).then(
      () => null,
      (error: unknown) => error,
    );
    expect(refused, `round ${round}`).toBeInstanceOf(TaskRunnerError);
    expect(refused).toMatchObject({
      code: "validation_failed",
      message:
        "DEFAULT_CLIENT_TIER is gold: there is no such tier; there are free, basic, premium, enterprise",
    });
  }
  const store = await open(path);
  expect((await store.read("client", "alice"))?.value.tier).toBe("free");
  await store.change(
    { kind: "tier", id: "gold", from: null, value: BUILT_IN_TIERS.basic ?? null },
    auditEntry(),
  );
  await store.close();
  await expect(open(path, { defaultTier: "gold" })).resolves.toBeDefined();
});
