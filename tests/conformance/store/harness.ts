/** What the conformance suite asks of whoever opens a store for it, and the few moves that every test makes. */

import { expect } from "bun:test";
import type {
  ClaimedTask,
  ClaimRequest,
  Settlement,
  StoreSettings,
  TaskStore,
} from "../../../src/core/store.ts";
import type { NewTask, Task } from "../../../src/core/task.ts";
import { NO_LIMITS, setTier } from "./admin.ts";
import { expectSound } from "./inspection.ts";

/** One freshly opened, empty store. */
export interface OpenedStore {
  readonly store: TaskStore;
  /** Moves the store's time by at least `ms`, 1 or more. */
  advance(ms: number): Promise<void>;
  /** The store's time in milliseconds since the epoch. */
  now(): number;
  /** Closes the store and opens it again on the same data. */
  reopen?(): Promise<TaskStore>;
  /** Opens another handle on the same data, as another process would. */
  second?(): Promise<TaskStore>;
  /** Closes whatever is still open and removes the data; the test may have closed the store itself. */
  close(): Promise<void>;
}

export type OpenStore = (settings?: Partial<StoreSettings>) => Promise<OpenedStore>;

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** What the tests count on where they say nothing else; whoever opens a store fills in these. */
export const DEFAULT_SETTINGS: StoreSettings = {
  defaultTier: "free",
  autoCreateQueues: true,
  retentionSucceededMs: HOUR_MS,
  retentionDeadMs: 7 * DAY_MS,
  dedupWindowMs: HOUR_MS,
  maxBytes: 0,
};

export const LEASE_MS = MINUTE_MS;

/** What a test asks of its store. */
export interface StoreAsked extends Partial<StoreSettings> {
  /**
   * The limits of the clients it makes by use, whose tier is `free`: none (so by default, for a test sends thousands
   * of tasks as one client), or those that the tier is built with.
   */
  readonly limits?: "none" | "built-in";
}

/** A test's body with a store of its own, closed whatever happens. */
export function withStore(
  open: OpenStore,
  body: (opened: OpenedStore) => Promise<void>,
  { limits = "none", ...settings }: StoreAsked = {},
): () => Promise<void> {
  return async () => {
    const opened = await open(settings);
    try {
      if (limits === "none") await liftLimits(opened.store);
      await body(opened);
      // Whatever a test has done to its store, nothing in it may be broken.
      await expectSound(opened.store);
    } finally {
      await opened.close();
    }
  };
}

/** Takes the limits off every client that nobody has put into another tier. */
export function liftLimits(store: TaskStore): Promise<void> {
  return setTier(store, DEFAULT_SETTINGS.defaultTier, NO_LIMITS);
}

/** Another handle on the same data; only to be asked of a store that offers it. */
export async function secondOf({ second }: OpenedStore): Promise<TaskStore> {
  if (second === undefined) throw new Error("this store cannot be shared");
  return second();
}

/** The store opened again on the same data; only to be asked of a store that offers it. */
export async function reopened({ reopen }: OpenedStore): Promise<TaskStore> {
  if (reopen === undefined) throw new Error("this store cannot be opened again");
  return reopen();
}

/** Enqueues in one call; every task must be created. */
export async function put(store: TaskStore, ...tasks: readonly NewTask[]): Promise<void> {
  const { results } = await store.enqueue(tasks);
  expect(results.map((result) => result.kind)).toEqual(tasks.map(() => "created"));
}

/** Claims up to `limit` tasks. */
export async function take(
  store: TaskStore,
  limit: number,
  request: Partial<ClaimRequest> = {},
): Promise<readonly ClaimedTask[]> {
  return (await store.claim({ worker: "worker-1", limit, leaseMs: LEASE_MS, ...request })).tasks;
}

/** Claims one task; fails when there is none. */
export async function takeOne(store: TaskStore, request: Partial<ClaimRequest> = {}): Promise<ClaimedTask> {
  const [task] = await take(store, 1, request);
  if (task === undefined) throw new Error("expected a task to claim, there was none");
  return task;
}

/** Claims by `size` until nothing more is to be had now; fails when that never comes. */
export async function drain(store: TaskStore, size = 100): Promise<ClaimedTask[]> {
  const tasks: ClaimedTask[] = [];
  for (let calls = 0; calls < 10_000; calls++) {
    const claim = await store.claim({ worker: "worker-1", limit: size, leaseMs: LEASE_MS });
    tasks.push(...claim.tasks);
    if (claim.tasks.length === 0 && claim.nextInMs !== 0) return tasks;
  }
  throw new Error("there is always more to claim");
}

/** Settles; every lease must have been the current one. */
export async function settle(store: TaskStore, ...settlements: readonly Settlement[]): Promise<void> {
  expect(await store.settle(settlements)).toEqual(settlements.map(() => "settled"));
}

/** The task as the store knows it; fails when it does not. */
export async function read(store: TaskStore, id: string): Promise<Task> {
  const task = await store.get(id);
  if (task === null) throw new Error(`expected the store to know task ${id}`);
  return task;
}

export function idsOf(tasks: readonly { readonly id: string }[]): string[] {
  return tasks.map((task) => task.id);
}

/** Every task that matches, page by page. */
export async function listAll(
  store: TaskStore,
  filter: Omit<Parameters<TaskStore["list"]>[0], "limit" | "cursor"> = {},
  limit = 1_000,
): Promise<Task[]> {
  const tasks: Task[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < 10_000; pages++) {
    const page: Awaited<ReturnType<TaskStore["list"]>> = await store.list({
      ...filter,
      limit,
      ...(cursor === null ? {} : { cursor }),
    });
    expect(page.tasks.length).toBeLessThanOrEqual(limit);
    tasks.push(...page.tasks);
    cursor = page.nextCursor;
    if (cursor === null) return tasks;
  }
  throw new Error("the listing does not end");
}

/** Mulberry32: numbers in [0, 1), small, good enough to wander, and the same on every machine. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How often each value of `of` occurs. */
export function tally<T>(items: readonly T[], of: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[of(item)] = (counts[of(item)] ?? 0) + 1;
  return counts;
}
