/** How full Redis is: new tasks are refused before its ceiling, so that what is in it can still be worked off. */

import type { Clock } from "../../core/clock.ts";
import { TaskRunnerError } from "../../core/errors.ts";

/** How old a look may be. What comes in meanwhile is added up, and near the bound it is looked again at once. */
const LOOK_EVERY_MS = 1_000;
/**
 * Share of the bound above which new tasks are refused. The rest is room for the tables of Redis' hashes, which double
 * at once: of named tasks by up to six hundredths of all they take.
 */
const FULL = 0.92;
/** Share above which finished tasks go before their time. */
const PRESSED = 0.85;

/**
 * What a task takes beside its own text, at most: places in queues and in the log, entries of hashes, names. And
 * what allocating rounds it up by. Too much makes us look sooner, too little would let Redis run full in between.
 */
const BESIDE_BYTES = 512;
const ROUNDING_UP = 1.25;

/** Memory in use, and what it must not pass. */
interface Fill {
  readonly usedBytes: number;
  readonly boundBytes: number;
}

/** Looks at INFO memory now and then. */
export class MemoryGauge {
  readonly #connection: { command(name: string, ...args: (string | number)[]): Promise<unknown> };
  readonly #clock: Clock;
  readonly #maxBytes: number;
  #lookedAtMonoMs = Number.NEGATIVE_INFINITY;
  #look: Promise<void> | null = null;
  /** What came in since the last look. */
  #addedBytes = 0;
  #fills: readonly Fill[] = [];

  /** `maxBytes` is our own bound on the data in Redis, 0 for none; Redis' maxmemory counts beside it. */
  constructor(
    connection: { command(name: string, ...args: (string | number)[]): Promise<unknown> },
    clock: Clock,
    maxBytes: number,
  ) {
    this.#connection = connection;
    this.#clock = clock;
    this.#maxBytes = maxBytes;
  }

  /** Rejects with store_full when there is too little room for that many new tasks of that size together. */
  async assertRoom(tasks: number, bytes: number): Promise<void> {
    if (this.#isOld()) await this.#refresh();
    const addedBytes = bytes * ROUNDING_UP + tasks * BESIDE_BYTES;
    this.#addedBytes += addedBytes;
    if (this.#share() < FULL) return;
    // By now it may be otherwise: what was counted on top may be gone again.
    await this.#refresh();
    this.#addedBytes += addedBytes;
    if (this.#share() < FULL) return;
    throw new TaskRunnerError(
      "store_full",
      `the store uses ${Math.round(this.#share() * 100)} % of its memory (maxmemory or STORE_MAX_BYTES)`,
      { retryAfterSec: 10 },
    );
  }

  /** Whether finished tasks should make room. Looked at anew: settlements fill Redis too, and are not added up here. */
  async isPressed(): Promise<boolean> {
    await this.#refresh();
    return this.#share() > PRESSED;
  }

  #isOld(): boolean {
    return this.#clock.monoMs() - this.#lookedAtMonoMs >= LOOK_EVERY_MS;
  }

  #share(): number {
    return Math.max(
      0,
      ...this.#fills.map(({ usedBytes, boundBytes }) => (usedBytes + this.#addedBytes) / boundBytes),
    );
  }

  /** One look serves all who ask meanwhile. */
  async #refresh(): Promise<void> {
    this.#look ??= this.#measure().finally(() => {
      this.#look = null;
    });
    await this.#look;
  }

  async #measure(): Promise<void> {
    const info = String(await this.#connection.command("INFO", "memory"));
    const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
    // As Redis counts for its ceiling: buffers for replicas come on top of it. Our own bound is one of data, so
    // that buffers, and what Redis needs for itself, do not make a small store look full.
    const counted = field("used_memory") - field("mem_not_counted_for_evict");
    // Redis subtracts what it takes for itself, which may be the larger for a moment: the difference then wraps round.
    const data = field("used_memory_dataset") > field("used_memory") ? 0 : field("used_memory_dataset");
    this.#fills = [
      { usedBytes: counted, boundBytes: field("maxmemory") },
      { usedBytes: data, boundBytes: this.#maxBytes },
    ].filter(({ boundBytes }) => boundBytes > 0);
    this.#addedBytes = 0;
    this.#lookedAtMonoMs = this.#clock.monoMs();
  }
}
