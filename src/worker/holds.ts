/** Hosts held back in the store, for all workers at once: told off the way of deliveries, which never wait for it. */

import type { ConsumerStore } from "../core/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import { FailureStreak } from "./streak.ts";

/** The slice of the store that this uses. */
export type HostStore = Pick<ConsumerStore, "holdHost" | "freeHost">;

/** Tells the store; a failure is logged once, and never thrown. */
export class Holds {
  readonly #store: HostStore;
  readonly #streak: FailureStreak;
  readonly #pending = new Set<Promise<boolean>>();

  constructor(store: HostStore, logger: Logger) {
    this.#store = store;
    this.#streak = new FailureStreak(logger, "holding back hosts that fail");
  }

  /** Resolves with whether the store has it. */
  hold(host: string, forMs: number): Promise<boolean> {
    return this.#tell(() => this.#store.holdHost(host, forMs));
  }

  free(host: string): Promise<boolean> {
    return this.#tell(() => this.#store.freeHost(host));
  }

  /** Resolves once nothing is on its way to the store. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #tell(call: () => Promise<void>): Promise<boolean> {
    const told = this.#call(call);
    this.#pending.add(told);
    void told.then(() => this.#pending.delete(told));
    return told;
  }

  async #call(call: () => Promise<void>): Promise<boolean> {
    try {
      await call();
      this.#streak.succeeded();
      return true;
    } catch (thrown) {
      this.#streak.failed(thrown);
      return false;
    }
  }
}
