/** Whether private addresses may be called, asked of the workers: only they are told so (ALLOW_PRIVATE_URLS). */

import type { Clock } from "../core/clock.ts";
import type { ProducerStore } from "../core/store.ts";

/** A worker that has not announced itself for this long has no say. */
const SEEN_WITHIN_MS = 300_000;
/** How long an answer is believed, so that a stream of such tasks does not ask the store for each. */
const BELIEVED_MS = 2_000;

/** Remembers for a moment whether any living worker delivers to private addresses. */
export class PrivateTargets {
  readonly #store: Pick<ProducerStore, "workers">;
  readonly #clock: Pick<Clock, "now">;
  #answer: Promise<boolean> | null = null;
  #askedAtMs = 0;

  constructor(store: Pick<ProducerStore, "workers">, clock: Pick<Clock, "now">) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Rejects as the store does when it cannot be asked; the next call then asks again. */
  allowed(): Promise<boolean> {
    const nowMs = this.#clock.now();
    if (this.#answer === null || nowMs - this.#askedAtMs >= BELIEVED_MS) {
      this.#askedAtMs = nowMs;
      this.#answer = this.#ask();
    }
    return this.#answer;
  }

  async #ask(): Promise<boolean> {
    try {
      const workers = await this.#store.workers(SEEN_WITHIN_MS);
      return workers.some((worker) => worker.allowPrivateUrls);
    } catch (reason) {
      this.#answer = null;
      throw reason;
    }
  }
}
