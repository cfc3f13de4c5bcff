/** A purge that goes on while its queue is in use removes what waited when it began, and nothing else. */

import { afterEach, expect, test } from "bun:test";
import type { TaskStore } from "../../src/core/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { auditEntry } from "../conformance/store/admin.ts";
import { idsOf, LEASE_MS, liftLimits, listAll, put, settle, takeOne } from "../conformance/store/harness.ts";
import { DEFAULT_SETTINGS } from "../conformance/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTask, newTasks, retry, success } from "../support/tasks.ts";

const undo: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

async function open(): Promise<TaskStore> {
  const store = await openSqliteStore({
    path: ":memory:",
    settings: DEFAULT_SETTINGS,
    clock: new ManualClock(),
  });
  undo.push(() => store.close());
  await liftLimits(store);
  return store;
}

async function finishPurge(store: TaskStore): Promise<number> {
  let removed = 0;
  for (let step = await store.purgeStep(2); step !== null; step = await store.purgeStep(2))
    removed = step.removed;
  return removed;
}

test("a task that ran when it began, and waits again by the time it is come to, stays", async () => {
  const store = await open();
  await put(store, ...newTasks(3));
  const running = await takeOne(store);
  await store.purge("default", auditEntry());
  await settle(store, retry(running, 60_000));
  expect(await finishPurge(store)).toBe(2);
  expect(idsOf(await listAll(store))).toEqual([running.id]);
});

test("a task that was finished when it began, and is replayed meanwhile, stays", async () => {
  const store = await open();
  await put(store, ...newTasks(3));
  const [done, forced] = [await takeOne(store), await takeOne(store)];
  await settle(store, success(done), success(forced));
  await store.purge("default", auditEntry());
  await store.replay(done.id);
  await store.replayMany([{ id: forced.id, notBeforeMs: 0 }]);
  expect(await finishPurge(store)).toBe(1);
  expect(idsOf(await listAll(store, { state: "ready" })).sort()).toEqual([done.id, forced.id].sort());
});

test("a task that comes after it stays, though it takes the place in the file of one that has gone", async () => {
  const store = await open();
  const tasks = newTasks(4, { retentionMs: 0 });
  await put(store, ...tasks);
  await store.purge("default", auditEntry());
  // The latest task ends and is dropped before the purge comes to it.
  const claimed = (await store.claim({ worker: "w", limit: 4, leaseMs: LEASE_MS })).tasks;
  await settle(store, ...claimed.map((one) => success(one)));
  const after = newTask();
  await put(store, after);
  expect(await finishPurge(store)).toBe(0);
  expect(idsOf(await listAll(store))).toEqual([after.id]);
});
