/** The SQLite file itself: opening it safely, transactions with a stated durability, and errors in plain words. */

import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { messageOf, TaskRunnerError } from "../../core/errors.ts";
import { migrate, type Seed } from "./migrations.ts";

/** What can be bound to a statement. */
export type Param = string | number | null | Uint8Array;

/** A prepared statement whose rows have a known shape. */
export interface Statement<Row> {
  get(...params: Param[]): Row | undefined;
  all(...params: Param[]): Row[];
  run(...params: Param[]): { readonly changes: number | bigint };
}

/**
 * `disk`: the commit returns once the write-ahead log is synced, so it survives a power cut.
 * `process`: it survives the death of this process at once, and a power cut once the next `disk` commit or
 * checkpoint has synced the same log. Enough for claims and settlements: losing one repeats a delivery.
 */
export type Safety = "disk" | "process";

/** How long a transaction waits for another process' transaction before it gives up. */
const BUSY_TIMEOUT_MS = 2_000;
/** Write-ahead log pages after which SQLite copies them into the file: 16 MiB, fewer and longer stalls than the default 4. */
const CHECKPOINT_PAGES = 4_096;
/** The log file is cut back to this after a checkpoint, so that one burst does not keep the disk for ever. */
const LOG_LIMIT_BYTES = 64 * 1024 * 1024;
/** Files up to this size are read whole at start to find damage; a larger one would make starting slow. */
const FULL_CHECK_BYTES = 256 * 1024 * 1024;

/** SQLite's primary result codes that an operator can act on (https://www.sqlite.org/rescode.html). */
const RESULT = {
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  NOTADB: 26,
} as const;

/** One open database file. All calls are synchronous; SQLite answers in microseconds. */
export class Database {
  readonly path: string;
  readonly inMemory: boolean;
  readonly #db: DatabaseSync;
  readonly #pageBytes: number;
  #safety: Safety | null = null;
  #open = true;

  constructor(path: string, seed: Seed) {
    this.path = path;
    this.inMemory = path === ":memory:";
    this.#db = openChecked(path, seed);
    this.#pageBytes = Number(this.pragma("page_size"));
  }

  prepare<Row>(sql: string): Statement<Row> {
    return this.#db.prepare(sql) as unknown as Statement<Row>;
  }

  /** The value of a one-value pragma. */
  pragma(name: string): unknown {
    const row = this.#db.prepare(`PRAGMA ${name}`).get();
    return row === undefined ? undefined : Object.values(row)[0];
  }

  /** Bytes of the file that hold data; free pages are not counted. The log beside it comes on top. */
  usedBytes(): number {
    return (Number(this.pragma("page_count")) - Number(this.pragma("freelist_count"))) * this.#pageBytes;
  }

  /**
   * Runs `work` in one write transaction: all of it or nothing.
   * Throws a TaskRunnerError where SQLite failed; whatever else `work` throws comes through unchanged.
   */
  transaction<T>(safety: Safety, work: () => T): T {
    this.#assertOpen();
    try {
      if (safety !== this.#safety) {
        this.#db.exec(`PRAGMA synchronous = ${safety === "disk" ? "FULL" : "NORMAL"}`);
        this.#safety = safety;
      }
      this.#db.exec("BEGIN IMMEDIATE");
    } catch (thrown) {
      throw asStoreError(thrown);
    }
    try {
      const result = work();
      this.#db.exec("COMMIT");
      return result;
    } catch (thrown) {
      try {
        this.#db.exec("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself already (a full disk, an I/O error); the first error tells why.
      }
      throw asStoreError(thrown);
    }
  }

  /** Runs `work`, which only reads, at one instant of the file; nobody who writes waits for it. */
  snapshot<T>(work: () => T): T {
    this.#assertOpen();
    try {
      this.#db.exec("BEGIN");
      try {
        return work();
      } finally {
        this.#db.exec("ROLLBACK");
      }
    } catch (thrown) {
      throw asStoreError(thrown);
    }
  }

  /** Runs `work` outside a transaction, for a single reading statement. */
  read<T>(work: () => T): T {
    this.#assertOpen();
    try {
      return work();
    } catch (thrown) {
      throw asStoreError(thrown);
    }
  }

  /** Changes whenever another connection, so possibly another process, has committed. */
  dataVersion(): number {
    this.#assertOpen();
    return Number(this.pragma("data_version"));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#db.close();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  #assertOpen(): void {
    if (!this.#open)
      throw new TaskRunnerError("store_unavailable", "the store is closed", { retryAfterSec: 1 });
  }
}

/** Opens and prepares the file, or throws one clear line; nothing stays open when it throws. */
function openChecked(path: string, seed: Seed): DatabaseSync {
  const fresh = path === ":memory:" || !existsSync(path);
  let db: DatabaseSync | undefined;
  try {
    if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
    db = new DatabaseSync(path);
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    if (!fresh) assertSound(db, path);
    db.exec("PRAGMA journal_mode = WAL");
    db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    db.exec(`PRAGMA journal_size_limit = ${LOG_LIMIT_BYTES}`);
    db.exec("PRAGMA cache_size = -65536");
    db.exec("PRAGMA temp_store = MEMORY");
    migrate(db, seed);
    // A read-only file opens and reads well, and would refuse the first task: ask for the write lock now.
    db.exec("BEGIN IMMEDIATE; UPDATE meta SET value = value WHERE key = 'probe'; COMMIT");
    return db;
  } catch (thrown) {
    db?.close();
    throw new TaskRunnerError("store_unavailable", `cannot open the store at ${path}: ${reasonOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function assertSound(db: DatabaseSync, path: string): void {
  db.prepare("SELECT count(*) FROM sqlite_schema").get();
  if (statSync(path).size > FULL_CHECK_BYTES) return;
  const row = db.prepare("PRAGMA quick_check(1)").get();
  const verdict = row === undefined ? "no answer" : String(Object.values(row)[0]);
  if (verdict !== "ok") throw new Error(`the file is damaged (${verdict}); restore it from a backup`);
}

/** The primary result code of an error thrown by node:sqlite; null for any other error. */
function resultCodeOf(thrown: unknown): number | null {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return null;
  return typeof thrown.errcode === "number" ? thrown.errcode & 0xff : null;
}

function reasonOf(thrown: unknown): string {
  switch (resultCodeOf(thrown)) {
    case RESULT.BUSY:
    case RESULT.LOCKED:
      return `another process has held it locked for ${BUSY_TIMEOUT_MS} ms`;
    case RESULT.READONLY:
      return "the file or its folder is read-only; task-runner needs to write to both";
    case RESULT.IOERR:
      return `the disk failed (${messageOf(thrown)})`;
    case RESULT.CORRUPT:
      return "the file is damaged; restore it from a backup";
    case RESULT.FULL:
      return "the disk is full";
    case RESULT.CANTOPEN:
      return "the file cannot be opened; check the path and its permissions";
    case RESULT.NOTADB:
      return "the file is not a SQLite database";
    default:
      return messageOf(thrown);
  }
}

/** Turns SQLite's errors into ones a caller can act on; leaves all others as they are. */
function asStoreError(thrown: unknown): unknown {
  const code = resultCodeOf(thrown);
  if (code === null) return thrown;
  if (code === RESULT.FULL) {
    return new TaskRunnerError("store_full", "the store cannot take more: the disk is full", {
      retryAfterSec: 10,
      cause: thrown,
    });
  }
  return new TaskRunnerError("store_unavailable", `the store failed: ${reasonOf(thrown)}`, {
    retryAfterSec: 1,
    cause: thrown,
  });
}
