/** A worker: claims tasks, delivers them and tells the store what came of it, until it is stopped. */

import { type Clock, type Random, sleep } from "../core/clock.ts";
import type { ConsumerStore, TaskStore } from "../core/store.ts";
import type { Sealer } from "../secrets/sealing.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { WorkerMetrics } from "../telemetry/metrics.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import { Checker, type CheckerOptions } from "./checker.ts";
import { Dispatcher, type TransportSource } from "./dispatcher.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Holds } from "./holds.ts";
import { Janitor } from "./janitor.ts";
import { ClaimLoop } from "./loop.ts";
import { type BreakerSettings, Breakers } from "./policies.ts";
import { Signing } from "./signing.ts";

export interface WorkerOptions {
  /** Names this worker in leases, attempts and the store's list of workers. */
  readonly id: string;
  readonly version: string;
  readonly store: ConsumerStore & Pick<TaskStore, "purgeStep" | "onHint">;
  readonly transports: TransportSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Nothing is traced without it. */
  readonly tracing?: Pick<Tracing, "attempt"> | null;
  /** Nothing is counted without it. */
  readonly metrics?: WorkerMetrics | null;
  /** The store that is looked through for what is broken, a little at a time; none without it. */
  readonly inspected?: CheckerOptions["store"] | null;
  /** Tasks at once. */
  readonly concurrency: number;
  /** How long a lease holds unless extended. */
  readonly leaseMs: number;
  /** Upper bound of any one attempt. */
  readonly taskTimeoutMs: number;
  /** Retries after the first attempt of a task that does not say. */
  readonly maxRetries: number;
  /** Whether the transports deliver to private addresses; announced, for only workers are told. */
  readonly allowPrivateUrls: boolean;
  readonly breaker: BreakerSettings;
  /** Opens the secrets that deliveries are signed with; null where there is no key: what is to be signed then fails. */
  readonly sealer: Pick<Sealer, "open"> | null;
  /** Ids of the tasks that follow one that ended, as `idGenerator` makes them. */
  readonly newId: (nowMs: number) => string;
}

/** After the grace: for transports to let go of what was aborted. */
const ABORT_WAIT_MS = 1_000;
/** After that: for the store to take the last settlements. */
const SETTLE_WAIT_MS = 2_500;
/** And for a chore that is under way in the store. */
const CHORE_WAIT_MS = 500;

export class Worker {
  readonly #options: WorkerOptions;
  readonly #loop: ClaimLoop;
  readonly #heartbeat: Heartbeat;
  readonly #janitor: Janitor;
  readonly #holds: Holds;
  #unsubscribe: () => void = () => {};
  #started = false;
  #stopping: Promise<void> | null = null;

  constructor(options: WorkerOptions) {
    const { id, version, store, transports, clock, random, logger, leaseMs } = options;
    const { concurrency, taskTimeoutMs, maxRetries, allowPrivateUrls, newId, metrics = null } = options;
    this.#options = options;
    this.#holds = new Holds(store, logger);
    const breakers = new Breakers({ ...options.breaker, holds: this.#holds, clock, random, logger, metrics });
    const dispatcher = new Dispatcher({
      id,
      transports,
      breakers,
      signing: new Signing({ sealer: options.sealer, logger }),
      clock,
      random,
      logger,
      tracing: options.tracing ?? null,
      taskTimeoutMs,
      maxRetries,
      newId,
    });
    this.#loop = new ClaimLoop({ id, store, dispatcher, clock, logger, metrics, concurrency, leaseMs });
    this.#heartbeat = new Heartbeat({ store, runs: this.#loop.runs, leaseMs, clock, logger, metrics });
    const worker = { id, version, concurrency, allowPrivateUrls, startedAtMs: clock.now() };
    const { inspected = null } = options;
    const checker =
      inspected === null ? null : new Checker({ store: inspected, worker: id, clock, logger, metrics });
    this.#janitor = new Janitor({ store, worker, clock, logger, checker });
  }

  /** When the claim loop last went round, in milliseconds since the epoch; at least once a second while it lives. */
  get lastMovedMonoMs(): number {
    return this.#loop.lastMovedMonoMs;
  }

  /** Tasks held now, from claim to settlement; never more than the concurrency. */
  get running(): number {
    return this.#loop.runs.size;
  }

  /** Begins to work; the second time does nothing, and so does the first after a stop. */
  start(): void {
    if (this.#started || this.#stopping !== null) return;
    this.#started = true;
    this.#unsubscribe = this.#options.store.onHint((hint) => {
      if (hint === "work") this.#loop.hint();
      else if (hint === "back") this.#loop.resume();
      else this.#heartbeat.hint();
    });
    this.#heartbeat.start();
    this.#janitor.start();
    this.#loop.start();
  }

  /**
   * Claims no more, gives running deliveries `graceMs` to finish, aborts and gives back the rest uncharged,
   * and resolves once all of it is settled. Takes at most four seconds longer than the grace, even where the store
   * no longer answers. Never rejects; a second call waits for the first.
   */
  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    if (!this.#started) return;
    const { clock, logger } = this.#options;
    this.#loop.drain();
    const choresDone = this.#janitor.stop();
    if (!(await this.#loop.idle(graceMs))) await this.#breakOffAll();
    this.#heartbeat.stop();
    this.#unsubscribe();
    this.#loop.close();
    const told = Promise.all([choresDone, this.#holds.settled()]);
    await Promise.race([told, sleep(clock, CHORE_WAIT_MS)]);
    const unsettled = this.#loop.runs.size;
    if (unsettled > 0) {
      logger.error(
        { tasks: unsettled },
        "stopped without settling; these tasks run again once their leases ran out",
      );
    }
  }

  async #breakOffAll(): Promise<void> {
    const { runs } = this.#loop;
    for (const run of runs) run.breakOff("stopped");
    if (await this.#loop.idle(ABORT_WAIT_MS)) return;
    for (const run of runs) run.abandon();
    await this.#loop.idle(SETTLE_WAIT_MS);
  }
}
