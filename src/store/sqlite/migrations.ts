/** The tables, and the numbered steps by which an older file becomes a current one. */

import type { DatabaseSync } from "node:sqlite";
import { BUILT_IN_TIERS, FIRST_TIER, newClient } from "../../core/client.ts";
import { DEFAULT_QUEUE, newQueue } from "../../core/queue.ts";

/** What a step fills new tables with. */
export interface Seed {
  readonly defaultTier: string;
  readonly nowMs: number;
}

/** One step: its tables, and what has to be put into them by more than SQL. */
interface Migration {
  readonly sql: string;
  readonly fill?: (db: DatabaseSync, seed: Seed) => void;
}

/**
 * Step n takes a file from version n to n + 1 and is never edited once released: a change is a new step.
 *
 * Why these tables: a task's fixed part (`specs`) is written once and read at delivery, while its changing
 * part (`tasks`) is small, so that claiming and settling rewrite a hundred bytes and not the payload.
 * Every hot query walks one partial index that holds only the rows in that state, so its cost does not
 * grow with what waits, runs or is finished elsewhere.
 */
const MIGRATIONS: readonly Migration[] = [
  {
    sql: `
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
  },
  {
    sql: `
  INSERT INTO meta (key, value) VALUES ('revision', 0), ('waits', 0);

  -- Clients, tiers and queues as they are set; value is JSON. No revision is ever used twice (meta: revision).
  CREATE TABLE settings (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    value    TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
  ) STRICT, WITHOUT ROWID;

  -- What a client or a queue uses now; no row stands for nothing. running counts leases, parked the lanes that wait
  -- for it, tokens what was in a queue's bucket at tokens_ms; at next_ms its parked lanes may go on.
  CREATE TABLE flows (
    kind      TEXT NOT NULL,
    id        TEXT NOT NULL,
    running   INTEGER NOT NULL,
    parked    INTEGER NOT NULL,
    tokens    REAL,
    tokens_ms INTEGER,
    next_ms   INTEGER,
    PRIMARY KEY (kind, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX flows_next ON flows (next_ms, id) WHERE next_ms IS NOT NULL;

  -- A lane that may not go on has left the ring: parked tells for what it waits (1 its client, 2 its queue). since is
  -- its place among those that wait (meta: waits), kept until it has had a whole turn; credit what is left of a turn.
  ALTER TABLE lanes ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE lanes ADD COLUMN since INTEGER;
  ALTER TABLE lanes ADD COLUMN credit INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX lanes_parked_client ON lanes (client, rank, since) WHERE parked = 1;
  CREATE INDEX lanes_parked_queue  ON lanes (queue, rank, since) WHERE parked = 2;

  -- A client's latest requests, as the JSON of a RateWindow.
  CREATE TABLE windows (
    client TEXT PRIMARY KEY,
    value  TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- Purges under way: up to last, of which the tasks up to done have been looked at. Tasks that did not wait when it
  -- began are spared.
  CREATE TABLE purges (
    id         INTEGER PRIMARY KEY,
    queue      TEXT NOT NULL UNIQUE,
    first      INTEGER NOT NULL,
    done       INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    removed    INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE spared (
    queue TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (queue, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    before  TEXT NOT NULL,
    after   TEXT NOT NULL
  ) STRICT;

  INSERT INTO flows (kind, id, running, parked)
    SELECT 'client', l.client, count(*), 0 FROM tasks t JOIN lanes l ON l.id = t.lane
    WHERE t.lease_ms IS NOT NULL GROUP BY l.client;
  INSERT INTO flows (kind, id, running, parked)
    SELECT 'queue', l.queue, count(*), 0 FROM tasks t JOIN lanes l ON l.id = t.lane
    WHERE t.lease_ms IS NOT NULL GROUP BY l.queue;
  `,
    fill: fillSettings,
  },
  {
    sql: `
  -- Hosts whose tasks are held back: at next_ms one of them is handed out as a probe. A row whose host is null is one
  -- that was let go, and whose tasks are still to come back. barred counts the tasks set aside for it, and looked is
  -- the lane up to which none was found that may be the probe.
  CREATE TABLE holds (
    id      INTEGER PRIMARY KEY,
    host    TEXT UNIQUE,
    next_ms INTEGER NOT NULL,
    for_ms  INTEGER NOT NULL,
    barred  INTEGER NOT NULL DEFAULT 0,
    looked  INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX holds_next  ON holds (next_ms, id) WHERE host IS NOT NULL;
  CREATE INDEX holds_probe ON holds (next_ms, id) WHERE host IS NOT NULL AND barred > 0;
  CREATE INDEX holds_ended ON holds (id) WHERE host IS NULL;

  ALTER TABLE lanes ADD COLUMN barred INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE tasks ADD COLUMN hold INTEGER;
  CREATE INDEX tasks_barred ON tasks (hold, lane, due_ms, seq) WHERE state = 8;
  `,
  },
];

/** The first settings: the built-in tiers, the default queue, and every client and queue that has tasks already. */
function fillSettings(db: DatabaseSync, { defaultTier, nowMs }: Seed): void {
  const add = db.prepare("INSERT OR IGNORE INTO settings (kind, id, value, revision) VALUES (?, ?, ?, ?)");
  let revision = 0;
  const put = (kind: string, id: unknown, value: unknown) => {
    revision += 1;
    add.run(kind, String(id), JSON.stringify(value), revision);
  };
  for (const [id, tier] of Object.entries(BUILT_IN_TIERS)) put("tier", id, tier);
  put("queue", DEFAULT_QUEUE, newQueue(nowMs));
  for (const row of db.prepare("SELECT DISTINCT queue FROM lanes").all())
    put("queue", row.queue, newQueue(nowMs));
  // An older file has no tiers of its own: a default tier that is not built in is refused right after this.
  const tier = Object.hasOwn(BUILT_IN_TIERS, defaultTier) ? defaultTier : FIRST_TIER;
  for (const row of db.prepare("SELECT DISTINCT client FROM lanes").all())
    put("client", row.client, newClient(tier, nowMs));
  db.prepare("UPDATE meta SET value = ? WHERE key = 'revision'").run(revision);
}

/** The version this build reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Marks the file as ours, so that another program's database is not taken for one ("TskR"). */
const APPLICATION_ID = 0x54736b52;

/**
 * Brings the file to {@link SCHEMA_VERSION} in one transaction, or throws and leaves it as it was: when it
 * is newer than this build, or belongs to another program. Two processes may race here; one waits.
 */
export function migrate(db: DatabaseSync, seed: Seed): void {
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
      for (const { sql, fill } of MIGRATIONS.slice(version)) {
        db.exec(sql);
        fill?.(db, seed);
      }
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
