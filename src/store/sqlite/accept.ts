/** Taking tasks in: one transaction for all that arrived together. */

import { TaskRunnerError } from "../../core/errors.ts";
import { rankOf } from "../../core/priority.ts";
import type { EnqueueResult, StoreSettings } from "../../core/store.ts";
import type { NewTask } from "../../core/task.ts";
import { encodeSpec, namesOf, STATE } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet, Lanes } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Orderings } from "./orderings.ts";

function prepareAll(db: Database) {
  return {
    lastSeq: db.prepare<{ seq: number | null }>("SELECT max(seq) AS seq FROM tasks"),
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

/** Keeps new tasks. */
export class Acceptance {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;
  readonly #lanes: Lanes;
  readonly #names: Names;
  readonly #orderings: Orderings;
  readonly #settings: StoreSettings;

  constructor(db: Database, lanes: Lanes, names: Names, orderings: Orderings, settings: StoreSettings) {
    this.#statements = prepareAll(db);
    this.#db = db;
    this.#lanes = lanes;
    this.#names = names;
    this.#orderings = orderings;
    this.#settings = settings;
  }

  /**
   * Adds tasks in one transaction that is on disk when this returns. `sooner` tells whether any of them can
   * run before everything that was waiting for a time already, so that sleepers should be woken.
   */
  add(tasks: readonly NewTask[], nowMs: number): { results: EnqueueResult[]; sooner: boolean } {
    return this.#db.transaction("disk", () => {
      this.#assertRoom();
      const lanes = this.#lanes.begin();
      let seq = this.#statements.lastSeq.get()?.seq ?? 0;
      let sooner = false;
      let nextDueMs: number | undefined;
      const results = tasks.map((task): EnqueueResult => {
        const scopes = task.name === null && task.idempotencyKey === null ? [] : namesOf(task);
        const holder = scopes.length === 0 ? null : this.#names.holder(scopes, nowMs);
        if (holder !== null) return { kind: "duplicate", id: holder };
        seq += 1;
        const dueMs = Math.max(task.scheduledAtMs ?? nowMs, nowMs);
        if (dueMs > nowMs) nextDueMs ??= this.#statements.nextDue.get()?.due ?? Number.POSITIVE_INFINITY;
        if (dueMs === nowMs || dueMs < (nextDueMs ?? 0)) sooner = true;
        this.#insert(lanes, task, seq, dueMs, nowMs, scopes);
        return {
          kind: "created",
          id: task.id,
          state: dueMs > nowMs ? "scheduled" : "ready",
          scheduledAtMs: task.scheduledAtMs ?? nowMs,
        };
      });
      lanes.flush();
      return { results, sooner };
    });
  }

  #insert(
    lanes: LaneSet,
    task: NewTask,
    seq: number,
    dueMs: number,
    nowMs: number,
    scopes: readonly string[],
  ): void {
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
      task.scheduledAtMs ?? nowMs,
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
