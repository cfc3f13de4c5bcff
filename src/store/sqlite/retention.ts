/** Forgetting: finished tasks past their retention, or earlier when the file nears its bound. */

import type { StoreSettings, Swept } from "../../core/store.ts";
import { STATE, stateName, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import type { LaneSet } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Settlements } from "./settlements.ts";

/** Share of STORE_MAX_BYTES above which finished tasks go before their time, to leave room for waiting ones. */
const PRESSURE = 0.9;

type ExpiringRow = Pick<TaskRow, "seq" | "lane" | "state" | "ordering">;

function prepareAll(db: Database) {
  return {
    expired: db.prepare<ExpiringRow>(
      `SELECT seq, lane, state, ordering FROM tasks
       WHERE expires_ms IS NOT NULL AND expires_ms <= ? ORDER BY expires_ms LIMIT ?`,
    ),
  };
}

/** Removes what nobody needs to read any more. */
export class Retention {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;
  readonly #names: Names;
  readonly #settlements: Settlements;
  readonly #settings: StoreSettings;

  constructor(db: Database, names: Names, settlements: Settlements, settings: StoreSettings) {
    this.#statements = prepareAll(db);
    this.#db = db;
    this.#names = names;
    this.#settlements = settlements;
    this.#settings = settings;
  }

  /** Within the caller's transaction, at most `limit` of each. */
  sweep(lanes: LaneSet, limit: number, nowMs: number): Swept {
    const { maxBytes } = this.#settings;
    const pressed = maxBytes > 0 && this.#db.usedBytes() > maxBytes * PRESSURE;
    const rows = this.#statements.expired.all(pressed ? Number.MAX_SAFE_INTEGER : nowMs, limit);
    for (const row of rows) {
      // Only a finished task has a time to expire; the check keeps a damaged row from losing a waiting one.
      if (row.state < STATE.succeeded || row.state > STATE.cancelled) continue;
      this.#settlements.forget(lanes, row, stateName(row.state));
    }
    const names = this.#names.sweep(nowMs, limit);
    return { tasks: rows.length, names, more: rows.length === limit || names === limit };
  }
}
