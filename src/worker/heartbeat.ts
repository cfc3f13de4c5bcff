/** Keeps the leases of running deliveries, in batches, and breaks off those that may no longer run. */

import { ExponentialBackoff, handleAll, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import type { CancelTimer, Clock } from "../core/clock.ts";
import type { ConsumerStore, LostLease } from "../core/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { WorkerMetrics } from "../telemetry/metrics.ts";
import type { BreakOff, Run } from "./run.ts";
import { FailureStreak } from "./streak.ts";

export interface HeartbeatOptions {
  readonly store: Pick<ConsumerStore, "extend">;
  /** The tasks that are held; looked at anew at every beat. */
  readonly runs: ReadonlySet<Run>;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Null where nothing is counted. */
  readonly metrics: Pick<WorkerMetrics, "leasesLost"> | null;
}

/** Beats in the time of a lease: two may fail before a lease runs out. */
const BEATS_PER_LEASE = 3;
/** Hints that leases were lost are acted on at once, but not more often than this. */
const HINTED_EVERY_MS = 50;
/** How far a transport may overrun the timeout it was given before it is taken to have forgotten it. */
const TIMEOUT_SLACK_MS = 10_000;
/** How long a transport may take to end once it was told to. */
const ABORT_SLACK_MS = 10_000;

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #beatMs: number;
  readonly #streak: FailureStreak;
  /** An extend that hangs is given up before the next beat, so that it cannot keep the later ones away. */
  readonly #tries: { execute<T>(call: () => Promise<T>): Promise<T> };
  #cancelBeat: CancelTimer = () => {};
  #cancelHinted: CancelTimer | null = null;
  #extending = false;
  /** Whether an extend is due when the one under way is back: of `all`, or of those held for a while. */
  #again: "all" | "aged" | null = null;
  #lastHintedAtMonoMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#beatMs = options.leaseMs / BEATS_PER_LEASE;
    this.#streak = new FailureStreak(options.logger, "extending leases");
    this.#tries = wrap(
      timeout(this.#beatMs, { strategy: TimeoutStrategy.Aggressive, abortOnReturn: true }),
      retry(handleAll, {
        maxAttempts: 2,
        backoff: new ExponentialBackoff({ initialDelay: 50, maxDelay: this.#beatMs / 4 }),
      }),
    );
  }

  start(): void {
    this.#armBeat(this.#beatMs);
  }

  /** Some lease may have been lost: finds out at once which. */
  hint(): void {
    if (this.#stopped || this.#cancelHinted !== null) return;
    const waitMs = this.#lastHintedAtMonoMs + HINTED_EVERY_MS - this.#options.clock.monoMs();
    const look = () => {
      this.#cancelHinted = null;
      this.#lastHintedAtMonoMs = this.#options.clock.monoMs();
      this.#extendSoon("all");
    };
    if (waitMs <= 0) look();
    else this.#cancelHinted = this.#options.clock.after(waitMs, look);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelBeat();
    this.#cancelHinted?.();
  }

  #armBeat(afterMs: number): void {
    this.#cancelBeat = this.#options.clock.after(afterMs, () => this.#beat());
  }

  #beat(): void {
    this.#breakOffExpired();
    this.#breakOffOverdue();
    this.#extendSoon("aged");
    this.#armBeat(this.#nextBeatMs());
  }

  /** The next beat comes sooner where a lease would run out before it. */
  #nextBeatMs(): number {
    const now = this.#options.clock.monoMs();
    let nextMs = this.#beatMs;
    for (const run of this.#options.runs) {
      if (run.ended || run.brokenOff !== null) continue;
      nextMs = Math.min(nextMs, run.leasedAtMonoMs + this.#options.leaseMs - now);
    }
    return Math.max(1, Math.ceil(nextMs));
  }

  #breakOffExpired(): void {
    const runOutAtMonoMs = this.#options.clock.monoMs() - this.#options.leaseMs;
    const expired = this.#breakOff((run) => run.leasedAtMonoMs <= runOutAtMonoMs, "expired");
    if (expired > 0) {
      this.#options.metrics?.leasesLost("expired", expired);
      this.#options.logger.error(
        { deliveries: expired },
        "leases ran out because they could not be extended; their deliveries are broken off",
      );
    }
  }

  #breakOffOverdue(): void {
    const now = this.#options.clock.monoMs();
    const overdue = this.#breakOff(
      (run) => now - run.startedAtMonoMs > run.timeoutMs + TIMEOUT_SLACK_MS,
      "overdue",
    );
    if (overdue > 0) {
      this.#options.logger.error({ deliveries: overdue }, "a transport does not keep its timeouts");
    }
    for (const run of this.#options.runs) if (run.ignoresAbort(now, ABORT_SLACK_MS)) run.abandon();
  }

  #breakOff(isMeant: (run: Run) => boolean, why: BreakOff): number {
    let count = 0;
    for (const run of this.#options.runs) if (isMeant(run) && run.breakOff(why)) count++;
    return count;
  }

  #extendSoon(which: "all" | "aged"): void {
    if (this.#extending) {
      if (this.#again !== "all") this.#again = which;
      return;
    }
    void this.#extend(which);
  }

  /** Extends leases in one call. Never rejects. */
  async #extend(which: "all" | "aged"): Promise<void> {
    const now = this.#options.clock.monoMs();
    // Most deliveries are over long before their first beat; they are spared the extend.
    const youngestMonoMs = which === "all" ? now : now - this.#beatMs * 0.9;
    const runs = [...this.#options.runs].filter(
      (run) => mayKeepLease(run) && run.leasedAtMonoMs <= youngestMonoMs,
    );
    if (runs.length > 0) {
      this.#extending = true;
      try {
        const { lost, askedAtMonoMs } = await this.#tries.execute(() => this.#ask(runs));
        this.#streak.succeeded();
        this.#apply(runs, lost, askedAtMonoMs);
      } catch (thrown) {
        this.#streak.failed(thrown);
      }
      this.#extending = false;
    }
    const again = this.#again;
    this.#again = null;
    if (again !== null && !this.#stopped) void this.#extend(again);
  }

  async #ask(runs: readonly Run[]): Promise<{ lost: readonly LostLease[]; askedAtMonoMs: number }> {
    const askedAtMonoMs = this.#options.clock.monoMs();
    const lost = await this.#options.store.extend(
      runs.map((run) => run.lease),
      this.#options.leaseMs,
    );
    return { lost, askedAtMonoMs };
  }

  #apply(runs: readonly Run[], lost: readonly LostLease[], askedAtMonoMs: number): void {
    const whyByLease = new Map(lost.map(({ taskId, fence, why }) => [`${taskId} ${fence}`, why]));
    let stale = 0;
    for (const run of runs) {
      const why =
        whyByLease.size === 0 ? undefined : whyByLease.get(`${run.lease.taskId} ${run.lease.fence}`);
      if (why !== "stale") run.leasedAtMonoMs = askedAtMonoMs;
      if (why === "cancelled") run.breakOff("cancelled");
      // A run that ended while the store was asked is not lost: it was settled first.
      else if (why === "stale" && run.breakOff("lost")) stale++;
    }
    if (stale > 0) {
      this.#options.metrics?.leasesLost("stale", stale);
      this.#options.logger.warn({ deliveries: stale }, "leases were lost; their deliveries are broken off");
    }
  }
}

/** A delivery that was told to end holds its lease until it has: the slot is in use as long. */
function mayKeepLease({ brokenOff }: Run): boolean {
  return brokenOff !== "lost" && brokenOff !== "expired";
}
