/** Emptying a queue in the background: its waiting tasks are removed step by step, so that nobody waits for it. */

import type { PurgeProgress } from "../../core/store.ts";
import { isWaiting } from "../../core/task.ts";
import { stateName, storedState, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { Holds } from "./holds.ts";
import type { LaneSet } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Orderings } from "./orderings.ts";
import type { Settlements } from "./settlements.ts";

interface PurgeRow {
  id: number;
  queue: string;
  first: number;
  done: number;
  last: number;
  started_ms: number;
  removed: number;
}

type PassedRow = Pick<TaskRow, "seq" | "id" | "lane" | "state" | "ordering" | "hold" | "named">;

function prepareAll(db: Database) {
  return {
    span: db.prepare<{ first: number | null; last: number | null }>(
      "SELECT (SELECT min(seq) FROM tasks) AS first, (SELECT max(seq) FROM tasks) AS last",
    ),
    of: db.prepare<PurgeRow>("SELECT * FROM purges WHERE queue = ?"),
    oldest: db.prepare<PurgeRow>("SELECT * FROM purges ORDER BY id LIMIT 1"),
    add: db.prepare("INSERT INTO purges (queue, first, done, last, started_ms) VALUES (?, ?, ?, ?, ?)"),
    goOn: db.prepare("UPDATE purges SET done = ?, removed = ? WHERE id = ?"),
    remove: db.prepare("DELETE FROM purges WHERE queue = ?"),
    passed: db.prepare<PassedRow>(
      `SELECT seq, id, lane, state, ordering, hold, named FROM tasks
       WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?`,
    ),
    spareRunning: db.prepare(
      `INSERT INTO spared (queue, seq) SELECT l.queue, t.seq FROM tasks t JOIN lanes l ON l.id = t.lane
       WHERE t.lease_ms IS NOT NULL AND l.queue = ?`,
    ),
    spare: db.prepare(
      "INSERT OR IGNORE INTO spared (queue, seq) SELECT queue, ?2 FROM purges WHERE queue = ?1",
    ),
    isSpared: db.prepare<{ seq: number }>("SELECT seq FROM spared WHERE queue = ? AND seq = ?"),
    removeSpared: db.prepare("DELETE FROM spared WHERE queue = ?"),
  };
}

/** Purges within the caller's transaction. */
export class Purges {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #names: Names;
  readonly #orderings: Orderings;
  readonly #holds: Holds;

  constructor(db: Database, names: Names, orderings: Orderings, holds: Holds) {
    this.#statements = prepareAll(db);
    this.#names = names;
    this.#orderings = orderings;
    this.#holds = holds;
  }

  /** Begins anew, whatever was under way in the queue. */
  begin(queue: string, nowMs: number): void {
    const { span, add, spareRunning } = this.#statements;
    this.#end(queue);
    const { first, last } = span.get() ?? { first: null, last: null };
    const before = (first ?? 1) - 1;
    add.run(queue, before, before, last ?? before, nowMs);
    spareRunning.run(queue);
  }

  /** A finished task starts over: it did not wait when the purge began, so it is no part of it. */
  spare(queue: string, seq: number): void {
    this.#statements.spare.run(queue, seq);
  }

  /** The purge of a queue; null when none is under way. */
  progressOf(queue: string): PurgeProgress | null {
    const row = this.#statements.of.get(queue);
    return row === undefined ? null : progressOf(row);
  }

  /** Goes on with the oldest purge past `limit` tasks of any queue; how far it is, or null when there is none. */
  step(lanes: LaneSet, settlements: Settlements, limit: number): PurgeProgress | null {
    const { oldest, passed, goOn } = this.#statements;
    const purge = oldest.get();
    if (purge === undefined) return null;
    const rows = passed.all(purge.done, purge.last, limit);
    const marked = rows.filter((row) => this.#isMarked(lanes, purge.queue, row));
    for (const row of marked) {
      this.#names.drop(row);
      this.#holds.leave(row);
      settlements.drop(lanes, row, storedState(row.state));
    }
    // Only now do their ordering keys go on, so that none of them goes to another of those just removed.
    for (const row of marked) this.#orderings.leave(lanes, row);
    purge.removed += marked.length;
    purge.done = rows.length < limit ? purge.last : (rows.at(-1)?.seq ?? purge.last);
    if (purge.done >= purge.last) this.#end(purge.queue);
    else goOn.run(purge.done, purge.removed, purge.id);
    return progressOf(purge);
  }

  #isMarked(lanes: LaneSet, queue: string, row: PassedRow): boolean {
    if (!isWaiting(stateName(row.state)) || lanes.get(row.lane).queue !== queue) return false;
    return this.#statements.isSpared.get(queue, row.seq) === undefined;
  }

  #end(queue: string): void {
    this.#statements.remove.run(queue);
    this.#statements.removeSpared.run(queue);
  }
}

function progressOf({ queue, first, done, last, started_ms, removed }: PurgeRow): PurgeProgress {
  const share = last > first ? (done - first) / (last - first) : 1;
  return { queue, startedAtMs: started_ms, removed, share };
}
