/** Hosts that are held back after failures, and which tasks are set aside for them. */

import { type HeldHost, MAX_HELD_HOSTS, MAX_PAGE } from "../../core/store.ts";
import { STATE, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet } from "./lanes.ts";

/** A host that is held back, as a claim sees it. */
export interface Hold {
  readonly id: number;
  readonly for_ms: number;
  next_ms: number;
}

/** All hosts together, in one look: most claims have to know no more. */
export interface Outline {
  /** Whether any host is held back. */
  readonly held: 0 | 1;
  /** Whether tasks of hosts that were let go are still to come back. */
  readonly ended: 0 | 1;
  /** When the first host is probed of those that have tasks set aside; null when there is none. */
  readonly next_ms: number | null;
}

/** One that has tasks set aside, of which one is to be its probe. */
export interface DueHold extends Hold {
  readonly looked: number;
}

/** A task that is set aside. */
export type BarredRow = Pick<TaskRow, "seq" | "due_ms">;

/** A host that has been due for so long is called by nobody any more, and is not held back for good. */
const FORGET_MS = 3_600_000;
/** Of those as many at once. */
const MAX_FORGOTTEN = 100;
/** Lanes of a host that was let go into which its tasks come back side by side. */
const LANES_AT_ONCE = 64;

function prepareAll(db: Database) {
  return {
    outline: db.prepare<Outline>(
      `SELECT EXISTS (SELECT 1 FROM holds WHERE host IS NOT NULL) AS held,
         EXISTS (SELECT 1 FROM holds WHERE host IS NULL) AS ended,
         (SELECT next_ms FROM holds WHERE host IS NOT NULL AND barred > 0 ORDER BY next_ms LIMIT 1) AS next_ms`,
    ),
    of: db.prepare<Hold>("SELECT id, next_ms, for_ms FROM holds WHERE host = ?"),
    hold: db.prepare(
      `INSERT INTO holds (host, next_ms, for_ms) VALUES (?, ?, ?)
       ON CONFLICT (host) DO UPDATE SET next_ms = excluded.next_ms, for_ms = excluded.for_ms, looked = 0`,
    ),
    countHeld: db.prepare<{ held: number }>("SELECT count(*) AS held FROM holds WHERE host IS NOT NULL"),
    soonest: db.prepare<{ host: string }>(
      "SELECT host FROM holds WHERE host IS NOT NULL ORDER BY next_ms, id LIMIT 1",
    ),
    forgotten: db.prepare<{ host: string }>(
      "SELECT host FROM holds WHERE host IS NOT NULL AND next_ms <= ? ORDER BY next_ms, id LIMIT ?",
    ),
    list: db.prepare<{ host: string; next_ms: number; barred: number }>(
      "SELECT host, next_ms, barred FROM holds WHERE host IS NOT NULL ORDER BY next_ms, id LIMIT ?",
    ),
    end: db.prepare("UPDATE holds SET host = NULL WHERE host = ?"),
    drop: db.prepare("DELETE FROM holds WHERE host IS NULL AND barred <= 0"),
    probed: db.prepare("UPDATE holds SET next_ms = ?, looked = 0 WHERE id = ?"),
    putOff: db.prepare("UPDATE holds SET next_ms = ?, looked = ? WHERE id = ?"),
    countBarred: db.prepare("UPDATE holds SET barred = barred + ? WHERE id = ?"),
    due: db.prepare<DueHold>(
      `SELECT id, next_ms, for_ms, looked FROM holds
       WHERE host IS NOT NULL AND barred > 0 AND next_ms <= ? ORDER BY next_ms, id LIMIT ?`,
    ),
    ended: db.prepare<{ id: number }>("SELECT id FROM holds WHERE host IS NULL ORDER BY id LIMIT 1"),
    barredOfQueue: db.prepare<{ id: number }>("SELECT id FROM lanes WHERE queue = ? AND barred > 0 LIMIT 1"),
    withTasks: db.prepare<{ host: string; next_ms: number; for_ms: number }>(
      "SELECT host, next_ms, for_ms FROM holds WHERE host IS NOT NULL AND barred > 0",
    ),
    setAside: db.prepare(
      `UPDATE tasks SET state = ${STATE.barred}, hold = ? WHERE seq IN (SELECT value FROM json_each(?))`,
    ),
    comeBack: db.prepare(
      `UPDATE tasks SET state = ${STATE.ready}, hold = NULL WHERE seq IN (SELECT value FROM json_each(?))`,
    ),
    nextLane: db.prepare<{ lane: number | null }>(
      `SELECT min(lane) AS lane FROM tasks WHERE state = ${STATE.barred} AND hold = ? AND lane > ?`,
    ),
    heads: db.prepare<BarredRow>(
      `SELECT seq, due_ms FROM tasks WHERE state = ${STATE.barred} AND hold = ? AND lane = ? ORDER BY due_ms, seq LIMIT ?`,
    ),
  };
}

/**
 * The hosts that are held back and their tasks that claims have met and set aside. All methods work within the
 * caller's transaction, but for {@link list}.
 *
 * A host that is let go leaves its row behind, without its name, until its tasks are back; held again meanwhile, it
 * gets another row. So every task comes back once, and what is set aside anew is not mixed up with it.
 */
export class Holds {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
    this.#db = db;
  }

  hold(host: string, forMs: number, nowMs: number): void {
    const { of, countHeld, soonest, forgotten, hold } = this.#statements;
    for (const { host: old } of forgotten.all(nowMs - FORGET_MS, MAX_FORGOTTEN)) this.free(old);
    if (of.get(host) === undefined && (countHeld.get()?.held ?? 0) >= MAX_HELD_HOSTS) {
      const first = soonest.get();
      if (first !== undefined) this.free(first.host);
    }
    hold.run(host, nowMs + forMs, forMs);
  }

  free(host: string): void {
    this.#statements.end.run(host);
    this.#statements.drop.run();
  }

  /** Tasks of a queue go elsewhere now, or to nobody: if any is set aside, all are looked at anew by and by. */
  lookAgain(queue: string): void {
    const { barredOfQueue, withTasks, end, hold } = this.#statements;
    if (barredOfQueue.get(queue) === undefined) return;
    for (const { host, next_ms, for_ms } of withTasks.all()) {
      end.run(host);
      hold.run(host, next_ms, for_ms);
    }
  }

  list(): HeldHost[] {
    const rows = this.#db.read(() => this.#statements.list.all(MAX_PAGE));
    return rows.map(({ host, next_ms, barred }) => ({ host, nextProbeAtMs: next_ms, tasks: barred }));
  }

  outline(): Outline {
    return this.#statements.outline.get() ?? { held: 0, ended: 0, next_ms: null };
  }

  of(host: string): Hold | null {
    return this.#statements.of.get(host) ?? null;
  }

  /** A probe of the host is handed out now: the next one is no sooner than its time from now. */
  probed(hold: Hold, nowMs: number): void {
    hold.next_ms = nowMs + hold.for_ms;
    this.#statements.probed.run(hold.next_ms, hold.id);
  }

  /** Hosts of whose tasks that are set aside one is to be the probe, those that have waited longest first. */
  due(limit: number, nowMs: number): DueHold[] {
    return this.#statements.due.all(nowMs, limit);
  }

  /** None of the tasks in the lanes up to `looked` may be the probe now: others are looked at, later. */
  putOff({ id }: Hold, untilMs: number, looked: number): void {
    this.#statements.putOff.run(untilMs, looked, id);
  }

  /** Lanes after `after` that have tasks set aside for a host, at most `limit`. */
  lanesOf({ id }: Pick<Hold, "id">, after: number, limit: number): number[] {
    const lanes: number[] = [];
    let last: number | null = after;
    while (lanes.length < limit) {
      last = this.#statements.nextLane.get(id, last)?.lane ?? null;
      if (last === null) break;
      lanes.push(last);
    }
    return lanes;
  }

  /** The first of a lane's tasks that are set aside for a host, in the order of the lane. */
  heads({ id }: Pick<Hold, "id">, lane: number, limit: number): BarredRow[] {
    return this.#statements.heads.all(id, lane, limit);
  }

  /** Takes tasks out of their lane's line. */
  setAside({ id }: Hold, seqs: readonly number[]): void {
    this.#statements.setAside.run(id, JSON.stringify(seqs));
    this.#statements.countBarred.run(seqs.length, id);
  }

  /** A task that may be set aside no longer is. */
  leave(task: Pick<TaskRow, "hold">): void {
    if (task.hold === null) return;
    this.taken({ id: task.hold });
    this.#statements.drop.run();
    task.hold = null;
  }

  /** One of a host's tasks is no longer set aside. */
  taken({ id }: Pick<Hold, "id">): void {
    this.#statements.countBarred.run(-1, id);
  }

  /** Brings about `limit` tasks of hosts that were let go back to their lanes, the oldest of each first. */
  bringBack(lanes: LaneSet, limit: number): void {
    const { ended, drop, comeBack, countBarred } = this.#statements;
    let left = limit;
    for (let hold = ended.get(); hold !== undefined && left > 0; hold = ended.get()) {
      const ids = this.lanesOf(hold, 0, LANES_AT_ONCE);
      const share = Math.ceil(left / Math.max(1, ids.length));
      let back = 0;
      for (const id of ids) {
        const seqs = this.heads(hold, id, share).map(({ seq }) => seq);
        comeBack.run(JSON.stringify(seqs));
        lanes.count(lanes.get(id), "barred", "ready", seqs.length);
        back += seqs.length;
      }
      // A counter that promises more than is there would keep the row for ever.
      countBarred.run(back === 0 ? -Number.MAX_SAFE_INTEGER : -back, hold.id);
      drop.run();
      left -= Math.max(1, back);
    }
  }
}
