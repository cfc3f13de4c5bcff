/** Time that moves only when everything that can go on has gone on: a queue of timers, and the drain before each step. */

import type { CancelTimer } from "../../src/core/clock.ts";

interface Timer {
  readonly atMs: number;
  /** Timers of one instant fire in the order they were set. */
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/** A real turn of the event loop, which ends once no microtask is left. */
export type RealTurn = () => Promise<void>;

/** Turns that bring new immediates before the program is taken to go round in circles. */
const MAX_TURNS = 10_000;

export class VirtualTime {
  readonly #realTurn: RealTurn;
  #heap: Timer[] = [];
  #immediates: (() => void)[] = [];
  #order = 0;
  #nowMs = 0;

  constructor(realTurn: RealTurn) {
    this.#realTurn = realTurn;
  }

  /** Milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fire: () => void): CancelTimer {
    const timer: Timer = {
      atMs: this.#nowMs + Math.max(0, Number.isFinite(delayMs) ? delayMs : 0),
      order: this.#order++,
      fire,
      cancelled: false,
    };
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  immediate(fire: () => void): void {
    this.#immediates.push(fire);
  }

  /**
   * Lets everything go on that waits for no timer. All that runs waits for promises, for immediates, which are
   * collected here, or for timers: so when a turn of the loop has left no immediate, nothing is left to do.
   */
  async drain(): Promise<void> {
    for (let turns = 0; turns < MAX_TURNS; turns++) {
      await this.#realTurn();
      if (this.#immediates.length === 0) return;
      const due = this.#immediates;
      this.#immediates = [];
      // Microtasks come between two immediates, as in the runtime.
      for (const fire of due) {
        fire();
        await this.#realTurn();
      }
    }
    throw new Error(`at ${this.#nowMs} ms something goes on for ever without a timer`);
  }

  /** Moves to the next timer and fires it; false when there is none. */
  step(): boolean {
    for (let timer = this.#pop(); timer !== undefined; timer = this.#pop()) {
      if (timer.cancelled) continue;
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      timer.fire();
      return true;
    }
    return false;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(timer, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      const [left, right] = [heap[down], heap[down + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) down += 1;
      const child = heap[down];
      if (child === undefined || !isBefore(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
