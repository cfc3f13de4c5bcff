-- A file of version 1, as it was written with three tasks under lease (one of them cancelled) and three that wait.
PRAGMA application_id = 1416850258;
PRAGMA user_version = 1;
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;
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
CREATE TABLE specs (
  seq  INTEGER PRIMARY KEY,
  spec TEXT NOT NULL,
  body ANY
) STRICT;
CREATE TABLE names (
  scope    TEXT PRIMARY KEY,
  id       TEXT NOT NULL,
  until_ms INTEGER
) STRICT, WITHOUT ROWID;
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
CREATE INDEX lanes_ring ON lanes (rank, turn) WHERE turn IS NOT NULL;
CREATE INDEX lanes_client ON lanes (client);
CREATE INDEX tasks_ready  ON tasks (lane, due_ms, seq) WHERE state = 1;
CREATE INDEX tasks_due    ON tasks (due_ms, seq) WHERE state IN (0, 3);
CREATE INDEX tasks_held   ON tasks (ordering, due_ms, seq) WHERE state = 7;
CREATE INDEX tasks_leased ON tasks (lease_ms) WHERE lease_ms IS NOT NULL;
CREATE INDEX tasks_expiry ON tasks (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX names_until ON names (until_ms) WHERE until_ms IS NOT NULL;
INSERT INTO meta VALUES ('cancels', 1);
INSERT INTO meta VALUES ('probe', 0);
INSERT INTO lanes VALUES (1, 'mail', 2, 'alice', 1, 0, 2, 1, 0, 0, 0, 0, 0);
INSERT INTO lanes VALUES (2, 'default', 2, 'alice', NULL, 0, 0, 1, 0, 0, 0, 0, 0);
INSERT INTO lanes VALUES (3, 'mail', 2, 'bob', NULL, 0, 0, 0, 0, 0, 0, 1, 0);
INSERT INTO lanes VALUES (4, 'later', 2, 'carol', NULL, 1, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO tasks VALUES (1, '01KDVFGG00000000000000000A', 1, 2, 1767225600000, 1767225600000, 1767225600000, 0, 0, 0, 1767225600000, 1767225660000, 'w', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL);
INSERT INTO tasks VALUES (2, '01KDVFGG00000000000000000B', 2, 2, 1767225600000, 1767225600000, 1767225600000, 0, 0, 0, 1767225600000, 1767225660000, 'w', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL);
INSERT INTO tasks VALUES (3, '01KDVFGG00000000000000000C', 3, 6, 1767225600000, 1767225600000, 1767225600000, 0, 0, 0, 1767225600000, 1767225660000, 'w', NULL, 1767225600000, NULL, NULL, NULL, 0, 'cancelled on request', NULL);
INSERT INTO tasks VALUES (4, '01KDVFGG00000000000000000D', 1, 1, 1767225600000, 1767225600000, 1767225600000, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL);
INSERT INTO tasks VALUES (5, '01KDVFGG00000000000000000E', 1, 1, 1767225600000, 1767225600000, 1767225600000, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 1, 1, NULL, NULL);
INSERT INTO tasks VALUES (6, '01KDVFGG00000000000000000F', 4, 0, 1767225660000, 1767225600000, 1767225660000, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL);
INSERT INTO specs VALUES (1, '{"url":"http://127.0.0.1:9/hook"}', '{}');
INSERT INTO specs VALUES (2, '{"url":"http://127.0.0.1:9/hook"}', '{}');
INSERT INTO specs VALUES (3, '{"url":"http://127.0.0.1:9/hook"}', '{}');
INSERT INTO specs VALUES (4, '{"url":"http://127.0.0.1:9/hook"}', '{}');
INSERT INTO specs VALUES (5, '{"url":"http://127.0.0.1:9/hook","name":"n","orderingKey":"k"}', '{}');
INSERT INTO specs VALUES (6, '{"url":"http://127.0.0.1:9/hook"}', '{}');
INSERT INTO names VALUES ('n/mail/n', '01KDVFGG00000000000000000E', NULL);
INSERT INTO orderings VALUES (1, 'mail', 'k', 5, 1);
