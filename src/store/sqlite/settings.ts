/** Reading and changing settings, and letting go on at once what a change sets free. */

import type { Tier } from "../../core/client.ts";
import type { Queue } from "../../core/queue.ts";
import type {
  AuditEntry,
  Kept,
  SettingsChange,
  SettingsKind,
  SettingsOf,
  SettingsPage,
} from "../../core/store.ts";
import type { Audit } from "./audit.ts";
import { badCursor } from "./cursor.ts";
import type { Database } from "./database.ts";
import type { Holds } from "./holds.ts";
import type { LaneSet } from "./lanes.ts";
import type { Windows } from "./windows.ts";

/** Lanes of one priority that a change lets go on at once; the others follow as these have had their turn. */
const MAX_LET_ON = 100;
/** Tells a cursor of these pages from a stray word; the id where the page ended follows. */
const CURSOR_PREFIX = "i-";

interface SettingsRow {
  id: string;
  value: string;
  revision: number;
}

function prepareAll(db: Database) {
  return {
    read: db.prepare<SettingsRow>("SELECT id, value, revision FROM settings WHERE kind = ? AND id = ?"),
    page: db.prepare<SettingsRow>(
      "SELECT id, value, revision FROM settings WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
    ),
    tiers: db.prepare<{ id: string; value: string }>(
      "SELECT id, value FROM settings WHERE kind = 'tier' ORDER BY id",
    ),
    waitingClients: db.prepare<{ client: string }>("SELECT DISTINCT client FROM lanes WHERE parked = 1"),
  };
}

export class Settings {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;
  readonly #windows: Windows;
  readonly #audit: Audit;
  readonly #holds: Holds;

  constructor(db: Database, windows: Windows, audit: Audit, holds: Holds) {
    this.#statements = prepareAll(db);
    this.#db = db;
    this.#windows = windows;
    this.#audit = audit;
    this.#holds = holds;
  }

  read<K extends SettingsKind>(kind: K, id: string): Kept<SettingsOf[K]> | null {
    const row = this.#db.read(() => this.#statements.read.get(kind, id));
    return row === undefined ? null : keptOf(row);
  }

  /** In the order of their ids. */
  page<K extends SettingsKind>(
    kind: K,
    limit: number,
    cursor: string | undefined,
  ): SettingsPage<SettingsOf[K]> {
    if (cursor !== undefined && !cursor.startsWith(CURSOR_PREFIX)) throw badCursor();
    const after = cursor?.slice(CURSOR_PREFIX.length) ?? "";
    const rows = this.#db.read(() => this.#statements.page.all(kind, after, limit + 1));
    const items = rows.slice(0, limit).map((row) => keptOf<SettingsOf[K]>(row));
    const last = items.at(-1);
    return { items, nextCursor: rows.length > limit && last !== undefined ? CURSOR_PREFIX + last.id : null };
  }

  /** The tiers there are, those with the lowest limit first. */
  tierNames(): string[] {
    const limitOf = (value: string) =>
      (JSON.parse(value) as Tier).requestsPerMinute ?? Number.POSITIVE_INFINITY;
    const rows = this.#db.read(() => this.#statements.tiers.all());
    return rows
      .map(({ id, value }) => ({ id, limit: limitOf(value) }))
      .sort((a, b) => (a.limit === b.limit ? 0 : a.limit - b.limit))
      .map(({ id }) => id);
  }

  /** Within the caller's transaction; false when the settings were changed meanwhile, and nothing was done. */
  change<K extends SettingsKind>(lanes: LaneSet, change: SettingsChange<K>, audit: AuditEntry): boolean {
    const { kind, id, from, value } = change;
    const { rules, flows } = lanes;
    if ((rules.get(kind, id)?.revision ?? null) !== from) return false;
    // What its rate has earned until now it has earned by the rules it had until now.
    if (kind === "queue") flows.room(flows.get("queue", id));
    const before = kind === "queue" ? rules.queue(id) : null;
    if (value === null) rules.remove(kind, id);
    else rules.put(kind, id, value);
    if (kind === "client" && value === null) this.#windows.forget(id);
    if (kind === "tier") {
      for (const { client } of this.#statements.waitingClients.all())
        flows.touch(flows.get("client", client), MAX_LET_ON);
    } else {
      const flow = flows.get(kind === "client" ? "client" : "queue", id);
      flows.renew(flow);
      if (kind === "queue" && flows.isPull(id)) lanes.parkAll(id);
      if (before !== null && isElsewhere(before, rules.queue(id))) this.#holds.lookAgain(id);
      flows.touch(flow, MAX_LET_ON);
    }
    this.#audit.add(audit);
    return true;
  }
}

/** Whether a queue's tasks go to other hosts than before, or to none. */
const isElsewhere = (before: Queue, after: Queue): boolean =>
  before.target?.url !== after.target?.url || before.mode !== after.mode;

const keptOf = <T>({ id, value, revision }: SettingsRow): Kept<T> => ({
  id,
  value: JSON.parse(value) as T,
  revision,
});
