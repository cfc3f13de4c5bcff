/** Taking tasks in: one transaction for all that arrived together. */

import { TaskRunnerError } from "../../core/errors.ts";
import { rankOf } from "../../core/priority.ts";
import type { EnqueueResult, RateState, StoreSettings } from "../../core/store.ts";
import type { NewTask } from "../../core/task.ts";
import { Admission } from "./admission.ts";
import { encodeSpec, namesOf, STATE, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet, Lanes } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Orderings } from "./orderings.ts";
import type { Promotions } from "./promotions.ts";
import type { Windows } from "./windows.ts";

/** Due tasks that go to their lanes before a task of an ordering key is taken in. */
const MAX_PROMOTED = 100;

function prepareAll(db: Database) {
  return {
    // What a purge under way will look at is never given out again, or it would remove a task that came after it.
    lastSeq: db.prepare<{ seq: number }>(
      `SELECT max(coalesce((SELECT max(seq) FROM tasks), 0), coalesce((SELECT max(last) FROM purges), 0)) AS seq`,
    ),
    known: db.prepare<Pick<TaskRow, "id" | "state" | "scheduled_ms">>(
      "SELECT id, state, scheduled_ms FROM tasks WHERE id IN (SELECT value FROM json_each(?))",
    ),
    nextDue: db.prepare<{ due: number | null }>(
      `SELECT min(due_ms) AS due FROM tasks WHERE state IN (${STATE.scheduled}, ${STATE.retrying})`,
    ),
    addTask: db.prepare(
      `INSERT INTO tasks (seq, id, lane, state, due_ms, created_ms, scheduled_ms, retention_ms, ordering, named)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    addSpec: db.prepare("INSERT INTO specs (seq, spec, body) VALUES (?, ?, ?)"),
  };
}

/** What became of the tasks of one call. */
export interface Accepted {
  readonly results: EnqueueResult[];
  readonly rates: ReadonlyMap<string, RateState>;
  /** Whether any can run before everything that was waiting for a time already, so that sleepers should be woken. */
  readonly sooner: boolean;
}

/** Keeps new tasks. */
export class Acceptance {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;
  readonly #lanes: Lanes;
  readonly #names: Names;
  readonly #orderings: Orderings;
  readonly #windows: Windows;
  readonly #promotions: Promotions;
  readonly #settings: StoreSettings;

  constructor(
    db: Database,
    lanes: Lanes,
    names: Names,
    orderings: Orderings,
    windows: Windows,
    promotions: Promotions,
    settings: StoreSettings,
  ) {
    this.#statements = prepareAll(db);
    this.#db = db;
    this.#lanes = lanes;
    this.#names = names;
    this.#orderings = orderings;
    this.#windows = windows;
    this.#promotions = promotions;
    this.#settings = settings;
  }

  /** Adds the tasks that are admitted, in one transaction that is on disk when this returns. */
  add(tasks: readonly NewTask[], nowMs: number): Accepted {
    return this.#db.transaction("disk", () => {
      this.#assertRoom();
      const lanes = this.#lanes.begin(nowMs);
      const admission = new Admission(lanes.rules, this.#windows, this.#settings.autoCreateQueues, nowMs);
      let seq = this.#lastSeq();
      let sooner = false;
      let nextDueMs: number | undefined;
      const known = this.#known(tasks);
      // One that fell due before may be the next of the same key, and nobody has claimed since.
      if (tasks.some(({ orderingKey }) => orderingKey !== null))
        this.#promotions.promote(lanes, MAX_PROMOTED, nowMs);
      const results = tasks.map((task): EnqueueResult => {
        const told = known.get(task.id);
        if (told !== undefined) return told;
        const scopes = scopesOf(task);
        const refusal = this.#duplicate(scopes, nowMs) ?? admission.refusal(task);
        if (refusal !== null) return refusal;
        seq += 1;
        const dueMs = dueMsOf(task, nowMs);
        if (dueMs > nowMs) nextDueMs ??= this.#statements.nextDue.get()?.due ?? Number.POSITIVE_INFINITY;
        if (dueMs === nowMs || dueMs < (nextDueMs ?? 0)) sooner = true;
        this.#insert(lanes, task, seq, dueMs, nowMs, scopes);
        const created = createdOf(task.id, dueMs > nowMs, plannedMs(task, nowMs));
        known.set(task.id, created);
        return created;
      });
      const rates = admission.finish(tasks);
      lanes.finish();
      return { results, rates, sooner };
    });
  }

  /** Adds tasks that follow from another, within the caller's transaction; those that are there already stay. */
  follow(lanes: LaneSet, tasks: readonly NewTask[], nowMs: number): void {
    const known = this.#known(tasks);
    for (const task of tasks) {
      const scopes = scopesOf(task);
      if (known.has(task.id) || this.#duplicate(scopes, nowMs) !== null) continue;
      this.#insert(lanes, task, this.#lastSeq() + 1, dueMsOf(task, nowMs), nowMs, scopes);
    }
  }

  #lastSeq(): number {
    return this.#statements.lastSeq.get()?.seq ?? 0;
  }

  /** What those tasks are told again that were handed in before, by their ids. */
  #known(tasks: readonly NewTask[]): Map<string, EnqueueResult> {
    const rows = this.#statements.known.all(JSON.stringify(tasks.map(({ id }) => id)));
    return new Map(
      rows.map(({ id, state, scheduled_ms }) => [id, createdOf(id, state === STATE.scheduled, scheduled_ms)]),
    );
  }

  #duplicate(scopes: readonly string[], nowMs: number): EnqueueResult | null {
    const holder = scopes.length === 0 ? null : this.#names.holder(scopes, nowMs);
    return holder === null ? null : { kind: "duplicate", id: holder };
  }

  #insert(
    lanes: LaneSet,
    task: NewTask,
    seq: number,
    dueMs: number,
    nowMs: number,
    scopes: readonly string[],
  ): void {
    lanes.rules.register(task.clientId, task.queue);
    const lane = lanes.named(task.queue, rankOf(task.priority), task.clientId);
    const ordering = task.orderingKey === null ? null : this.#orderings.join(task.queue, task.orderingKey);
    const state = dueMs > nowMs ? "scheduled" : this.#orderings.arrive({ seq, ordering });
    this.#statements.addTask.run(
      seq,
      task.id,
      lane.id,
      STATE[state],
      dueMs,
      nowMs,
      plannedMs(task, nowMs),
      task.retentionMs,
      ordering,
      scopes.length > 0 ? 1 : 0,
    );
    this.#statements.addSpec.run(seq, encodeSpec(task), task.target.body);
    this.#names.take(scopes, task.id);
    lanes.count(lane, null, state);
  }

  /** Refuses before the file outgrows its bound, so that what is in it can still be worked off. */
  #assertRoom(): void {
    const { maxBytes } = this.#settings;
    if (maxBytes === 0 || this.#db.usedBytes() < maxBytes) return;
    throw new TaskRunnerError(
      "store_full",
      `the store holds its limit of ${maxBytes} bytes (STORE_MAX_BYTES)`,
      {
        retryAfterSec: 10,
      },
    );
  }
}

const scopesOf = (task: NewTask): string[] =>
  task.name === null && task.idempotencyKey === null ? [] : namesOf(task);

const plannedMs = ({ scheduledAtMs, delayMs = 0 }: NewTask, nowMs: number): number =>
  scheduledAtMs ?? nowMs + delayMs;

const dueMsOf = (task: NewTask, nowMs: number): number => Math.max(plannedMs(task, nowMs), nowMs);

const createdOf = (id: string, isScheduled: boolean, scheduledAtMs: number): EnqueueResult => ({
  kind: "created",
  id,
  state: isScheduled ? "scheduled" : "ready",
  scheduledAtMs,
});
