/** How full Redis is: new tasks are refused before its ceiling, so that what is in it can still be worked off. */

import type { Clock } from "../../core/clock.ts";
import { TaskRunnerError } from "../../core/errors.ts";

/** How old a look may be. What comes in meanwhile is added up, and near the bound it is looked again at once. */
const LOOK_EVERY_MS = 1_000;
/** Share of the bound above which new tasks are refused. */
const FULL = 0.95;
/** Share above which finished tasks go before their time. */
const PRESSED = 0.85;

/** Looks at INFO memory now and then. */
export class MemoryGauge {
  readonly #connection: { command(name: string, ...args: (string | number)[]): Promise<unknown> };
  readonly #clock: Clock;
  readonly #maxBytes: number;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #look: Promise<void> | null = null;
  #usedBytes = 0;
  #boundBytes = Number.POSITIVE_INFINITY;

  /** `maxBytes` is our own bound on Redis' memory, 0 for none; Redis' maxmemory counts beside it. */
  constructor(
    connection: { command(name: string, ...args: (string | number)[]): Promise<unknown> },
    clock: Clock,
    maxBytes: number,
  ) {
    this.#connection = connection;
    this.#clock = clock;
    this.#maxBytes = maxBytes;
  }

  /** Rejects with store_full when there is too little room for new tasks of that many bytes. */
  async assertRoom(bytes: number): Promise<void> {
    if (this.#isOld()) await this.#refresh();
    this.#usedBytes += bytes;
    if (this.#share() < FULL) return;
    // By now it may be otherwise: what was counted on top may be gone again.
    await this.#refresh();
    if (this.#share() < FULL) return;
    throw new TaskRunnerError(
      "store_full",
      `the store uses ${Math.round(this.#share() * 100)} % of its memory (maxmemory or STORE_MAX_BYTES)`,
      { retryAfterSec: 10 },
    );
  }

  /** Whether finished tasks should make room. */
  async isPressed(): Promise<boolean> {
    if (this.#isOld()) await this.#refresh();
    return this.#share() > PRESSED;
  }

  #isOld(): boolean {
    return this.#clock.now() - this.#lookedAtMs >= LOOK_EVERY_MS;
  }

  #share(): number {
    return this.#usedBytes / this.#boundBytes;
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
    const bounds = [field("maxmemory"), this.#maxBytes].filter((bytes) => bytes > 0);
    this.#boundBytes = bounds.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...bounds);
    this.#usedBytes = field("used_memory");
    this.#lookedAtMs = this.#clock.now();
  }
}
