/** What the tests of inspections share: a store with something of everything in it, and what is said of one that is broken. */

import { expect } from "bun:test";
import { inspectAll, type Violation } from "../../src/core/inspection.ts";
import type { ClaimedTask, TaskStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import { setClient } from "../conformance/store/admin.ts";
import { HOUR_MS, put, settle, take } from "../conformance/store/harness.ts";
import { newTask, newTasks, success } from "../support/tasks.ts";

export interface Filled {
  readonly running: ClaimedTask;
  readonly done: ClaimedTask;
  readonly ready: readonly NewTask[];
  readonly scheduled: NewTask;
  readonly named: NewTask;
  /** Of one ordering key: the second waits for the first. */
  readonly ordered: readonly [NewTask, NewTask];
  /** Of a client that may run one task, which it does. */
  readonly limited: readonly NewTask[];
}

/** Puts tasks in the states that can break into a store, and nothing else. */
export async function fill(store: TaskStore, nowMs: number): Promise<Filled> {
  const [running, done] = newTasks(2, { queue: "first" });
  if (running === undefined || done === undefined) throw new Error("two were made");
  await setClient(store, "limited", { overrides: { maxConcurrent: 1 } });
  await put(store, running, done);
  const claimed = await take(store, 2);
  const held = claimed.find(({ id }) => id === running.id);
  const ended = claimed.find(({ id }) => id === done.id);
  if (held === undefined || ended === undefined) throw new Error("both were to be claimed");
  await settle(store, success(ended));
  const limited = newTasks(3, { clientId: "limited" });
  await put(store, ...limited);
  await take(store, 2);
  const ready = newTasks(3);
  const scheduled = newTask({ scheduledAtMs: nowMs + HOUR_MS });
  const named = newTask({ name: "named", scheduledAtMs: nowMs + HOUR_MS });
  const ordered = [
    newTask({ orderingKey: "key", queue: "ordered" }),
    newTask({ orderingKey: "key", queue: "ordered" }),
  ] as const;
  await put(store, ...ready, scheduled, named, ...ordered);
  return { running: held, done: ended, ready, scheduled, named, ordered, limited };
}

/** What an inspection says, less its order. */
export async function saidOf(store: TaskStore, repair = false): Promise<readonly Violation[]> {
  return (await inspectAll(store, { repair })).violations;
}

/** A store in which just this is broken is found to be so, is mended where that can be, and is sound from then on. */
export async function expectFound(
  store: TaskStore,
  expected: Pick<Violation, "kind"> & Partial<Violation>,
  { mends }: { readonly mends: boolean },
): Promise<void> {
  const { mended: _, ...said } = { mended: false, ...expected };
  const found = await saidOf(store);
  expect(found).toEqual([expect.objectContaining({ ...said, mended: false })]);
  const mended = await saidOf(store, true);
  expect(mended).toEqual([expect.objectContaining({ ...said, mended: mends })]);
  expect(await saidOf(store)).toEqual(mends ? [] : [...found]);
}
