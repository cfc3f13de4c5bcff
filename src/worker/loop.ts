/** Keeps the slots busy: claims tasks as slots free up, has them delivered, and settles what they came to. */

import { setImmediate } from "node:timers";
import type { CancelTimer, Clock } from "../core/clock.ts";
import { MAX_CLAIM, type Settlement, type SettleResult } from "../core/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { WorkerMetrics } from "../telemetry/metrics.ts";
import { taskFields } from "../telemetry/task-fields.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type Answer, Exchange, type ExchangeStore } from "./exchange.ts";
import type { Run } from "./run.ts";
import { FailureStreak } from "./streak.ts";

export interface ClaimLoopOptions {
  /** The worker's id, which its leases carry. */
  readonly id: string;
  readonly store: ExchangeStore;
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Null where nothing is counted. */
  readonly metrics: Pick<WorkerMetrics, "settled"> | null;
  /** Tasks held at once, at most. */
  readonly concurrency: number;
  readonly leaseMs: number;
}

/** Looks for work at least this often, whatever the store's hints say. */
const LOOK_EVERY_MS = 1_000;
/** Where the store speaks of more work and hands out none, it is not asked again sooner. */
const EMPTY_WAIT_MS = 5;
/** Pause after a failed exchange; doubles with each further one up to the second. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 5_000;

/** A run that is over, and how. */
interface Ended {
  readonly run: Run;
  readonly settlement: Settlement;
}

/**
 * One turn after another, each driven by an event: a hint, the end of a delivery, the answer to an exchange,
 * a task that falls due, or the regular look. A turn starts at most one exchange with the store, and none
 * while one is under way; deliveries that ended meanwhile are settled together by the next.
 */
export class ClaimLoop {
  readonly #options: ClaimLoopOptions;
  readonly #runs = new Set<Run>();
  readonly #streak: FailureStreak;
  readonly #closed = new AbortController();
  readonly #exchange: Exchange;
  #ended: Ended[] = [];
  #exchanging = false;
  #turnComes = false;
  /** Whether the store may have work that has not been asked for. */
  #workMayWait = true;
  #draining = false;
  #pausedUntilMonoMs = 0;
  /** Whether the store came back while the exchange under way may not have noticed. */
  #storeIsBack = false;
  #lastMovedMonoMs: number;
  #cancelLook: CancelTimer = () => {};
  #cancelDue: CancelTimer = () => {};
  #onIdle: (() => void) | null = null;

  constructor(options: ClaimLoopOptions) {
    const { id, store, clock, leaseMs } = options;
    this.#options = options;
    this.#exchange = new Exchange({ id, store, clock, leaseMs, mayClaim: () => !this.#draining });
    this.#streak = new FailureStreak(options.logger, "claiming and settling tasks");
    this.#lastMovedMonoMs = clock.monoMs();
  }

  /** The tasks held now, from claim to settlement. */
  get runs(): ReadonlySet<Run> {
    return this.#runs;
  }

  /** When the loop last went round, by the clock that never goes back. It does so at least once a second. */
  get lastMovedMonoMs(): number {
    return this.#lastMovedMonoMs;
  }

  start(): void {
    this.#look();
  }

  /** Says that the store may have work. */
  hint(): void {
    this.#workMayWait = true;
    this.#soon();
  }

  /** Says that the store can be reached again: there is no point in sitting out the pause after a failure. */
  resume(): void {
    this.#storeIsBack = true;
    this.#pausedUntilMonoMs = 0;
    this.hint();
  }

  /** Claims no more. What is held is delivered and settled. */
  drain(): void {
    this.#draining = true;
    this.#pausedUntilMonoMs = 0;
    this.#soon();
  }

  /** Resolves once nothing is held and no exchange is under way, or after `withinMs`; tells which. */
  async idle(withinMs: number): Promise<boolean> {
    if (this.#isIdle()) return true;
    return new Promise((resolve) => {
      const finish = (idle: boolean) => {
        this.#onIdle = null;
        cancel();
        resolve(idle);
      };
      const cancel = this.#options.clock.after(withinMs, () => finish(false));
      this.#onIdle = () => finish(true);
    });
  }

  /** Ends all turns. What has not been settled by now is left to the store's rescue. */
  close(): void {
    this.#closed.abort();
    this.#cancelLook();
    this.#cancelDue();
  }

  #isIdle(): boolean {
    return this.#runs.size === 0 && !this.#exchanging;
  }

  #look(): void {
    this.#cancelLook = this.#options.clock.after(LOOK_EVERY_MS, () => this.#look());
    this.hint();
  }

  /** Has a turn come after all that this turn of the event loop brings, so that it finds it together. */
  #soon(): void {
    if (this.#turnComes) return;
    this.#turnComes = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#turnComes = false;
    if (this.#closed.signal.aborted) return;
    this.#lastMovedMonoMs = this.#options.clock.monoMs();
    if (this.#isIdle()) this.#onIdle?.();
    if (this.#exchanging || this.#options.clock.monoMs() < this.#pausedUntilMonoMs) return;
    const free = this.#freeSlots();
    if (this.#ended.length === 0 && (free === 0 || !this.#workMayWait)) return;
    const ended = this.#ended;
    this.#ended = [];
    if (free > 0) {
      this.#workMayWait = false;
      this.#cancelDue();
    }
    void this.#settleAndClaim(ended, free);
  }

  /** How many tasks may be claimed in the step that settles what has ended. */
  #freeSlots(): number {
    if (this.#draining) return 0;
    const held = this.#runs.size - this.#ended.length;
    return Math.min(this.#options.concurrency - held, MAX_CLAIM);
  }

  /** Settles and claims in one step. Never rejects: what could not be settled is kept for the next. */
  async #settleAndClaim(ended: readonly Ended[], limit: number): Promise<void> {
    this.#exchanging = true;
    this.#storeIsBack = false;
    const settlements = ended.map(({ settlement }) => settlement);
    try {
      const answer = await this.#exchange.run(settlements, limit, this.#closed.signal);
      this.#streak.succeeded();
      this.#letGo(ended, answer.settled);
      this.#take(answer);
    } catch (thrown) {
      this.#ended = [...ended, ...this.#ended];
      this.#workMayWait = true;
      this.#pause(thrown);
    }
    this.#exchanging = false;
    this.#soon();
  }

  #letGo(ended: readonly Ended[], results: readonly SettleResult[]): void {
    const { logger, metrics } = this.#options;
    ended.forEach(({ run, settlement }, index) => {
      this.#runs.delete(run);
      const result = results[index] ?? "stale";
      const { verdict } = settlement;
      metrics?.settled(run.task, settlement, result);
      if (result !== "settled") {
        logger.debug({ ...taskFields(run), result }, "task had moved on before it was settled");
      } else if (verdict.kind === "dead") {
        const { attempt, crashes } = run.task;
        // The attempt that was claimed for does not count where none was made.
        const attempts = settlement.attempt?.number ?? attempt - 1;
        const followUps = settlement.followUps?.map(({ id }) => id);
        const { reason } = verdict;
        logger.warn({ ...taskFields(run), attempts, crashes, reason, followUps }, "task is dead");
      }
    });
  }

  #take({ claim, askedAtMonoMs }: Answer): void {
    const { dispatcher, clock, leaseMs } = this.#options;
    // The answer may come so late, or this process have stood still so long, that others have the tasks by now.
    const isOver = clock.monoMs() - askedAtMonoMs >= leaseMs;
    for (const task of claim.tasks) {
      const run = dispatcher.begin(task, askedAtMonoMs);
      this.#runs.add(run);
      if (this.#draining) this.#end(run, dispatcher.giveBack(run, "worker stopped", "stopped"));
      else if (isOver) this.#end(run, dispatcher.giveBack(run, "its lease ran out on the way here", "lease"));
      else void this.#deliver(run);
    }
    if (claim.nextInMs === null || this.#draining) return;
    if (claim.nextInMs === 0 && claim.tasks.length > 0) {
      this.#workMayWait = true;
      return;
    }
    // The regular look comes within this time anyway, so a task far ahead needs no timer of its own.
    if (claim.nextInMs > LOOK_EVERY_MS) return;
    this.#cancelDue();
    const waitMs = claim.nextInMs === 0 ? EMPTY_WAIT_MS : claim.nextInMs;
    this.#cancelDue = this.#options.clock.after(waitMs, () => this.hint());
  }

  async #deliver(run: Run): Promise<void> {
    this.#end(run, await this.#options.dispatcher.deliver(run));
  }

  #end(run: Run, settlement: Settlement | null): void {
    run.ended = true;
    if (settlement === null) {
      this.#runs.delete(run);
      this.#workMayWait = true;
    } else {
      this.#ended.push({ run, settlement });
      if (settlement.attempt?.error != null) {
        const { status, error, durationMs } = settlement.attempt;
        this.#options.logger.debug({ ...taskFields(run), status, error, durationMs }, "delivery failed");
      }
    }
    this.#soon();
  }

  #pause(thrown: unknown): void {
    if (this.#closed.signal.aborted) return;
    this.#streak.failed(thrown);
    // What failed may have been sent before that.
    if (this.#storeIsBack) return;
    const grownMs = PAUSE_MS * 2 ** (this.#streak.failures - 1);
    // A worker that is being stopped has little time left to settle in.
    const pauseMs = Math.min(grownMs, this.#draining ? PAUSE_MS : PAUSE_MAX_MS);
    this.#pausedUntilMonoMs = this.#options.clock.monoMs() + pauseMs;
    this.#cancelDue();
    // A timer may fire a fraction of a millisecond early, and would then find the pause not over.
    this.#cancelDue = this.#options.clock.after(pauseMs + 1, () => this.#soon());
  }
}
