/** Reads the store's state for whoever scrapes: seldom, and never for long. */

import { type Clock, sleep } from "../core/clock.ts";
import type { LaneCounts, ProducerStore, SettingsStore } from "../core/store.ts";

/** What the store says of itself. */
export interface StoreState {
  readonly counts: readonly LaneCounts[];
  readonly hostsHeld: number;
  readonly workers: number;
}

export interface StateReaderOptions {
  readonly store: Pick<ProducerStore, "counts" | "workers"> & Pick<SettingsStore, "heldHosts">;
  readonly clock: Clock;
}

/** However many scrape, the store is asked no more often. */
const GOOD_MS = 5_000;
/** A scrape waits no longer: what is counted here is told without the store. */
const PATIENCE_MS = 3_000;
/** Workers announce themselves every 30 s; two of those may be missed. */
const WORKER_SEEN_WITHIN_MS = 90_000;

export class StateReader {
  readonly #options: StateReaderOptions;
  #underWay: Promise<StoreState | null> | null = null;
  #last: { readonly state: StoreState; readonly atMonoMs: number } | null = null;

  constructor(options: StateReaderOptions) {
    this.#options = options;
  }

  /** Null where the store does not answer. Never rejects. */
  async read(): Promise<StoreState | null> {
    const last = this.#last;
    if (last !== null && performance.now() - last.atMonoMs < GOOD_MS) return last.state;
    // One that hangs is waited for by all, so that there is never a second.
    this.#underWay ??= this.#ask();
    const answered = new AbortController();
    const late = sleep(this.#options.clock, PATIENCE_MS, answered.signal).then(() => null);
    const state = await Promise.race([this.#underWay, late]);
    answered.abort();
    return state;
  }

  async #ask(): Promise<StoreState | null> {
    const { store } = this.#options;
    try {
      const [counts, hosts, workers] = await Promise.all([
        store.counts({ oldest: true }),
        store.heldHosts(),
        store.workers(WORKER_SEEN_WITHIN_MS),
      ]);
      const state = { counts, hostsHeld: hosts.length, workers: workers.length };
      this.#last = { state, atMonoMs: performance.now() };
      return state;
    } catch {
      // Its being out of reach is a metric of its own, and logged by those who need it.
      return null;
    } finally {
      this.#underWay = null;
    }
  }
}
