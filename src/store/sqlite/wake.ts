/** Hints: who waits for work is told at once, in this process directly, in another through a watched file. */

import { closeSync, type FSWatcher, openSync, watch, writeSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import type { StoreHint } from "../../core/store.ts";
import type { Database } from "./database.ts";

/** Least time between two writes to the wake file: a busy enqueuer costs its readers at most 200 wake-ups a second. */
const MIN_PING_GAP_MS = 5;
/** Where the system cannot watch files, the database is asked this often whether another process has committed. */
const POLL_MS = 25;

/**
 * Passes hints to listeners in this process, and rings for other processes on the same database by writing
 * one byte into `<database>-wake`, which they watch. A ring can be missed or come for nothing: it only makes
 * the others look, and they look on their own every second anyway.
 */
export class Wake {
  readonly #listeners = new Set<(hint: StoreHint) => void>();
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #cancels: () => number;
  #fd: number | null = null;
  #watcher: FSWatcher | null = null;
  #poll: ReturnType<typeof setInterval> | null = null;
  #lastPingMs = Number.NEGATIVE_INFINITY;
  #cancelPing: (() => void) | null = null;
  #seenVersion = 0;
  #seenCancels = 0;

  /** `cancels` reads how many running tasks were ever cancelled, so that a cancel elsewhere is noticed. */
  constructor(db: Database, clock: Clock, cancels: () => number) {
    this.#db = db;
    this.#clock = clock;
    this.#path = `${db.path}-wake`;
    this.#cancels = cancels;
    if (!db.inMemory) this.#fd = openSync(this.#path, "a");
  }

  /** Tells everybody who listens, here and in other processes. */
  tell(hint: StoreHint): void {
    this.#tellHere(hint);
    this.#ping();
  }

  listen(listener: (hint: StoreHint) => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#watch();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#unwatch();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#unwatch();
    this.#cancelPing?.();
    this.#cancelPing = null;
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #tellHere(hint: StoreHint): void {
    for (const listener of this.#listeners) {
      try {
        listener(hint);
      } catch {
        // What was committed stays committed, whatever a listener makes of the hint; it looks again by itself.
      }
    }
  }

  /** Rings now, or once the gap has passed: the last ring always follows the last commit. */
  #ping(): void {
    if (this.#fd === null || this.#cancelPing !== null) return;
    const waitMs = this.#lastPingMs + MIN_PING_GAP_MS - this.#clock.now();
    if (waitMs > 0) {
      this.#cancelPing = this.#clock.after(waitMs, () => {
        this.#cancelPing = null;
        this.#ring();
      });
      return;
    }
    this.#ring();
  }

  #ring(): void {
    if (this.#fd === null) return;
    this.#lastPingMs = this.#clock.now();
    try {
      writeSync(this.#fd, "\n", 0);
    } catch {
      // A full disk cannot take the byte; the others look on their own within a second.
    }
  }

  #watch(): void {
    if (this.#db.inMemory) return;
    this.#seenVersion = this.#db.dataVersion();
    this.#seenCancels = this.#cancels();
    try {
      this.#watcher = watch(this.#path, { persistent: false }, () => this.#look());
      this.#watcher.on("error", () => this.#pollInstead());
    } catch {
      this.#pollInstead();
    }
  }

  #pollInstead(): void {
    this.#watcher?.close();
    this.#watcher = null;
    this.#poll ??= setInterval(() => this.#look(), POLL_MS);
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = null;
  }

  /** Our own commits do not move the data version, so our own rings end here. */
  #look(): void {
    if (!this.#db.isOpen) return;
    try {
      const version = this.#db.dataVersion();
      if (version === this.#seenVersion) return;
      this.#seenVersion = version;
      const cancels = this.#cancels();
      if (cancels !== this.#seenCancels) this.#tellHere("leases");
      this.#seenCancels = cancels;
    } catch {
      // The store is failing; whoever uses it next is told so. Looking at it is still right.
    }
    this.#tellHere("work");
  }
}
