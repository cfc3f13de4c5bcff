/** The record of who changed what: the latest entries, the oldest of them making room for the newest. */

import { type AuditEntry, type AuditPage, MAX_AUDIT_ENTRIES } from "../../core/store.ts";
import { badCursor } from "./cursor.ts";
import type { Database } from "./database.ts";

/** Tells a cursor of this record from a stray word. */
const CURSOR_PREFIX = "a-";

interface AuditRow {
  seq: number;
  at_ms: number;
  actor: string;
  action: string;
  subject: string;
  before: string;
  after: string;
}

function prepareAll(db: Database) {
  return {
    last: db.prepare<{ seq: number | null }>("SELECT max(seq) AS seq FROM audit"),
    add: db.prepare(
      "INSERT INTO audit (seq, at_ms, actor, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    trim: db.prepare("DELETE FROM audit WHERE seq <= ?"),
    page: db.prepare<AuditRow>("SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?"),
  };
}

export class Audit {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #db: Database;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
    this.#db = db;
  }

  /** Within the caller's transaction. */
  add({ atMs, actor, action, subject, before, after }: AuditEntry): void {
    const { last, add, trim } = this.#statements;
    const seq = (last.get()?.seq ?? 0) + 1;
    add.run(seq, atMs, actor, action, subject, jsonOf(before), jsonOf(after));
    trim.run(seq - MAX_AUDIT_ENTRIES);
  }

  /** Newest first. */
  page(limit: number, cursor: string | undefined): AuditPage {
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : parseCursor(cursor);
    const rows = this.#db.read(() => this.#statements.page.all(before, limit + 1));
    const shown = rows.slice(0, limit);
    const last = shown.at(-1);
    return {
      entries: shown.map(entryOf),
      nextCursor: rows.length > limit && last !== undefined ? CURSOR_PREFIX + last.seq.toString(36) : null,
    };
  }
}

/** What has no JSON of its own is kept as null. */
const jsonOf = (value: unknown): string => JSON.stringify(value) ?? "null";

function entryOf({ at_ms, actor, action, subject, before, after }: AuditRow): AuditEntry {
  return {
    atMs: at_ms,
    actor,
    action,
    subject,
    before: JSON.parse(before) as unknown,
    after: JSON.parse(after) as unknown,
  };
}

function parseCursor(cursor: string): number {
  if (!/^a-[0-9a-z]{1,10}$/.test(cursor)) throw badCursor();
  return Number.parseInt(cursor.slice(CURSOR_PREFIX.length), 36);
}
