/** How much may be traced: so many a second and no more, so that tracing costs the same however much is delivered. */

/** A token bucket that holds a second's worth. */
export class Budget {
  readonly #perSec: number;
  readonly #nowMonoMs: () => number;
  #tokens: number;
  #filledAtMonoMs: number;

  constructor(perSec: number, nowMonoMs: () => number = () => performance.now()) {
    this.#perSec = perSec;
    this.#nowMonoMs = nowMonoMs;
    this.#tokens = perSec;
    this.#filledAtMonoMs = nowMonoMs();
  }

  /** Whether there is room for one more, which it then takes. */
  take(): boolean {
    if (this.#tokens < 1) this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #fill(): void {
    const now = this.#nowMonoMs();
    const gained = ((now - this.#filledAtMonoMs) / 1_000) * this.#perSec;
    this.#tokens = Math.min(this.#perSec, this.#tokens + gained);
    this.#filledAtMonoMs = now;
  }
}
