/** The look at everything that callers can see of a store, after every step: it must be what the model says. */

import assert from "node:assert/strict";
import type { ClientUse, HeldHost, Kept, LaneCounts, QueueUse, TaskStore } from "../../src/core/store.ts";
import { TASK_STATES, type Task } from "../../src/core/task.ts";
import { assertNextOfKey } from "./claims.ts";
import type { QueueModel } from "./model.ts";
import { keyOf, type ModelTask, viewOf } from "./task.ts";
import { CLIENTS, QUEUES } from "./values.ts";

const PAGE = 1_000;

/** All that is asked is asked at once: nothing changes meanwhile, and a store that is far away answers it together. */
export async function look(model: QueueModel, store: TaskStore, nowMs: number): Promise<void> {
  const { limits } = model;
  const [tasks, counts, holders, clientUses, queueUses, hosts, ...settings] = await Promise.all([
    listAll(store),
    store.counts(),
    askHolders(model, store),
    store.clientUse(CLIENTS),
    store.queueUse(QUEUES),
    store.heldHosts(),
    store.page("client", { limit: PAGE }),
    store.page("queue", { limit: PAGE }),
    store.page("tier", { limit: PAGE }),
  ]);
  assertTasks(model, tasks, nowMs);
  assertCounts(counts, tasks);
  acceptHolders(model, holders, nowMs);
  assertClients(model, clientUses, nowMs);
  assertQueues(model, queueUses, nowMs);
  assertHosts(model, hosts, nowMs);
  for (const [at, known] of [limits.clients, limits.queues, limits.tiers].entries())
    assertSettings(settings[at]?.items ?? [], known);
  // Those that wait beside a host that is held back may be set aside, and come back in whatever order.
  for (const task of model.unfinished) if (model.isHeldBack(task)) task.isLoose = true;
}

export async function listAll(store: TaskStore): Promise<Task[]> {
  const tasks: Task[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < 100; pages++) {
    const page: Awaited<ReturnType<TaskStore["list"]>> = await store.list({
      limit: PAGE,
      ...(cursor === null ? {} : { cursor }),
    });
    tasks.push(...page.tasks);
    cursor = page.nextCursor;
    if (cursor === null) return tasks;
  }
  throw new Error("the listing does not end");
}

function assertTasks(model: QueueModel, tasks: readonly Task[], nowMs: number): void {
  assert.deepEqual(
    tasks.map(({ id }) => id).sort(),
    [...model.tasks.keys()].sort(),
    "the tasks that are there",
  );
  let newestMs = Number.POSITIVE_INFINITY;
  for (const task of tasks) {
    const known = model.tasks.get(task.id);
    assert.ok(known !== undefined);
    assert.deepEqual(task, seen(known, task, nowMs), `task ${task.id}`);
    assert.ok(task.createdAtMs <= newestMs, "a listing is not the newest first");
    newestMs = task.createdAtMs;
  }
}

/** What is to be seen of a task: that a time has come is seen at once, or once a claim has looked. */
export function seen(known: ModelTask, as: Pick<Task, "state">, nowMs: number): Task {
  const isUnderWay = known.state === "scheduled" || known.state === "retrying";
  if (isUnderWay && as.state === "ready" && known.dueMs <= nowMs) known.state = "ready";
  return viewOf(known);
}

function assertCounts(counts: readonly LaneCounts[], tasks: readonly Task[]): void {
  const counted: string[] = [];
  for (const { queue, priority, states } of counts)
    for (const state of TASK_STATES)
      for (let n = 0; n < states[state]; n++) counted.push(`${queue} ${priority} ${state}`);
  const listed = tasks.map(({ queue, priority, state }) => `${queue} ${priority} ${state}`);
  assert.deepEqual(counted.sort(), listed.sort(), "the counts by queue, priority and state");
}

/** Who holds a key that tasks there are have. */
interface Holder {
  readonly key: string;
  readonly tasks: readonly ModelTask[];
  readonly id: string | null;
}

function askHolders(model: QueueModel, store: TaskStore): Promise<Holder[]> {
  const members = new Map<string, ModelTask[]>();
  for (const task of model.tasks.values()) {
    const key = keyOf(task.given);
    if (key !== null) members.set(key, [...(members.get(key) ?? []), task]);
  }
  return Promise.all(
    [...members].map(async ([key, tasks]) => ({
      key,
      tasks,
      id: await store.keyHolder(tasks[0]?.given.id ?? ""),
    })),
  );
}

/** Learns who holds each key that is free as far as the model knows, and holds the store to the others. */
export async function observeKeys(model: QueueModel, store: TaskStore, nowMs: number): Promise<void> {
  acceptHolders(model, await askHolders(model, store), nowMs);
}

function acceptHolders(model: QueueModel, holders: readonly Holder[], nowMs: number): void {
  for (const { key, tasks, id } of holders) {
    const known = model.keys.get(key) ?? null;
    if (known !== null) {
      assert.equal(id, known, `the holder of key ${key}`);
    } else if (id === null) {
      const ready = tasks.filter(({ state }) => state === "ready").map(({ given }) => given.id);
      assert.deepEqual(ready, [], `tasks that wait for the key ${key}, which nobody holds`);
    } else {
      const heir = model.tasks.get(id);
      assert.ok(heir !== undefined, `the key ${key} is held by ${id}, which is no task`);
      assertNextOfKey(model, key, heir, nowMs);
      model.keys.set(key, id);
    }
  }
}

function assertClients({ limits }: QueueModel, uses: readonly ClientUse[], nowMs: number): void {
  assert.deepEqual(
    uses,
    CLIENTS.map((id) => ({
      running: limits.runningOf("clientId", id),
      requests: limits.requestsOf(id, nowMs),
    })),
    `the use of ${CLIENTS.join(", ")}`,
  );
}

function assertQueues({ limits, purges }: QueueModel, uses: readonly QueueUse[], nowMs: number): void {
  for (const [at, name] of QUEUES.entries()) {
    const use = uses[at];
    assert.ok(use !== undefined);
    const { running, nextDispatchAtMs, purge } = use;
    assert.equal(running, limits.runningOf("queue", name), `tasks running of ${name}`);
    const { leastMs, mostMs } = limits.untilToken(name, nowMs);
    const inMs = nextDispatchAtMs === null ? 0 : nextDispatchAtMs - nowMs;
    assert.ok(
      inMs >= leastMs && inMs <= mostMs,
      `the next token of ${name} is said to come in ${inMs} ms, and does in ${leastMs} to ${mostMs} ms`,
    );
    const known = purges.get(name);
    assert.deepEqual(
      purge === null ? null : { ...purge, share: 0 },
      known === undefined
        ? null
        : { queue: name, startedAtMs: known.startedAtMs, removed: known.removed, share: 0 },
      `the purge of ${name}`,
    );
  }
}

function assertHosts(model: QueueModel, held: readonly HeldHost[], nowMs: number): void {
  assert.deepEqual(held.map(({ host }) => host).sort(), [...model.holds.keys()].sort(), "the held hosts");
  let soonestMs = Number.NEGATIVE_INFINITY;
  for (const { host, nextProbeAtMs, tasks } of held) {
    const nextMs = model.holds.get(host)?.nextMs ?? 0;
    if (nextMs > nowMs) assert.equal(nextProbeAtMs, nextMs, `when ${host} is probed`);
    else assert.ok(nextProbeAtMs >= nextMs, `when ${host} is probed`);
    assert.ok(nextProbeAtMs >= soonestMs, "held hosts are not told in the order of their probes");
    soonestMs = nextProbeAtMs;
    // Of any queue and host: those whose queue goes elsewhere by now are only found out by the next claim.
    const most = model.due(nowMs).length;
    assert.ok(tasks >= 0 && tasks <= most, `${tasks} tasks are set aside for ${host}, of ${most}`);
  }
}

function assertSettings(items: readonly Kept<unknown>[], known: ReadonlyMap<string, unknown>): void {
  assert.deepEqual(
    items.map(({ id, value }) => [id, value]),
    [...known].sort(([a], [b]) => (a < b ? -1 : 1)),
    "the settings",
  );
}
