/** The workers that have announced themselves on this store. */

import type { WorkerRecord } from "../../core/store.ts";
import type { Database } from "./database.ts";

/** A worker unheard of for this long is forgotten. */
const FORGET_MS = 24 * 3_600_000;

function prepareAll(db: Database) {
  return {
    seen: db.prepare("INSERT OR REPLACE INTO workers (id, seen_ms, info) VALUES (?, ?, ?)"),
    forget: db.prepare("DELETE FROM workers WHERE seen_ms < ?"),
    list: db.prepare<{ info: string; seen_ms: number }>(
      "SELECT info, seen_ms FROM workers WHERE seen_ms >= ? ORDER BY seen_ms DESC LIMIT 1000",
    ),
  };
}

export class Workers {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
    this.#db = db;
  }

  announce(worker: Omit<WorkerRecord, "seenAtMs">, nowMs: number): void {
    this.#db.transaction("process", () => {
      this.#statements.forget.run(nowMs - FORGET_MS);
      this.#statements.seen.run(worker.id, nowMs, JSON.stringify(worker));
    });
  }

  within(ms: number, nowMs: number): WorkerRecord[] {
    const rows = this.#db.read(() => this.#statements.list.all(nowMs - ms));
    return rows.map(({ info, seen_ms }) => ({
      ...(JSON.parse(info) as Omit<WorkerRecord, "seenAtMs">),
      seenAtMs: seen_ms,
    }));
  }
}
