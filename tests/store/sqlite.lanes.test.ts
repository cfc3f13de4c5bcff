/** Lanes and the limits they wait for, looked at in the file itself: every count is true, and no lane is forgotten. */

import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Client, limitsOf, newClient, type Tier } from "../../src/core/client.ts";
import { PRIORITIES } from "../../src/core/priority.ts";
import { burstOf, newQueue, type Queue } from "../../src/core/queue.ts";
import type { ClaimedTask, SettingsKind, SettingsOf, TaskStore } from "../../src/core/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { setClient, setQueue, setTier } from "../conformance/store/admin.ts";
import { liftLimits, randomOf, tally } from "../conformance/store/harness.ts";
import { DEFAULT_SETTINGS } from "../conformance/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { death, newTarget, newTask, newTasks, release, retry, success } from "../support/tasks.ts";

const LEASE_MS = 60_000;
const undo: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Opened {
  readonly store: TaskStore;
  readonly clock: ManualClock;
  readonly path: string;
}

async function open(): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-lanes-"));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "store.db");
  const clock = new ManualClock();
  const store = await openSqliteStore({ path, settings: DEFAULT_SETTINGS, clock });
  undo.push(() => store.close());
  await liftLimits(store);
  return { store, clock, path };
}

async function take(store: TaskStore, limit: number): Promise<readonly ClaimedTask[]> {
  return (await store.claim({ worker: "w", limit, leaseMs: LEASE_MS })).tasks;
}

/** Claims one task at a time, each after the one before has ended; who got the turns, in order. */
async function turns(
  store: TaskStore,
  count: number,
  of: (task: ClaimedTask) => string,
  between: () => Promise<void> = async () => {},
): Promise<string[]> {
  const order: string[] = [];
  let held: readonly ClaimedTask[] = [];
  for (let i = 0; i < count; i++) {
    await between();
    const request = { worker: "w", limit: 1, leaseMs: LEASE_MS };
    const { claim } = await store.settleAndClaim(
      held.map((one) => success(one)),
      request,
    );
    held = claim.tasks;
    expect(held.length, `turn ${i}`).toBe(1);
    order.push(...held.map(of));
  }
  return order;
}

test("a client with one slot has its priorities served by weight", async () => {
  const { store } = await open();
  await setClient(store, "c", { overrides: { maxConcurrent: 1 } });
  for (const priority of PRIORITIES) await store.enqueue(newTasks(200, { clientId: "c", priority }));
  const shares = tally(await turns(store, 150, ({ priority }) => priority), (priority) => priority);
  for (const [i, fair] of [80, 40, 20, 10].entries())
    expect(Math.abs((shares[PRIORITIES[i] ?? ""] ?? 0) - fair), PRIORITIES[i] ?? "").toBeLessThanOrEqual(3);
});

test("a queue of one a second has its priorities served by weight, and the clients of each in turn", async () => {
  const { store, clock } = await open();
  await setQueue(store, "slow", { maxDispatchesPerSec: 1, maxBurst: 1 });
  const clients = Array.from({ length: 30 }, (_, i) => `c${i}`);
  for (const clientId of clients) {
    const task = { queue: "slow", clientId };
    await store.enqueue([
      ...newTasks(20, { ...task, priority: "low" }),
      ...newTasks(20, { ...task, priority: "high" }),
    ]);
  }
  const order = await turns(
    store,
    450,
    ({ clientId, priority }) => `${priority} ${clientId}`,
    () => clock.advance(1_000),
  );
  const shares = tally(order, (turn) => turn.split(" ")[0] ?? "");
  expect(Math.abs((shares.high ?? 0) - 360)).toBeLessThanOrEqual(6);
  for (const [priority, each] of [
    ["high", 12],
    ["low", 3],
  ] as const) {
    for (const clientId of clients) {
      const got = order.filter((turn) => turn === `${priority} ${clientId}`).length;
      expect(Math.abs(got - each), `${priority} ${clientId}`).toBeLessThanOrEqual(1);
    }
  }
});

test("the weight of a client's queues holds though it has one slot", async () => {
  const { store } = await open();
  await setClient(store, "c", { overrides: { maxConcurrent: 1 } });
  await setQueue(store, "wide", { weight: 3 });
  for (const queue of ["wide", "plain"]) await store.enqueue(newTasks(100, { clientId: "c", queue }));
  const order = await turns(store, 80, ({ queue }) => queue);
  expect(tally(order, (queue) => queue)).toEqual({ wide: 60, plain: 20 });
});

test("the lanes that wait for a slot take turns, and so does a newcomer", async () => {
  const { store } = await open();
  await setQueue(store, "narrow", { maxConcurrent: 1 });
  for (const clientId of ["a", "b", "c"]) await store.enqueue(newTasks(5, { queue: "narrow", clientId }));
  const [first] = await take(store, 5);
  if (first === undefined) throw new Error("expected a task");
  await store.enqueue(newTasks(5, { queue: "narrow", clientId: "late" }));
  expect(await take(store, 5)).toEqual([]);
  await store.settle([success(first)]);
  const order = await turns(store, 12, ({ clientId }) => clientId);
  for (const round of [0, 4, 8])
    expect(order.slice(round, round + 4).sort()).toEqual(["a", "b", "c", "late"]);
});

test("a lane in the ring that is emptied by a cancel passes its client's free slot on", async () => {
  const { store, path } = await open();
  await setClient(store, "c", { overrides: { maxConcurrent: 1 } });
  const waiting = ["q1", "q2"].flatMap((queue) => newTasks(1, { clientId: "c", queue }));
  await store.enqueue([newTask({ clientId: "c", queue: "q0" }), ...waiting]);
  const [running] = await take(store, 3);
  if (running === undefined) throw new Error("expected a task");
  await store.settle([success(running)]);
  expectTrue(path, 0);
  await store.cancel(waiting[0]?.id ?? "");
  expect((await take(store, 3)).map(({ id }) => id)).toEqual([waiting[1]?.id ?? ""]);
});

for (const seed of [3, 11, 20_260_103]) {
  test(`through a random walk every count in the file is true and no lane is forgotten (seed ${seed})`, async () => {
    const { store, clock, path } = await open();
    const random = randomOf(seed);
    const below = (n: number) => Math.floor(random() * n);
    const one = <T>(items: readonly [T, ...T[]]): T => items[below(items.length)] ?? items[0];
    const cap = () => one([null, 0, 1, 2, 3]);
    const clients = ["a", "b", "c", "d"] as const;
    const queues = ["q", "r", "s"] as const;
    const hosts = ["http://127.0.0.1:9", "http://down.test"] as const;
    let held: ClaimedTask[] = [];
    const operations: readonly (() => Promise<unknown>)[] = [
      () =>
        store.enqueue(
          Array.from({ length: 1 + below(6) }, () =>
            newTask({
              clientId: one(clients),
              queue: one(queues),
              priority: one(["critical", "normal", "low"]),
              orderingKey: one([null, null, "k"]),
              scheduledAtMs: one([null, null, clock.now() + below(20_000)]),
              retentionMs: one([null, 0]),
              target: newTarget({ url: `${one(hosts)}/hook` }),
            }),
          ),
        ),
      async () => held.push(...(await take(store, 1 + below(5)))),
      async () => held.push(...(await take(store, 1 + below(5)))),
      async () => {
        const settlements = held
          .splice(0, 1 + below(4))
          .map((task) =>
            one([
              success,
              death,
              (t: ClaimedTask) => retry(t, below(9_000)),
              (t: ClaimedTask) => release(t, 0),
            ])(task),
          );
        const request = { worker: "w", limit: 1 + below(4), leaseMs: LEASE_MS };
        if (below(2) === 0) await store.settle(settlements);
        else held.push(...(await store.settleAndClaim(settlements, request)).claim.tasks);
      },
      () => clock.advance(1 + below(5_000)),
      async () => {
        if (below(6) > 0) return;
        await clock.advance(LEASE_MS + 1);
        await store.rescue(1 + below(20));
        held = [];
      },
      () => setClient(store, one(clients), { enabled: below(4) > 0, overrides: { maxConcurrent: cap() } }),
      () => setTier(store, "free", { maxConcurrent: cap() }),
      () => store.holdHost(one(hosts), 1 + below(8_000)),
      () => store.freeHost(one(hosts)),
      () =>
        setQueue(store, one(queues), {
          paused: below(4) === 0,
          maxConcurrent: cap(),
          maxDispatchesPerSec: one([null, 0.3, 2]),
          maxBurst: one([null, 1, 4]),
          weight: 1 + below(3),
          afterDeath: one(["next", "hold"]),
          target: one([null, null, { url: `${one(hosts)}/all` }]),
        }),
      async () => {
        const { tasks } = await store.list({ limit: 100 });
        const task = tasks[below(tasks.length)];
        if (task === undefined) return;
        const changes = [
          () => store.cancel(task.id),
          () => store.reschedule(task.id, { priority: one(PRIORITIES) }),
          () => store.reschedule(task.id, { scheduledAtMs: clock.now() + below(9_000) }),
          () => store.runNow(task.id),
          () => store.replayMany([{ id: task.id, notBeforeMs: clock.now() + below(2) * 5_000 }]),
          () => store.forget([task.id]),
        ] as const;
        await one(changes)();
      },
      async () => {
        if (below(8) > 0) return;
        await store.purge(one(queues), {
          atMs: 0,
          actor: "w",
          action: "p",
          subject: "q",
          before: null,
          after: null,
        });
        while ((await store.purgeStep(7)) !== null) expectTrue(path, clock.now());
      },
    ];
    for (let step = 0; step < 500; step++) {
      await (operations[below(operations.length)] ?? (async () => {}))();
      expectTrue(path, clock.now());
    }
  }, 60_000);
}

interface Counted {
  kind: "client" | "queue";
  id: string;
  running: number;
  parked: number;
  inRing: number;
}
interface FlowRow {
  kind: string;
  id: string;
  running: number;
  parked: number;
  tokens: number | null;
  tokens_ms: number | null;
  next_ms: number | null;
}

/** Holds what the file counts against what is in it, and every client and queue that has room against its lanes. */
function expectTrue(path: string, nowMs: number): void {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const wrong = db
      .prepare(
        `SELECT * FROM lanes l WHERE (ready > 0) <> ((turn IS NOT NULL) + (parked > 0) = 1)
           OR (ready = 0 AND (turn IS NOT NULL OR parked > 0 OR since IS NOT NULL OR credit > 0))
           OR (parked > 0 AND since IS NULL)
           OR ready <> (SELECT count(*) FROM tasks t WHERE t.lane = l.id AND t.state = 1)
           OR barred <> (SELECT count(*) FROM tasks t WHERE t.lane = l.id AND t.state = 8)`,
      )
      .all();
    expect(wrong).toEqual([]);
    expectHolds(db);
    const flows = new Map(
      (db.prepare("SELECT * FROM flows").all() as unknown as FlowRow[]).map((row) => [
        `${row.kind}/${row.id}`,
        row,
      ]),
    );
    const counted = (["client", "queue"] as const).flatMap(
      (kind) =>
        db
          .prepare(
            `SELECT '${kind}' AS kind, l.${kind} AS id, sum(parked = ${kind === "client" ? 1 : 2}) AS parked,
               sum(turn IS NOT NULL) AS inRing,
               sum((SELECT count(*) FROM tasks t WHERE t.lane = l.id AND t.lease_ms IS NOT NULL)) AS running
             FROM lanes l GROUP BY l.${kind}`,
          )
          .all() as unknown as Counted[],
    );
    for (const { kind, id, running, parked, inRing } of counted) {
      const flow = flows.get(`${kind}/${id}`);
      flows.delete(`${kind}/${id}`);
      expect({ id, running: flow?.running ?? 0, parked: flow?.parked ?? 0 }).toEqual({ id, running, parked });
      if (parked === 0 || inRing > 0 || (flow?.next_ms ?? Number.POSITIVE_INFINITY) <= nowMs) continue;
      expect({ id, room: roomOf(db, kind, id, running, flow, nowMs) <= 0 }).toEqual({ id, room: true });
      if (kind === "queue") expectToken(db, id, running, flow);
    }
    // What no lane is of any more is in no use.
    for (const { running, parked } of flows.values()) expect([running, parked]).toEqual([0, 0]);
  } finally {
    db.close();
  }
}

/** A task is set aside for a hold that is there and counts it; one whose host was let go is there as long as it does. */
function expectHolds(db: DatabaseSync): void {
  const wrong = db
    .prepare(
      `SELECT id FROM holds h WHERE (host IS NULL AND barred = 0)
         OR barred <> (SELECT count(*) FROM tasks t WHERE t.state = 8 AND t.hold = h.id)
       UNION ALL SELECT seq FROM tasks WHERE (state = 8) <> (hold IS NOT NULL)
         OR (state = 8 AND hold NOT IN (SELECT id FROM holds))`,
    )
    .all();
  expect(wrong).toEqual([]);
}

/** Where a queue's parked lanes wait for nothing but a token, it is known when that comes. */
function expectToken(db: DatabaseSync, id: string, running: number, flow: FlowRow | undefined): void {
  const queue = settingsOf(db, "queue", id) ?? newQueue(0);
  const waitsForToken = !queue.paused && running < (queue.maxConcurrent ?? Number.POSITIVE_INFINITY);
  expect({ id, planned: flow?.next_ms !== null }).toEqual({ id, planned: waitsForToken });
}

function roomOf(
  db: DatabaseSync,
  kind: "client" | "queue",
  id: string,
  running: number,
  flow: FlowRow | undefined,
  nowMs: number,
): number {
  if (kind === "client") {
    const client: Client = settingsOf(db, "client", id) ?? newClient("free", 0);
    const tier: Tier = settingsOf(db, "tier", client.tier) ?? {
      requestsPerMinute: null,
      maxConcurrent: null,
    };
    const { maxConcurrent } = limitsOf(client, tier);
    return client.enabled ? (maxConcurrent ?? Number.POSITIVE_INFINITY) - running : 0;
  }
  const queue: Queue = settingsOf(db, "queue", id) ?? newQueue(0);
  if (queue.paused) return 0;
  const slots = (queue.maxConcurrent ?? Number.POSITIVE_INFINITY) - running;
  if (queue.maxDispatchesPerSec === null) return slots;
  const earned = ((nowMs - (flow?.tokens_ms ?? nowMs)) / 1_000) * queue.maxDispatchesPerSec;
  const tokens = Math.min(burstOf(queue), (flow?.tokens ?? burstOf(queue)) + earned);
  return Math.min(slots, Math.floor(tokens));
}

function settingsOf<K extends SettingsKind>(db: DatabaseSync, kind: K, id: string): SettingsOf[K] | null {
  const row = db.prepare("SELECT value FROM settings WHERE kind = ? AND id = ?").get(kind, id);
  return row === undefined ? null : (JSON.parse(String(row.value)) as SettingsOf[K]);
}
