/** What a person may do to one task: cancel it, move it, run it now, or start it over. */

import { rankOf } from "../../core/priority.ts";
import type { ChangeResult, Reschedule } from "../../core/store.ts";
import { isFinal, isWaiting, type TaskState } from "../../core/task.ts";
import {
  type FullRow,
  SELECT_BODILESS,
  SELECT_FULL,
  STATE,
  type StoredState,
  stateName,
  storedState,
  taskOf,
} from "./codec.ts";
import type { Database } from "./database.ts";
import type { Holds } from "./holds.ts";
import type { LaneSet } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Orderings } from "./orderings.ts";
import type { Purges } from "./purges.ts";
import type { Settlements } from "./settlements.ts";

function prepareAll(db: Database) {
  return {
    full: db.prepare<FullRow>(`${SELECT_FULL} WHERE t.id = ?`),
    bodiless: db.prepare<FullRow>(`${SELECT_BODILESS} WHERE t.id = ?`),
    write: db.prepare(
      `UPDATE tasks SET lane = ?, state = ?, due_ms = ?, attempts = ?, crashes = ?, releases = ?,
         first_attempt_ms = ?, finished_ms = ?, expires_ms = ?, ordering = ?, hold = ?, reason = ? WHERE seq = ?`,
    ),
    countCancel: db.prepare("UPDATE meta SET value = value + 1 WHERE key = 'cancels'"),
  };
}

/** The state a task is in for whoever asks: a cancelled one whose request is still being broken off is not over yet. */
function stateNow(row: FullRow): TaskState {
  return row.lease_ms === null ? stateName(row.state) : "running";
}

/** Changes single tasks within the caller's transaction. */
export class Changes {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #names: Names;
  readonly #orderings: Orderings;
  readonly #settlements: Settlements;
  readonly #purges: Purges;
  readonly #holds: Holds;

  constructor(
    db: Database,
    names: Names,
    orderings: Orderings,
    settlements: Settlements,
    purges: Purges,
    holds: Holds,
  ) {
    this.#statements = prepareAll(db);
    this.#names = names;
    this.#orderings = orderings;
    this.#settlements = settlements;
    this.#purges = purges;
    this.#holds = holds;
  }

  cancel(lanes: LaneSet, id: string, nowMs: number): ChangeResult {
    const row = this.#statements.full.get(id);
    if (row === undefined) return { kind: "not_found" };
    const from = storedState(row.state);
    const running = from === "running";
    if (!running && !isWaiting(stateName(row.state)))
      return { kind: "conflict", state: stateName(row.state) };
    lanes.count(lanes.get(row.lane), from, "cancelled");
    this.#names.release(row, nowMs);
    row.state = STATE.cancelled;
    row.finished_ms = nowMs;
    row.reason = "cancelled on request";
    if (running) {
      // The request is still on its way: the lease, and with it the slot, the ordering key and these rows,
      // stay until the worker has broken it off, or has died.
      this.#statements.countCancel.run();
      this.#write(row);
      return { kind: "changed", task: taskOf(row) };
    }
    this.#holds.leave(row);
    this.#orderings.leave(lanes, row);
    const retentionMs = this.#settlements.retentionMsOf(lanes, lanes.get(row.lane), row, "cancelled");
    row.expires_ms = nowMs + retentionMs;
    if (retentionMs === 0) this.#settlements.drop(lanes, row, "cancelled");
    else this.#write(row);
    return { kind: "changed", task: taskOf(row) };
  }

  reschedule(lanes: LaneSet, id: string, change: Reschedule, nowMs: number): ChangeResult {
    const row = this.#statements.full.get(id);
    if (row === undefined) return { kind: "not_found" };
    if (!isWaiting(stateName(row.state))) return { kind: "conflict", state: stateName(row.state) };
    const from = storedState(row.state);
    if (change.priority !== undefined && rankOf(change.priority) !== row.rank) {
      const rank = rankOf(change.priority);
      lanes.count(lanes.get(row.lane), from, null);
      const lane = lanes.named(row.queue, rank, row.client);
      lanes.count(lane, null, from);
      row.lane = lane.id;
      row.rank = rank;
    }
    const toMs = change.delayMs === undefined ? change.scheduledAtMs : nowMs + change.delayMs;
    if (toMs !== undefined) this.#move(lanes, row, from, toMs, nowMs);
    this.#write(row);
    return { kind: "changed", task: taskOf(row) };
  }

  runNow(lanes: LaneSet, id: string, nowMs: number): ChangeResult {
    const row = this.#statements.full.get(id);
    if (row === undefined) return { kind: "not_found" };
    if (!isWaiting(stateName(row.state))) return { kind: "conflict", state: stateName(row.state) };
    const from = storedState(row.state);
    if (from === "scheduled" || from === "retrying") this.#move(lanes, row, from, nowMs, nowMs);
    // The next claim looks at its host anew; its place in its lane stays.
    if (from === "barred") this.#comeBack(lanes, row);
    this.#write(row);
    return { kind: "changed", task: taskOf(row) };
  }

  replay(lanes: LaneSet, id: string, nowMs: number): ChangeResult {
    const row = this.#statements.full.get(id);
    if (row === undefined) return { kind: "not_found" };
    const state = stateNow(row);
    if (!isFinal(state)) return { kind: "conflict", state };
    this.#startOver(lanes, row, nowMs, nowMs);
    return { kind: "changed", task: taskOf(row) };
  }

  /** Starts a task over no earlier than `notBeforeMs`, if it is finished; the state it was in, null for no such task. */
  replayFrom(lanes: LaneSet, id: string, notBeforeMs: number, nowMs: number): TaskState | null {
    const row = this.#statements.bodiless.get(id);
    if (row === undefined) return null;
    const state = stateNow(row);
    if (isFinal(state)) this.#startOver(lanes, row, notBeforeMs, nowMs);
    return state;
  }

  /** Removes a finished task before its time; whether there was one. */
  forget(lanes: LaneSet, id: string): boolean {
    const row = this.#statements.bodiless.get(id);
    if (row === undefined || !isFinal(stateNow(row))) return false;
    this.#settlements.forget(lanes, row, storedState(row.state));
    return true;
  }

  /** The task that holds the ordering key of a task; null when it has no key or nobody holds it. */
  keyHolder(id: string): string | null {
    const row = this.#statements.bodiless.get(id);
    const key = row === undefined ? null : taskOf(row).orderingKey;
    return row === undefined || key === null ? null : this.#orderings.holderOf(row.queue, key);
  }

  #startOver(lanes: LaneSet, row: FullRow, notBeforeMs: number, nowMs: number): void {
    const from = storedState(row.state);
    row.attempts = 0;
    row.crashes = 0;
    row.releases = 0;
    row.first_attempt_ms = null;
    row.finished_ms = null;
    row.expires_ms = null;
    row.reason = null;
    row.due_ms = Math.max(notBeforeMs, nowMs);
    const orderingKey = taskOf(row).orderingKey;
    // A dead task whose key was kept for it still has it.
    if (orderingKey !== null && !this.#orderings.isHeldBy(row))
      row.ordering = this.#orderings.join(row.queue, orderingKey);
    const to = row.due_ms > nowMs ? "scheduled" : this.#orderings.arrive(row);
    row.state = STATE[to];
    lanes.count(lanes.get(row.lane), from, to);
    this.#names.retake(row, nowMs);
    this.#purges.spare(row.queue, row.seq);
    this.#write(row);
  }

  /** A task that was set aside for its host is ready again. */
  #comeBack(lanes: LaneSet, row: FullRow): void {
    this.#holds.leave(row);
    row.state = STATE.ready;
    lanes.count(lanes.get(row.lane), "barred", "ready");
  }

  /** Gives a waiting task another due time, and the state that goes with it. */
  #move(lanes: LaneSet, row: FullRow, from: StoredState, atMs: number, nowMs: number): void {
    row.due_ms = Math.max(atMs, nowMs);
    this.#holds.leave(row);
    let to: StoredState;
    if (row.due_ms > nowMs) {
      // A retry keeps its place at the head of its ordering key; a first run that moves away lets the next one go.
      to = from === "retrying" ? "retrying" : "scheduled";
      if (to === "scheduled") this.#orderings.yield(lanes, row);
    } else {
      to = from === "held" ? "held" : this.#orderings.arrive(row);
    }
    row.state = STATE[to];
    lanes.count(lanes.get(row.lane), from, to);
  }

  #write(row: FullRow): void {
    this.#statements.write.run(
      row.lane,
      row.state,
      row.due_ms,
      row.attempts,
      row.crashes,
      row.releases,
      row.first_attempt_ms,
      row.finished_ms,
      row.expires_ms,
      row.ordering,
      row.hold,
      row.reason,
      row.seq,
    );
  }
}
