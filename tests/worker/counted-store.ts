/** Eyes on what a worker asks of its store. */

import type { StoreHint, TaskStore } from "../../src/core/store.ts";

export type StoreCall =
  | "claim"
  | "settle"
  | "settleAndClaim"
  | "extend"
  | "holdHost"
  | "freeHost"
  | "rescue"
  | "sweep"
  | "announce"
  | "purgeStep";

/** The real store with a count of the calls that a worker makes, and as slow as one across a network if told so. */
export class CountedStore {
  readonly calls: Record<StoreCall, number> = {
    claim: 0,
    settle: 0,
    settleAndClaim: 0,
    extend: 0,
    holdHost: 0,
    freeHost: 0,
    rescue: 0,
    sweep: 0,
    announce: 0,
    purgeStep: 0,
  };
  /** How long claims and settlements take to come back; they are done at once. */
  answerAfterMs = 0;
  /** What every claim says of the time until the next, in place of what the store says. */
  nextInMs: number | undefined;
  /** The most claims and settlements that were under way at once. */
  mostExchanges = 0;
  #exchanges = 0;
  readonly #store: TaskStore;

  constructor(store: TaskStore) {
    this.#store = store;
  }

  get total(): number {
    return Object.values(this.calls).reduce((sum, count) => sum + count, 0);
  }

  claim: TaskStore["claim"] = async (request) => {
    const claim = await this.#exchange(this.#counted("claim").claim(request));
    return this.nextInMs === undefined ? claim : { ...claim, nextInMs: this.nextInMs };
  };
  settle: TaskStore["settle"] = (settlements) => this.#exchange(this.#counted("settle").settle(settlements));
  settleAndClaim: TaskStore["settleAndClaim"] = (settlements, request) =>
    this.#exchange(this.#counted("settleAndClaim").settleAndClaim(settlements, request));
  extend: TaskStore["extend"] = (leases, leaseMs) => this.#counted("extend").extend(leases, leaseMs);
  holdHost: TaskStore["holdHost"] = (host, forMs) => this.#counted("holdHost").holdHost(host, forMs);
  freeHost: TaskStore["freeHost"] = (host) => this.#counted("freeHost").freeHost(host);
  rescue: TaskStore["rescue"] = (limit) => this.#counted("rescue").rescue(limit);
  sweep: TaskStore["sweep"] = (limit) => this.#counted("sweep").sweep(limit);
  announce: TaskStore["announce"] = (worker) => this.#counted("announce").announce(worker);
  purgeStep: TaskStore["purgeStep"] = (limit) => this.#counted("purgeStep").purgeStep(limit);
  onHint = (listener: (hint: StoreHint) => void) => this.#store.onHint(listener);

  async #exchange<T>(answer: Promise<T>): Promise<T> {
    this.mostExchanges = Math.max(this.mostExchanges, ++this.#exchanges);
    try {
      if (this.answerAfterMs > 0) await Bun.sleep(this.answerAfterMs);
      return await answer;
    } finally {
      this.#exchanges--;
    }
  }

  #counted(call: StoreCall): TaskStore {
    this.calls[call]++;
    return this.#store;
  }
}
