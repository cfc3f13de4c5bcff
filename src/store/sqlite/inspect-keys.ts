/** Inspects what is kept by name: names, ordering keys, held hosts and settings. */

import { isFinal } from "../../core/task.ts";
import { STATE, stateName } from "./codec.ts";
import type { Database } from "./database.ts";
import { type Looked, type Looking, lookedAt, type Part } from "./inspect-part.ts";
import type { Orderings } from "./orderings.ts";

/** Names and idempotency keys that are taken for good: their tasks are there, and not over. */
export class NamePart implements Part {
  readonly #statements;
  readonly #windowMs: number;

  constructor(db: Database, windowMs: number) {
    this.#windowMs = windowMs;
    this.#statements = {
      rows: db.prepare<{ scope: string; id: string; until_ms: number | null; state: number | null }>(
        `SELECT n.scope, n.id, n.until_ms, t.state FROM names n LEFT JOIN tasks t ON t.id = n.id
         WHERE n.scope > ? ORDER BY n.scope LIMIT ?`,
      ),
      drop: db.prepare("DELETE FROM names WHERE scope = ?"),
      release: db.prepare("UPDATE names SET until_ms = ? WHERE scope = ?"),
    };
  }

  look({ after, limit, nowMs, report }: Looking): Looked {
    const rows = this.#statements.rows.all(String(after ?? ""), limit);
    for (const { scope, id, until_ms, state } of rows) {
      if (until_ms !== null) continue;
      if (state === null) {
        report("dangling_name", scope, `its task ${id} is not there`, () => {
          this.#statements.drop.run(scope);
        });
      } else if (state in STATE_NAMES && isFinal(stateName(state))) {
        report("dangling_name", scope, `its task ${id} is over, and it is kept for ever`, () => {
          this.#statements.release.run(nowMs + this.#windowMs, scope);
        });
      }
    }
    return lookedAt(rows, limit, ({ scope }) => scope);
  }
}

const STATE_NAMES = Object.fromEntries(Object.values(STATE).map((code) => [code, true]));

/** Stands for a task that is none. */
const NOBODY = -1;

interface KeyRow {
  id: number;
  queue: string;
  key: string;
  holder: number | null;
  is_waited_for: 0 | 1;
  state: number | null;
  lease_ms: number | null;
  ordering: number | null;
}

/** Ordering keys: whoever holds one is there, and not over. A dead task may keep its key. */
export class OrderingPart implements Part {
  readonly #rows;
  readonly #hold;
  readonly #orderings: Orderings;

  constructor(db: Database, orderings: Orderings) {
    this.#orderings = orderings;
    this.#hold = db.prepare("UPDATE orderings SET holder = ? WHERE id = ?");
    this.#rows = db.prepare<KeyRow>(
      `SELECT o.id, o.queue, o.key, o.holder, t.state, t.lease_ms, t.ordering,
         EXISTS (SELECT 1 FROM tasks w WHERE w.ordering = o.id AND w.state = ${STATE.held}) AS is_waited_for
       FROM orderings o LEFT JOIN tasks t ON t.seq = o.holder WHERE o.id > ? ORDER BY o.id LIMIT ?`,
    );
  }

  look({ after, limit, report, lanes }: Looking): Looked {
    const rows = this.#rows.all(Number(after ?? 0), limit);
    for (const row of rows) {
      const { id, holder } = row;
      const name = `key ${row.queue}/${row.key}`;
      // All tasks were looked at before: none that has its turn already is without the key any more where it is mended.
      if (holder === null && row.is_waited_for === 1) {
        report("lost_order", name, "tasks wait for it and nobody has it", () => {
          this.#hold.run(NOBODY, id);
          this.#orderings.yield(lanes, { seq: NOBODY, ordering: id });
        });
      }
      const problem = problemOf(row);
      if (problem === null || holder === null) continue;
      report("stale_holder", name, problem, () => {
        this.#orderings.yield(lanes, { seq: holder, ordering: id });
      });
    }
    return lookedAt(rows, limit, ({ id }) => id);
  }
}

function problemOf({ id, holder, state, lease_ms, ordering }: KeyRow): string | null {
  if (holder === null) return null;
  if (state === null) return "the task that holds it is not there";
  if (ordering !== id) return "it is held by a task of another key";
  const isOver = state === STATE.succeeded || state === STATE.cancelled;
  return isOver && lease_ms === null ? `the task that holds it is ${stateName(state)}` : null;
}

/** Hosts that are held back: how many tasks are set aside for each. */
export class HoldPart implements Part {
  readonly #rows;
  readonly #set;

  constructor(db: Database) {
    this.#rows = db.prepare<{ id: number; host: string | null; barred: number; there: number }>(
      `SELECT h.id, h.host, h.barred,
         (SELECT count(*) FROM tasks t WHERE t.state = ${STATE.barred} AND t.hold = h.id) AS there
       FROM holds h WHERE h.id > ? ORDER BY h.id LIMIT ?`,
    );
    this.#set = db.prepare("UPDATE holds SET barred = ? WHERE id = ?");
  }

  look({ after, limit, report }: Looking): Looked {
    const rows = this.#rows.all(Number(after ?? 0), limit);
    for (const { id, host, barred, there } of rows) {
      if (barred === there) continue;
      const subject = host === null ? `hold ${id}` : `host ${host}`;
      report("wrong_count", subject, `it counts ${barred} tasks set aside and there are ${there}`, () => {
        this.#set.run(there, id);
      });
    }
    return lookedAt(rows, limit, ({ id }) => id);
  }
}

/** Settings of clients, tiers and queues: each can be read. */
export class SettingPart implements Part {
  readonly #rows;

  constructor(db: Database) {
    this.#rows = db.prepare<{ kind: string; id: string; is_valid: 0 | 1 }>(
      `SELECT kind, id, json_valid(value) AS is_valid FROM settings
       WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?`,
    );
  }

  look({ after, limit, report }: Looking): Looked {
    const [kind = "", id = ""] = String(after ?? "").split("/");
    const rows = this.#rows.all(kind, id, limit);
    for (const row of rows) {
      if (row.is_valid === 0)
        report("unreadable_record", `${row.kind} ${row.id}`, "its settings cannot be read");
    }
    return lookedAt(rows, limit, (row) => `${row.kind}/${row.id}`);
  }
}
