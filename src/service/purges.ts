/** Carries out purges of queues in the background, in steps that keep nobody waiting. */

import { type Clock, sleep } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { SettingsStore } from "../core/store.ts";

/** Tasks that one step looks at. */
const STEP_TASKS = 1_000;
/** Between two steps, so that deliveries and enqueues get their turn. */
const PAUSE_MS = 5;

export interface PurgeRunnerOptions {
  readonly store: Pick<SettingsStore, "purgeStep">;
  readonly clock: Clock;
  readonly logger: PurgeLogger;
}

/** What it says to whom it may concern. */
export interface PurgeLogger {
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
}

/**
 * Works from {@link start} until there is nothing left to purge. What it leaves undone, because the store failed or
 * because this process ended, the workers do.
 */
export class PurgeRunner {
  readonly #options: PurgeRunnerOptions;
  readonly #closing = new AbortController();
  #underWay: Promise<void> = Promise.resolve();
  #works = false;
  /** Whether a purge was asked for since the loop last looked. */
  #asked = false;

  constructor(options: PurgeRunnerOptions) {
    this.#options = options;
  }

  /** Sees to the purges there are; returns at once, and never fails. Asked while it works, it looks once more. */
  start(): void {
    if (this.#closing.signal.aborted) return;
    this.#asked = true;
    if (this.#works) return;
    this.#works = true;
    this.#underWay = this.#work();
  }

  /** Starts no further step; resolves when the one under way is done. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#underWay;
  }

  async #work(): Promise<void> {
    const { store, clock, logger } = this.#options;
    const { signal } = this.#closing;
    try {
      while (this.#asked && !signal.aborted) {
        this.#asked = false;
        // Every step but the last gets on, so that the loop ends.
        while (!signal.aborted && (await store.purgeStep(STEP_TASKS)) !== null) {
          await sleep(clock, PAUSE_MS, signal);
        }
      }
    } catch (thrown) {
      this.#asked = false;
      logger.warn({ reason: messageOf(thrown) }, "a purge was broken off; the workers go on with it");
    } finally {
      this.#works = false;
    }
  }
}
