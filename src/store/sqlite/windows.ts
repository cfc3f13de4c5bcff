/** The latest requests of clients that have a limit of them, kept with the tasks so that every process counts alike. */

import { type RateWindow, requestsIn, windowNow, withRequest } from "../../core/rate-window.ts";
import type { Database } from "./database.ts";

/** The window with `count` requests more, at least one, of one instant: they all belong to its latest entry. */
export function withRequests(window: RateWindow, count: number, nowMs: number): RateWindow {
  const first = withRequest(window, nowMs);
  const last = first.at(-1);
  if (last === undefined || count === 1) return first;
  return [...first.slice(0, -1), [last[0], last[1], last[2] + count - 1]];
}

function prepareAll(db: Database) {
  return {
    read: db.prepare<{ value: string }>("SELECT value FROM windows WHERE client = ?"),
    write: db.prepare("INSERT OR REPLACE INTO windows (client, value) VALUES (?, ?)"),
    remove: db.prepare("DELETE FROM windows WHERE client = ?"),
  };
}

/** Reads and writes within the caller's transaction. */
export class Windows {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  /** What still counts of a client's requests. */
  read(client: string, nowMs: number): RateWindow {
    const row = this.#statements.read.get(client);
    return row === undefined ? [] : windowNow(JSON.parse(row.value) as RateWindow, nowMs);
  }

  requests(client: string, nowMs: number): number {
    return requestsIn(this.read(client, nowMs));
  }

  write(client: string, window: RateWindow): void {
    this.#statements.write.run(client, JSON.stringify(window));
  }

  forget(client: string): void {
    this.#statements.remove.run(client);
  }
}
