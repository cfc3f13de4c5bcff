/** The chores a worker does for everyone: rescuing tasks of dead workers, sweeping out old ones, emptying purged queues, saying it lives. */

import type { CancelTimer, Clock } from "../core/clock.ts";
import type { ConsumerStore, TaskStore, WorkerRecord } from "../core/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Checker } from "./checker.ts";
import { FailureStreak } from "./streak.ts";

export interface JanitorOptions {
  readonly store: Pick<ConsumerStore, "rescue" | "sweep" | "announce"> & Pick<TaskStore, "purgeStep">;
  readonly worker: Omit<WorkerRecord, "seenAtMs">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The store is not looked through without it. */
  readonly checker: Pick<Checker, "step"> | null;
}

const RESCUE_EVERY_MS = 1_000;
const RESCUE_LIMIT = 100;
const SWEEP_EVERY_MS = 5_000;
/** Small, so that a step of it does not keep deliveries waiting. */
const SWEEP_LIMIT = 500;
const PURGE_EVERY_MS = 5_000;
const PURGE_LIMIT = 1_000;
/** Between steps while there is more to do: others get their turn. */
const MORE_AFTER_MS = 5;
const ANNOUNCE_EVERY_MS = 30_000;
const CHECK_EVERY_MS = 1_000;

/** Does one bounded step and tells whether there is more to do at once. */
type Step = () => Promise<boolean>;

export class Janitor {
  readonly #options: JanitorOptions;
  readonly #cancels = new Map<Step, CancelTimer>();
  readonly #underWay = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: JanitorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#every(ANNOUNCE_EVERY_MS, "announcing this worker", () => this.#announce());
    this.#every(RESCUE_EVERY_MS, "rescuing tasks of dead workers", () => this.#rescue());
    this.#every(SWEEP_EVERY_MS, "sweeping out old tasks", () => this.#sweep());
    this.#every(PURGE_EVERY_MS, "purging queues", () => this.#purge());
    const { checker } = this.#options;
    if (checker !== null)
      this.#every(CHECK_EVERY_MS, "looking the store through", () => this.#check(checker));
  }

  /** Starts no further step; resolves when those under way are done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#cancels.values()) cancel();
    await Promise.all(this.#underWay);
  }

  /** Repeats a step for as long as the janitor works, one at a time, the first one now. */
  #every(everyMs: number, what: string, step: Step): void {
    const streak = new FailureStreak(this.#options.logger, what);
    const round = async () => {
      let more = false;
      try {
        more = await step();
        streak.succeeded();
      } catch (thrown) {
        streak.failed(thrown);
      }
      if (this.#stopped) return;
      this.#cancels.set(step, this.#options.clock.after(more ? MORE_AFTER_MS : everyMs, go));
    };
    const go = () => {
      const done = round().finally(() => this.#underWay.delete(done));
      this.#underWay.add(done);
    };
    go();
  }

  async #announce(): Promise<boolean> {
    await this.#options.store.announce(this.#options.worker);
    return false;
  }

  async #check(checker: Pick<Checker, "step">): Promise<boolean> {
    await checker.step();
    return false;
  }

  async #rescue(): Promise<boolean> {
    const { store, logger } = this.#options;
    const rescued = await store.rescue(RESCUE_LIMIT);
    if (rescued.length > 0) {
      logger.warn({ tasks: rescued.length }, "took back tasks whose worker let their lease run out");
    }
    return rescued.length >= RESCUE_LIMIT;
  }

  async #sweep(): Promise<boolean> {
    const { tasks, names, more } = await this.#options.store.sweep(SWEEP_LIMIT);
    if (tasks + names > 0) this.#options.logger.debug({ tasks, names }, "swept out finished tasks");
    return more;
  }

  async #purge(): Promise<boolean> {
    const progress = await this.#options.store.purgeStep(PURGE_LIMIT);
    if (progress === null) return false;
    const { queue, removed, share } = progress;
    const { logger } = this.#options;
    if (share < 1) logger.debug({ queue, removed, share }, "purging a queue");
    else logger.info({ queue, removed }, "a queue is purged");
    return true;
  }
}
