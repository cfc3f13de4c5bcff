/** How much may be traced: so many a second and no more, so that tracing costs the same however much is delivered. */

/** A burst is traced whole where the seconds before it were quiet. */
const BURST_SEC = 5;

/** A token bucket. */
export class Budget {
  readonly #perSec: number;
  readonly #size: number;
  readonly #nowMonoMs: () => number;
  #tokens: number;
  #filledAtMonoMs: number;

  constructor(perSec: number, nowMonoMs: () => number = () => performance.now()) {
    this.#perSec = perSec;
    this.#nowMonoMs = nowMonoMs;
    this.#size = perSec * BURST_SEC;
    this.#tokens = this.#size;
    this.#filledAtMonoMs = nowMonoMs();
  }

  /** Whether there is room for one more, which it then takes. */
  take(): boolean {
    return this.#takeAbove(0);
  }

  /** The same for what matters less: half of the room is left for the rest. */
  takeSpare(): boolean {
    return this.#takeAbove(this.#size / 2);
  }

  #takeAbove(left: number): boolean {
    if (this.#tokens < left + 1) this.#fill();
    if (this.#tokens < left + 1) return false;
    this.#tokens--;
    return true;
  }

  #fill(): void {
    const now = this.#nowMonoMs();
    const gained = ((now - this.#filledAtMonoMs) / 1_000) * this.#perSec;
    this.#tokens = Math.min(this.#size, this.#tokens + gained);
    this.#filledAtMonoMs = now;
  }
}
