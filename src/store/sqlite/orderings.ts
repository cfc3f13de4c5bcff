/** Ordering keys: of all tasks of one key, only its holder may stand in a lane or run; the rest are held back. */

import { STATE, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet } from "./lanes.ts";

interface OrderingRow {
  id: number;
  holder: number | null;
  live: number;
}

function prepareAll(db: Database) {
  return {
    join: db.prepare<OrderingRow>(
      `INSERT INTO orderings (queue, key, live) VALUES (?, ?, 1)
       ON CONFLICT (queue, key) DO UPDATE SET live = live + 1 RETURNING id, holder, live`,
    ),
    get: db.prepare<OrderingRow>("SELECT id, holder, live FROM orderings WHERE id = ?"),
    hold: db.prepare("UPDATE orderings SET holder = ? WHERE id = ?"),
    leave: db.prepare("UPDATE orderings SET live = live - 1 WHERE id = ?"),
    remove: db.prepare("DELETE FROM orderings WHERE id = ? AND live <= 0"),
    next: db.prepare<Pick<TaskRow, "seq" | "lane">>(
      `SELECT seq, lane FROM tasks WHERE ordering = ? AND state = ${STATE.held} ORDER BY due_ms, seq LIMIT 1`,
    ),
    holderOf: db.prepare<{ id: string }>(
      `SELECT t.id FROM orderings o JOIN tasks t ON t.seq = o.holder WHERE o.queue = ? AND o.key = ?`,
    ),
    wake: db.prepare(`UPDATE tasks SET state = ${STATE.ready} WHERE seq = ?`),
  };
}

/**
 * Who holds each ordering key. A task joins its key when it is accepted, asks for it when it falls due, keeps
 * it through its retries, and leaves it when it ends; then the next one due takes its place in its own lane.
 */
export class Orderings {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  /** Counts a task into its key; the id to store with it. */
  join(queue: string, key: string): number {
    const row = this.#statements.join.get(queue, key);
    if (row === undefined) throw new Error("an insert into orderings returned no row");
    return row.id;
  }

  /** The state a due task takes: `ready` when it holds its key now, `held` when another does. */
  arrive(task: Pick<TaskRow, "seq" | "ordering">): "ready" | "held" {
    if (task.ordering === null) return "ready";
    const holder = this.#statements.get.get(task.ordering)?.holder ?? null;
    if (holder !== null && holder !== task.seq) return "held";
    if (holder === null) this.#statements.hold.run(task.seq, task.ordering);
    return "ready";
  }

  /**
   * Whether a task holds its key. Of one that is finished this tells that its key was kept for it; the id stored
   * with any other finished task may by now be that of another key.
   */
  isHeldBy(task: Pick<TaskRow, "seq" | "ordering">): boolean {
    return task.ordering !== null && this.#statements.get.get(task.ordering)?.holder === task.seq;
  }

  /** The id of the task that holds a key; null when none does. */
  holderOf(queue: string, key: string): string | null {
    return this.#statements.holderOf.get(queue, key)?.id ?? null;
  }

  /** A task gives its key up, if it holds it, and the next in order becomes ready. */
  yield(lanes: LaneSet, task: Pick<TaskRow, "seq" | "ordering">): void {
    if (task.ordering === null) return;
    const { get, next, hold, wake } = this.#statements;
    if (get.get(task.ordering)?.holder !== task.seq) return;
    const heir = next.get(task.ordering);
    hold.run(heir?.seq ?? null, task.ordering);
    if (heir === undefined) return;
    wake.run(heir.seq);
    lanes.count(lanes.get(heir.lane), "held", "ready");
  }

  /** A task has ended: it yields its key and is no longer counted in it. */
  leave(lanes: LaneSet, task: Pick<TaskRow, "seq" | "ordering">): void {
    if (task.ordering === null) return;
    this.yield(lanes, task);
    this.#statements.leave.run(task.ordering);
    this.#statements.remove.run(task.ordering);
  }
}
