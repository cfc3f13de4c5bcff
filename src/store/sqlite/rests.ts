/** Which lanes are passed over for a while, so that setting tasks aside does not slow those that have something to hand out. */

/** Tasks handed out for each that is set aside beside them, while there are others to hand out: it costs them little. */
const GIVEN_FOR_ONE = 8;
/** But no lane is left alone for longer than this because of it. */
const MAX_REST_MS = 1_000;
/** Resting lanes remembered; with more the memory starts over. */
const MAX_RESTING = 10_000;

/**
 * Lanes at whose head stood tasks of held hosts and nothing else: while others have tasks to hand out these are left
 * alone for some time. Each process keeps its own, for it is about cost and not about turns.
 */
export class Rests {
  /** Of each lane until how many tasks were handed out it rests, and until when at most. */
  readonly #until = new Map<number, { readonly given: number; readonly ms: number }>();
  #given = 0;

  /** Tasks were handed out. */
  gave(count: number): void {
    this.#given += count;
  }

  get size(): number {
    return this.#until.size;
  }

  begin(lane: number, setAside: number, nowMs: number): void {
    if (this.#until.size >= MAX_RESTING) this.#until.clear();
    this.#until.set(lane, { given: this.#given + setAside * GIVEN_FOR_ONE, ms: nowMs + MAX_REST_MS });
  }

  has(lane: number, nowMs: number): boolean {
    const until = this.#until.get(lane);
    if (until === undefined) return false;
    // A clock that was set back must not make it longer.
    if (until.given > this.#given && until.ms > nowMs && until.ms <= nowMs + MAX_REST_MS) return true;
    this.#until.delete(lane);
    return false;
  }
}
