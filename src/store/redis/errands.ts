/** When the regular errands are worth a call: an idle worker must not keep Redis busy with looking for nothing. */

/** What was seen of the leases counts for this long; any worker may have leased something since. */
const LEASES_SEEN_MS = 1_500;
/** A sweep is made at least this often, for what other processes have ended. */
const SWEEP_EVERY_MS = 30_000;

/** Remembers what makes a rescue or a sweep pointless for now. */
export class Errands {
  readonly #nowMs: () => number;
  #leasesSeenAtMs = Number.NEGATIVE_INFINITY;
  #leaseEndsAtMs = Number.NEGATIVE_INFINITY;
  #sweptAtMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** An exchange has seen that no lease can run out for so long. */
  leaseEndsIn(inMs: number): void {
    this.#leasesSeenAtMs = this.#nowMs();
    this.#leaseEndsAtMs = this.#leasesSeenAtMs + inMs;
  }

  rescueIsDue(): boolean {
    const nowMs = this.#nowMs();
    return nowMs >= this.#leaseEndsAtMs || nowMs - this.#leasesSeenAtMs > LEASES_SEEN_MS;
  }

  /** This process may have ended a task, whose retention begins. */
  mayHaveEnded(): void {
    this.#sweptAtMs = Number.NEGATIVE_INFINITY;
  }

  /** A sweep has found so many to forget; after one that found none the next has time. */
  swept(found: number): void {
    this.#sweptAtMs = found > 0 ? Number.NEGATIVE_INFINITY : this.#nowMs();
  }

  sweepIsDue(): boolean {
    return Math.abs(this.#nowMs() - this.#sweptAtMs) >= SWEEP_EVERY_MS;
  }
}
