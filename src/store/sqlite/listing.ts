/** Reading tasks: one by its id, many by a filter with a cursor that stays true while tasks change. */

import { priorityOf } from "../../core/priority.ts";
import { type LaneCounts, MAX_LANES_LOOKED_AT, type TaskFilter, type TaskPage } from "../../core/store.ts";
import type { Task } from "../../core/task.ts";
import { type FullRow, SELECT_FULL, STATE, taskOf } from "./codec.ts";
import { badCursor } from "./cursor.ts";
import type { Database } from "./database.ts";

/** Rows looked at in one go: a few milliseconds, then others get their turn. */
const WINDOW = 5_000;
/** Windows looked at for one page; a filter that matches little yields a short page and a cursor to go on from. */
const MAX_WINDOWS = 40;

/** Tells a cursor of this store from a stray word. */
const CURSOR_PREFIX = "s-";

interface CountRow {
  queue: string;
  rank: number;
  scheduled: number;
  ready: number;
  running: number;
  retrying: number;
  succeeded: number;
  dead: number;
  cancelled: number;
}

/** A lane with something to claim, and since when its first task has waited for that. */
interface HeadRow {
  id: number;
  queue: string;
  rank: number;
  since: number | null;
}

function prepareAll(db: Database) {
  return {
    full: db.prepare<FullRow>(`${SELECT_FULL} WHERE t.id = ?`),
    newest: db.prepare<{ seq: number | null }>("SELECT max(seq) AS seq FROM tasks"),
    oldest: db.prepare<{ seq: number | null }>("SELECT min(seq) AS seq FROM tasks"),
    page: db.prepare<FullRow>(
      `${SELECT_FULL}
       WHERE t.seq < ?1 AND t.seq >= ?2
         AND (?3 IS NULL OR l.queue = ?3) AND (?4 IS NULL OR l.client = ?4)
         AND (?5 IS NULL OR t.state = ?5 OR t.state = ?6 OR t.state = ?7)
         AND t.created_ms >= ?8 AND t.created_ms < ?9
       ORDER BY t.seq DESC LIMIT ?10`,
    ),
    counts: db.prepare<CountRow>(
      `SELECT queue, rank, sum(scheduled) AS scheduled, sum(ready) + sum(held) + sum(barred) AS ready, sum(running) AS running,
         sum(retrying) AS retrying, sum(succeeded) AS succeeded, sum(dead) AS dead, sum(cancelled) AS cancelled
       FROM lanes GROUP BY queue, rank ORDER BY queue, rank`,
    ),
    heads: db.prepare<HeadRow>(
      `SELECT l.id, l.queue, l.rank,
         (SELECT max(t.due_ms, t.fence) FROM tasks t
          WHERE t.lane = l.id AND t.state = ${STATE.ready} ORDER BY t.due_ms, t.seq LIMIT 1) AS since
       FROM lanes l WHERE l.id > ? AND l.ready > 0 ORDER BY l.id LIMIT ${MAX_LANES_LOOKED_AT}`,
    ),
  };
}

/** Reads without changing anything. */
export class Listing {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;
  /** The lane at which the last look at the first tasks of lanes ended; 0 where it came to the end. */
  #lookedUpTo = 0;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
    this.#db = db;
  }

  get(id: string): Task | null {
    const row = this.#db.read(() => this.#statements.full.get(id));
    return row === undefined ? null : taskOf(row);
  }

  /** One page, newest first, in the order of acceptance, which never changes. */
  async page(filter: TaskFilter): Promise<TaskPage> {
    const { newest, oldest, page } = this.#statements;
    let before = filter.cursor === undefined ? null : parseCursor(filter.cursor);
    before ??= (this.#db.read(() => newest.get())?.seq ?? 0) + 1;
    const first = this.#db.read(() => oldest.get())?.seq ?? before;
    const tasks: Task[] = [];
    for (let window = 0; window < MAX_WINDOWS && before > first; window++) {
      if (window > 0) await new Promise((resolve) => setImmediate(resolve));
      const from = Math.max(before - WINDOW, first);
      const wanted = filter.limit - tasks.length;
      const rows = this.#db.read(() =>
        page.all(
          before,
          from,
          filter.queue ?? null,
          filter.clientId ?? null,
          filter.state === undefined ? null : STATE[filter.state],
          filter.state === "ready" ? STATE.held : null,
          filter.state === "ready" ? STATE.barred : null,
          filter.fromMs ?? 0,
          filter.toMs ?? Number.MAX_SAFE_INTEGER,
          wanted,
        ),
      );
      for (const row of rows) tasks.push(taskOf(row));
      before = rows.length === wanted ? (rows.at(-1)?.seq ?? from) : from;
      if (rows.length === wanted) break;
    }
    return { tasks, nextCursor: before > first ? CURSOR_PREFIX + before.toString(36) : null };
  }

  counts(): LaneCounts[] {
    const rows = this.#db.read(() => this.#statements.counts.all());
    return rows.map(({ queue, rank, ...states }) => ({ queue, priority: priorityOf(rank), states }));
  }

  /** The same, with the time that the oldest task of each has waited to be claimed. */
  countsAndOldest(nowMs: number): LaneCounts[] {
    const heads = this.#db.read(() => this.#statements.heads.all(this.#lookedUpTo));
    this.#lookedUpTo = heads.length < MAX_LANES_LOOKED_AT ? 0 : (heads.at(-1)?.id ?? 0);
    const since = new Map<string, number>();
    for (const head of heads) {
      const key = `${priorityOf(head.rank)} ${head.queue}`;
      if (head.since !== null) since.set(key, Math.min(head.since, since.get(key) ?? head.since));
    }
    return this.counts().map((lane) => {
      const sinceMs = since.get(`${lane.priority} ${lane.queue}`);
      return sinceMs === undefined ? lane : { ...lane, oldestReadyMs: Math.max(0, nowMs - sinceMs) };
    });
  }
}

function parseCursor(cursor: string): number {
  const seq = /^s-[0-9a-z]{1,10}$/.test(cursor)
    ? Number.parseInt(cursor.slice(CURSOR_PREFIX.length), 36)
    : Number.NaN;
  if (Number.isSafeInteger(seq)) return seq;
  throw badCursor();
}
