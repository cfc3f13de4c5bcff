/** A clock whose time stands still until a test moves it, so that delays, leases and retention are tested without waiting. */

import type { CancelTimer, Clock } from "../../src/core/clock.ts";

interface Timer {
  readonly atMs: number;
  /** Tells timers of one instant apart: the one set first fires first. */
  readonly order: number;
  readonly fire: () => void;
}

/** More timers than this in one `advance` is a timer that sets itself again without end. */
const MAX_FIRED_PER_ADVANCE = 100_000;

/** Where a test's time begins unless it says otherwise: a plausible date, so that a mix-up with a duration shows. */
const START_MS = Date.UTC(2026, 0, 1);

export class ManualClock implements Clock {
  readonly #startMs: number;
  #nowMs: number;
  #order = 0;
  #timers: Timer[] = [];

  constructor(startMs: number = START_MS) {
    this.#startMs = startMs;
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monoMs(): number {
    return this.#nowMs - this.#startMs;
  }

  /** How many timers are set and have not fired. */
  get pending(): number {
    return this.#timers.length;
  }

  /** A timer of zero or less fires right after the running code, without the time being moved; never within the call. */
  after(delayMs: number, fire: () => void): CancelTimer {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.push(timer);
    if (delayMs <= 0) queueMicrotask(() => this.#fire(timer));
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /**
   * Moves the time by `ms` (zero or more) and fires what falls due on the way, each at its own instant and
   * in order. Between two timers everything that waits on the first goes on, so that timers it sets in turn
   * fire too if they are due.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`time does not go back: advance(${ms})`);
    const untilMs = this.#nowMs + ms;
    for (let fired = 0; ; fired++) {
      if (fired > MAX_FIRED_PER_ADVANCE) throw new Error("a timer sets itself again without end");
      const next = this.#earliest();
      if (next === undefined || next.atMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#fire(next);
      await turnOfTheLoop();
    }
    this.#nowMs = untilMs;
    await turnOfTheLoop();
  }

  #earliest(): Timer | undefined {
    let earliest: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        !earliest ||
        timer.atMs < earliest.atMs ||
        (timer.atMs === earliest.atMs && timer.order < earliest.order)
      ) {
        earliest = timer;
      }
    }
    return earliest;
  }

  #fire(timer: Timer): void {
    if (!this.#timers.includes(timer)) return;
    this.#timers = this.#timers.filter((other) => other !== timer);
    timer.fire();
  }
}

/** Lets every promise that can go on do so. */
function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
