/** Whether a queue is one that consumers pull from: only there may a task be without a URL. */

import type { Clock } from "../core/clock.ts";
import type { SettingsStore } from "../core/store.ts";

/** How long a yes is believed, so that a stream of such tasks does not ask the store for each. A no is asked anew. */
const BELIEVED_MS = 2_000;
/** Queues that are remembered; past it the one that was asked about first is forgotten. */
const MAX_REMEMBERED = 1_000;

interface Asked {
  readonly answer: Promise<boolean>;
  readonly atMs: number;
}

/**
 * Remembers for a moment which queues are pull queues. That one may have changed its mode meanwhile does no harm: it
 * may do so a moment after any task was accepted, and what a worker then finds without a URL it says is so.
 */
export class PullQueues {
  readonly #store: Pick<SettingsStore, "read">;
  readonly #clock: Pick<Clock, "now">;
  readonly #asked = new Map<string, Asked>();

  constructor(store: Pick<SettingsStore, "read">, clock: Pick<Clock, "now">) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Rejects as the store does when it cannot be asked; the next call then asks again. */
  has(queue: string): Promise<boolean> {
    const nowMs = this.#clock.now();
    const known = this.#asked.get(queue);
    if (known !== undefined && nowMs - known.atMs < BELIEVED_MS) return known.answer;
    const asked = { answer: this.#ask(queue), atMs: nowMs };
    this.#asked.delete(queue);
    this.#asked.set(queue, asked);
    if (this.#asked.size > MAX_REMEMBERED) {
      const [oldest = queue] = this.#asked.keys();
      this.#asked.delete(oldest);
    }
    return asked.answer;
  }

  async #ask(queue: string): Promise<boolean> {
    let isPull = false;
    try {
      isPull = (await this.#store.read("queue", queue))?.value.mode === "pull";
    } finally {
      if (!isPull) this.#asked.delete(queue);
    }
    return isPull;
  }
}
