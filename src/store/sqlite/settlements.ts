/** Taking tasks back: settling, extending and rescuing leases, and the one way a task ends. */

import type {
  LeaseRef,
  LostLease,
  Rescued,
  Settlement,
  SettleResult,
  StoreSettings,
} from "../../core/store.ts";
import { keepAttempt } from "../../core/task.ts";
import type { Acceptance } from "./accept.ts";
import { decodeAttempts, encodeAttempts, STATE, type StoredState, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { Lane, LaneSet } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Orderings } from "./orderings.ts";

type LeasedRow = Pick<
  TaskRow,
  | "seq"
  | "id"
  | "lane"
  | "state"
  | "due_ms"
  | "attempts"
  | "crashes"
  | "releases"
  | "fence"
  | "lease_ms"
  | "worker"
  | "first_attempt_ms"
  | "retention_ms"
  | "ordering"
  | "named"
  | "attempt_log"
>;

const LEASED_COLUMNS = `seq, id, lane, state, due_ms, attempts, crashes, releases, fence, lease_ms, worker,
  first_attempt_ms, retention_ms, ordering, named, attempt_log`;

function prepareAll(db: Database) {
  return {
    byId: db.prepare<LeasedRow>(`SELECT ${LEASED_COLUMNS} FROM tasks WHERE id = ?`),
    expired: db.prepare<LeasedRow>(
      `SELECT ${LEASED_COLUMNS} FROM tasks WHERE lease_ms <= ? ORDER BY lease_ms LIMIT ?`,
    ),
    extend: db.prepare("UPDATE tasks SET lease_ms = ? WHERE seq = ?"),
    end: db.prepare(
      `UPDATE tasks SET state = ?, reason = ?, attempts = ?, crashes = ?, first_attempt_ms = ?, attempt_log = ?,
         finished_ms = ?, expires_ms = ?, lease_ms = NULL, worker = NULL WHERE seq = ?`,
    ),
    giveBack: db.prepare(
      `UPDATE tasks SET state = ?, reason = ?, due_ms = ?, attempts = ?, crashes = ?, releases = ?,
         first_attempt_ms = ?, attempt_log = ?, lease_ms = NULL, worker = NULL WHERE seq = ?`,
    ),
    endCancelled: db.prepare(
      `UPDATE tasks SET attempts = ?, crashes = ?, first_attempt_ms = ?, attempt_log = ?, expires_ms = ?,
         lease_ms = NULL, worker = NULL WHERE seq = ?`,
    ),
    dropTask: db.prepare("DELETE FROM tasks WHERE seq = ?"),
    dropSpec: db.prepare("DELETE FROM specs WHERE seq = ?"),
  };
}

/** What a lease's end adds to a task's record. */
interface LeaseRecord {
  readonly attempts: number;
  readonly firstAttemptMs: number | null;
  readonly log: string | null;
}

/** Ends leases. All methods work within the caller's transaction. */
export class Settlements {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #names: Names;
  readonly #orderings: Orderings;
  readonly #acceptance: Acceptance;
  readonly #settings: StoreSettings;

  constructor(
    db: Database,
    names: Names,
    orderings: Orderings,
    acceptance: Acceptance,
    settings: StoreSettings,
  ) {
    this.#statements = prepareAll(db);
    this.#names = names;
    this.#orderings = orderings;
    this.#acceptance = acceptance;
    this.#settings = settings;
  }

  settle(lanes: LaneSet, settlement: Settlement, nowMs: number): SettleResult {
    const { lease, verdict, followUps } = settlement;
    const row = this.#statements.byId.get(lease.taskId);
    if (row === undefined || row.lease_ms === null || row.fence !== lease.fence) return "stale";
    const record = recordOf(row, settlement);
    if (row.state === STATE.cancelled) {
      this.#endCancelled(lanes, row, record, row.crashes, nowMs);
      return "cancelled";
    }
    switch (verdict.kind) {
      case "succeeded":
        this.#end(lanes, row, "succeeded", null, record, row.crashes, nowMs);
        break;
      case "dead":
        this.#end(lanes, row, "dead", verdict.reason, record, row.crashes, nowMs);
        break;
      case "retry":
        this.#giveBack(
          lanes,
          row,
          "retrying",
          verdict.reason,
          nowMs + verdict.afterMs,
          record,
          row.crashes,
          row.releases,
        );
        break;
      case "released": {
        // Given back for now it keeps its due time, and with it its place at the head of its lane.
        const state = verdict.afterMs > 0 ? "scheduled" : "ready";
        const dueMs = verdict.afterMs > 0 ? nowMs + verdict.afterMs : row.due_ms;
        this.#giveBack(lanes, row, state, verdict.reason, dueMs, record, row.crashes, row.releases + 1);
        break;
      }
    }
    if (followUps !== undefined) this.#acceptance.follow(lanes, followUps, nowMs);
    return "settled";
  }

  extend(lease: LeaseRef, untilMs: number): LostLease | null {
    const row = this.#statements.byId.get(lease.taskId);
    if (row === undefined || row.lease_ms === null || row.fence !== lease.fence)
      return { ...lease, why: "stale" };
    // The worker of a cancelled task keeps its lease until it has let go: the slot is in use as long.
    this.#statements.extend.run(untilMs, row.seq);
    return row.state === STATE.cancelled ? { ...lease, why: "cancelled" } : null;
  }

  /** Takes back tasks whose lease has run out: each worker's death is counted, no attempt is. */
  rescue(lanes: LaneSet, limit: number, nowMs: number): Rescued[] {
    return this.#statements.expired.all(nowMs, limit).map((row): Rescued => {
      const crashes = row.crashes + 1;
      const rescued = { id: row.id, worker: row.worker ?? "", crashes };
      const record = { attempts: row.attempts, firstAttemptMs: row.first_attempt_ms, log: row.attempt_log };
      if (row.state === STATE.cancelled) {
        this.#endCancelled(lanes, row, record, crashes, nowMs);
        return { ...rescued, state: "cancelled" };
      }
      const reason = `its worker ${rescued.worker} let the lease run out`;
      this.#giveBack(lanes, row, "ready", reason, row.due_ms, record, crashes, row.releases);
      return { ...rescued, state: "ready" };
    });
  }

  /** How long a task of the lane that ends in `state` stays readable: as it says, or its queue, or the store. */
  retentionMsOf(
    lanes: LaneSet,
    lane: Lane,
    row: Pick<TaskRow, "retention_ms">,
    state: "succeeded" | "dead" | "cancelled",
  ): number {
    if (row.retention_ms !== null) return row.retention_ms;
    const queue = lanes.rules.queue(lane.queue);
    return state === "dead"
      ? (queue.retentionDeadMs ?? this.#settings.retentionDeadMs)
      : (queue.retentionSucceededMs ?? this.#settings.retentionSucceededMs);
  }

  /** Forgets a finished task, and with it the ordering key that may have been kept for it. */
  forget(lanes: LaneSet, row: Pick<TaskRow, "seq" | "lane" | "ordering">, state: StoredState): void {
    if (state === "dead" && this.#orderings.isHeldBy(row)) this.#orderings.leave(lanes, row);
    this.drop(lanes, row, state);
  }

  /** Removes a task's rows; its lane no longer counts it. */
  drop(lanes: LaneSet, row: Pick<TaskRow, "seq" | "lane">, state: StoredState): void {
    this.#statements.dropTask.run(row.seq);
    this.#statements.dropSpec.run(row.seq);
    lanes.count(lanes.get(row.lane), state, null);
  }

  #end(
    lanes: LaneSet,
    row: LeasedRow,
    state: "succeeded" | "dead",
    reason: string | null,
    record: LeaseRecord,
    crashes: number,
    nowMs: number,
  ): void {
    const lane = lanes.get(row.lane);
    lanes.count(lane, "running", state);
    lanes.giveBackSlot(lane);
    this.#names.release(row, nowMs);
    const retentionMs = this.retentionMsOf(lanes, lane, row, state);
    const keepsKey =
      state === "dead" && retentionMs > 0 && lanes.rules.queue(lane.queue).afterDeath === "hold";
    if (!keepsKey) this.#orderings.leave(lanes, row);
    if (retentionMs === 0) {
      this.drop(lanes, row, state);
      return;
    }
    this.#statements.end.run(
      STATE[state],
      reason,
      record.attempts,
      crashes,
      record.firstAttemptMs,
      record.log,
      nowMs,
      nowMs + retentionMs,
      row.seq,
    );
  }

  /** The lease of a task that was cancelled while it ran is over: only now its key and its rows may go. */
  #endCancelled(lanes: LaneSet, row: LeasedRow, record: LeaseRecord, crashes: number, nowMs: number): void {
    const lane = lanes.get(row.lane);
    lanes.giveBackSlot(lane);
    this.#orderings.leave(lanes, row);
    const retentionMs = this.retentionMsOf(lanes, lane, row, "cancelled");
    if (retentionMs === 0) {
      this.drop(lanes, row, "cancelled");
      return;
    }
    this.#statements.endCancelled.run(
      record.attempts,
      crashes,
      record.firstAttemptMs,
      record.log,
      nowMs + retentionMs,
      row.seq,
    );
  }

  #giveBack(
    lanes: LaneSet,
    row: LeasedRow,
    state: "ready" | "scheduled" | "retrying",
    reason: string,
    dueMs: number,
    record: LeaseRecord,
    crashes: number,
    releases: number,
  ): void {
    const lane = lanes.get(row.lane);
    lanes.count(lane, "running", state);
    lanes.giveBackSlot(lane);
    this.#statements.giveBack.run(
      STATE[state],
      reason,
      dueMs,
      record.attempts,
      crashes,
      releases,
      record.firstAttemptMs,
      record.log,
      row.seq,
    );
  }
}

function recordOf(row: LeasedRow, { attempt }: Settlement): LeaseRecord {
  if (attempt === null)
    return { attempts: row.attempts, firstAttemptMs: row.first_attempt_ms, log: row.attempt_log };
  const log = row.attempt_log === null ? [attempt] : keepAttempt(decodeAttempts(row.attempt_log), attempt);
  return {
    attempts: row.attempts + 1,
    firstAttemptMs: row.first_attempt_ms ?? attempt.startedAtMs,
    log: encodeAttempts(log),
  };
}
