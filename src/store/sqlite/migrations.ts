/** The tables, and the numbered steps by which an older file becomes a current one. */

import type { DatabaseSync } from "node:sqlite";

/**
 * Step n takes a file from version n to n + 1 and is never edited once released: a change is a new step.
 *
 * Why these tables: a task's fixed part (`specs`) is written once and read at delivery, while its changing
 * part (`tasks`) is small, so that claiming and settling rewrite a hundred bytes and not the payload.
 * Every hot query walks one partial index that holds only the rows in that state, so its cost does not
 * grow with what waits, runs or is finished elsewhere.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO meta (key, value) VALUES ('probe', 0), ('cancels', 0);

  -- A lane is the waiting line of one client at one priority of one queue. turn is its place in the ring of
  -- lanes that have something to claim; null keeps it out. The counters count its tasks by state.
  CREATE TABLE lanes (
    id        INTEGER PRIMARY KEY,
    queue     TEXT NOT NULL,
    rank      INTEGER NOT NULL,
    client    TEXT NOT NULL,
    turn      INTEGER,
    scheduled INTEGER NOT NULL DEFAULT 0,
    ready     INTEGER NOT NULL DEFAULT 0,
    running   INTEGER NOT NULL DEFAULT 0,
    retrying  INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    dead      INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    held      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (queue, rank, client)
  ) STRICT;
  CREATE INDEX lanes_ring ON lanes (rank, turn) WHERE turn IS NOT NULL;
  CREATE INDEX lanes_client ON lanes (client);

  CREATE TABLE tasks (
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    lane             INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    due_ms           INTEGER NOT NULL,
    created_ms       INTEGER NOT NULL,
    scheduled_ms     INTEGER NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0,
    crashes          INTEGER NOT NULL DEFAULT 0,
    releases         INTEGER NOT NULL DEFAULT 0,
    fence            INTEGER NOT NULL DEFAULT 0,
    lease_ms         INTEGER,
    worker           TEXT,
    first_attempt_ms INTEGER,
    finished_ms      INTEGER,
    expires_ms       INTEGER,
    retention_ms     INTEGER,
    ordering         INTEGER,
    named            INTEGER NOT NULL DEFAULT 0,
    reason           TEXT,
    attempt_log      TEXT
  ) STRICT;
  CREATE INDEX tasks_ready  ON tasks (lane, due_ms, seq) WHERE state = 1;
  CREATE INDEX tasks_due    ON tasks (due_ms, seq) WHERE state IN (0, 3);
  CREATE INDEX tasks_held   ON tasks (ordering, due_ms, seq) WHERE state = 7;
  CREATE INDEX tasks_leased ON tasks (lease_ms) WHERE lease_ms IS NOT NULL;
  CREATE INDEX tasks_expiry ON tasks (expires_ms) WHERE expires_ms IS NOT NULL;

  CREATE TABLE specs (
    seq  INTEGER PRIMARY KEY,
    spec TEXT NOT NULL,
    body ANY
  ) STRICT;

  -- Names and idempotency keys that are taken: while their task lives (until_ms null) and for a while after.
  CREATE TABLE names (
    scope    TEXT PRIMARY KEY,
    id       TEXT NOT NULL,
    until_ms INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX names_until ON names (until_ms) WHERE until_ms IS NOT NULL;

  -- Ordering keys in use: holder is the one task of the key that may stand in its lane or run, live how many
  -- unfinished tasks have the key.
  CREATE TABLE orderings (
    id     INTEGER PRIMARY KEY,
    queue  TEXT NOT NULL,
    key    TEXT NOT NULL,
    holder INTEGER,
    live   INTEGER NOT NULL,
    UNIQUE (queue, key)
  ) STRICT;

  CREATE TABLE workers (
    id      TEXT PRIMARY KEY,
    seen_ms INTEGER NOT NULL,
    info    TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];

/** The version this build reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Marks the file as ours, so that another program's database is not taken for one ("TskR"). */
const APPLICATION_ID = 0x54736b52;

/**
 * Brings the file to {@link SCHEMA_VERSION} in one transaction, or throws and leaves it as it was: when it
 * is newer than this build, or belongs to another program. Two processes may race here; one waits.
 */
export function migrate(db: DatabaseSync): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const version = Number(singleValue(db, "PRAGMA user_version"));
    const owner = Number(singleValue(db, "PRAGMA application_id"));
    const tables = Number(singleValue(db, "SELECT count(*) FROM sqlite_schema"));
    if (tables > 0 && owner !== APPLICATION_ID) throw new Error("the file belongs to another program");
    if (version > SCHEMA_VERSION) {
      throw new Error(
        `the file has schema version ${version}, this build knows up to ${SCHEMA_VERSION}; run a newer task-runner`,
      );
    }
    if (version < SCHEMA_VERSION) {
      for (const step of MIGRATIONS.slice(version)) db.exec(step);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    }
    db.exec("COMMIT");
  } catch (thrown) {
    db.exec("ROLLBACK");
    throw thrown;
  }
}

function singleValue(db: DatabaseSync, sql: string): unknown {
  const row = db.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
}
