/** Handing tasks out: due ones are promoted, then the rings of lanes are walked in turn. */

import { PRIORITIES, PriorityTurns } from "../../core/priority.ts";
import type { Claim, ClaimedTask, ClaimRequest } from "../../core/store.ts";
import { type ClaimRow, claimedTaskOf, STATE, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { Lane, LaneSet } from "./lanes.ts";
import type { Orderings } from "./orderings.ts";

/** Due tasks promoted in one claim, as a multiple of those it takes: enough that waiting for promotion never limits it. */
const PROMOTE_FACTOR = 2;
const MIN_PROMOTED = 100;

const RANKS = PRIORITIES.map((_, rank) => rank);

function prepareAll(db: Database) {
  return {
    due: db.prepare<Pick<TaskRow, "seq" | "lane" | "state" | "ordering">>(
      `SELECT seq, lane, state, ordering FROM tasks
       WHERE state IN (${STATE.scheduled}, ${STATE.retrying}) AND due_ms <= ? ORDER BY due_ms, seq LIMIT ?`,
    ),
    nextDue: db.prepare<{ due: number | null }>(
      `SELECT min(due_ms) AS due FROM tasks WHERE state IN (${STATE.scheduled}, ${STATE.retrying})`,
    ),
    promote: db.prepare("UPDATE tasks SET state = ? WHERE seq = ?"),
    head: db.prepare<ClaimRow>(
      `SELECT t.seq, t.id, t.scheduled_ms, t.attempts, t.crashes, t.fence, t.first_attempt_ms, s.spec, s.body
       FROM tasks t JOIN specs s ON s.seq = t.seq
       WHERE t.lane = ? AND t.state = ${STATE.ready} ORDER BY t.due_ms, t.seq LIMIT ?`,
    ),
    lease: db.prepare(
      `UPDATE tasks SET state = ${STATE.running}, fence = ?, lease_ms = ?, worker = ? WHERE seq = ?`,
    ),
  };
}

/** Leases waiting tasks to workers. */
export class Claims {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #orderings: Orderings;
  /** Whose turn it is among the priorities; each process keeps its own, so all of them together keep the weights. */
  readonly #turns = new PriorityTurns();

  constructor(db: Database, orderings: Orderings) {
    this.#statements = prepareAll(db);
    this.#orderings = orderings;
  }

  /** Promotes and leases within the caller's transaction. */
  take(lanes: LaneSet, request: ClaimRequest, nowMs: number): Claim {
    this.#promote(lanes, Math.max(request.limit * PROMOTE_FACTOR, MIN_PROMOTED), nowMs);
    lanes.flush();
    const tasks: ClaimedTask[] = [];
    let active = RANKS.filter((rank) => lanes.hasWork(rank));
    // Each round either fills the claim or empties the ring of at least one priority, so it ends.
    while (tasks.length < request.limit && active.length > 0) {
      const dealt = this.#turns.deal(request.limit - tasks.length, active);
      for (const rank of active) this.#takeRank(lanes, rank, dealt[rank] ?? 0, request, nowMs, tasks);
      lanes.flush();
      active = active.filter((rank) => lanes.hasWork(rank));
    }
    return { tasks, nextInMs: active.length > 0 ? 0 : this.#nextInMs(nowMs) };
  }

  /** Takes up to `turns` tasks from one priority: every lane of the ring has its turn before any has a second. */
  #takeRank(
    lanes: LaneSet,
    rank: number,
    turns: number,
    request: ClaimRequest,
    nowMs: number,
    into: ClaimedTask[],
  ): void {
    let left = turns;
    while (left > 0) {
      const ring = lanes.ring(rank, left);
      if (ring.length === 0) return;
      const share = Math.floor(left / ring.length);
      const extra = left % ring.length;
      for (const [place, lane] of ring.entries()) {
        left -= this.#takeLane(lanes, lane, share + (place < extra ? 1 : 0), request, nowMs, into);
      }
      // The turn after the last one dealt is that of the first lane without an extra one: it goes first next time.
      for (const lane of [...ring.slice(extra), ...ring.slice(0, extra)]) lanes.rotate(lane);
    }
  }

  /** Takes up to `count` tasks from the head of a lane; how many there were. */
  #takeLane(
    lanes: LaneSet,
    lane: Lane,
    count: number,
    request: ClaimRequest,
    nowMs: number,
    into: ClaimedTask[],
  ): number {
    const rows = this.#statements.head.all(lane.id, count);
    const leaseUntilMs = nowMs + request.leaseMs;
    for (const row of rows) {
      // The time makes the fence grow even where a power cut has undone the record of an earlier lease.
      const fence = Math.max(row.fence + 1, nowMs);
      this.#statements.lease.run(fence, leaseUntilMs, request.worker, row.seq);
      into.push(claimedTaskOf(row, lane, fence, leaseUntilMs));
    }
    lanes.count(lane, "ready", "running", rows.length);
    // A counter that promises more than is there would keep an empty lane in the ring for ever.
    if (rows.length < count) lane.ready = 0;
    return rows.length;
  }

  #promote(lanes: LaneSet, limit: number, nowMs: number): void {
    for (const row of this.#statements.due.all(nowMs, limit)) {
      const state = this.#orderings.arrive(row);
      this.#statements.promote.run(STATE[state], row.seq);
      lanes.count(lanes.get(row.lane), row.state === STATE.retrying ? "retrying" : "scheduled", state);
    }
  }

  /** How long until the next waiting task falls due: 0 when one already has. */
  #nextInMs(nowMs: number): number | null {
    const dueMs = this.#statements.nextDue.get()?.due ?? null;
    return dueMs === null ? null : Math.max(0, dueMs - nowMs);
  }
}
