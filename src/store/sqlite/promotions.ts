/** Tasks whose time has come go to their lanes, those due first before the others. */

import { STATE, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet } from "./lanes.ts";
import type { Orderings } from "./orderings.ts";

function prepareAll(db: Database) {
  return {
    due: db.prepare<Pick<TaskRow, "seq" | "lane" | "state" | "ordering">>(
      `SELECT seq, lane, state, ordering FROM tasks
       WHERE state IN (${STATE.scheduled}, ${STATE.retrying}) AND due_ms <= ? ORDER BY due_ms, seq LIMIT ?`,
    ),
    promote: db.prepare("UPDATE tasks SET state = ? WHERE seq = ?"),
  };
}

export class Promotions {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #orderings: Orderings;

  constructor(db: Database, orderings: Orderings) {
    this.#statements = prepareAll(db);
    this.#orderings = orderings;
  }

  /** Within the caller's transaction, at most `limit` of them. */
  promote(lanes: LaneSet, limit: number, nowMs: number): void {
    for (const row of this.#statements.due.all(nowMs, limit)) {
      const state = this.#orderings.arrive(row);
      this.#statements.promote.run(STATE[state], row.seq);
      lanes.count(lanes.get(row.lane), row.state === STATE.retrying ? "retrying" : "scheduled", state);
    }
  }
}
