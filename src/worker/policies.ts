/** Circuit breakers, one per target host, so that a host that is down costs neither attempts nor slots. */

import type { CircuitBreakerPolicy } from "cockatiel";
import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
  isBrokenCircuitError,
} from "cockatiel";
import type { Clock, Random } from "../core/clock.ts";
import { hostOf } from "../core/host.ts";
import type { Outcome } from "../core/transport.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { WorkerMetrics } from "../telemetry/metrics.ts";
import type { Holds } from "./holds.ts";

export interface BreakerSettings {
  /** Failures in a row that open a breaker. */
  readonly failureThreshold: number;
  /** How long it stays open before one delivery may probe. */
  readonly openMs: number;
  /** Whether a host that asks for time by Retry-After has it with all its tasks; else with the one that it was told of. */
  readonly minds?: "tasks" | "hosts";
}

export interface BreakersOptions extends BreakerSettings {
  readonly holds: Pick<Holds, "hold" | "free">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Nothing is counted without it. */
  readonly metrics?: Pick<WorkerMetrics, "breakerChanged"> | null;
}

/** A delivery that asks whether it may go. */
export interface Guarded {
  /** What is called. */
  readonly url: string;
  /** Whether the store has handed it out to try a host that is held back. */
  readonly isProbe: boolean;
  /** When its claim was asked for, on the monotonic clock. */
  readonly claimedAtMonoMs: number;
}

/** The most hosts remembered at once; past it the one that failed longest ago is forgotten. */
const MAX_BREAKERS = 10_000;
/** Tasks that were claimed before the store knew of the breaker go back for this long, until it does. */
const TELLING_MS = 100;
/** The longest time that a host may ask for. */
const MAX_ASKED_MS = 3_600_000;
/** A probe that told nothing of its host is followed by another this soon. */
const PROBE_AGAIN_MS = 1_000;

// While the store cannot be told, a breaker works in this process alone.
/** Tasks held up by one breaker come back over this fraction of its open time, not all at once. */
const SPREAD = 0.1;
/** While a probe is under way the others wait for this fraction of the open time, within the bounds below. */
const PROBE_WAIT = 0.1;
const PROBE_WAIT_MIN_MS = 100;
const PROBE_WAIT_MAX_MS = 5_000;

/** How far the store is with holding a host back: told by a claim that was asked for after `sinceMonoMs`. */
type Holding =
  | { readonly kind: "telling" }
  | { readonly kind: "held"; readonly sinceMonoMs: number }
  | { readonly kind: "failed" };

interface Breaker {
  readonly host: string;
  readonly policy: CircuitBreakerPolicy;
  /** From when it lets a probe through by itself; known once it opened. */
  probeAtMs: number;
  holding: Holding;
}

/**
 * Counts each host's failures in a row. At the threshold its breaker opens, and the store holds the host's tasks back
 * for all workers and hands one of them out as a probe now and then; this process decides by itself only while the
 * store cannot be told.
 *
 * A breaker lives from a host's first failure until its next success, because a breaker without failures is the same
 * as none: while every host is well there is nothing here, and a delivery pays nothing.
 */
export class Breakers {
  readonly #options: BreakersOptions;
  readonly #byHost = new Map<string, Breaker>();

  constructor(options: BreakersOptions) {
    this.#options = options;
  }

  /** How many hosts are being watched. */
  get size(): number {
    return this.#byHost.size;
  }

  /**
   * Calls `deliver`, which must not throw, unless the breaker of its host is open; then the answer is `deferred`. A
   * probe is always delivered, and its outcome decides for all workers.
   */
  async guard(guarded: Guarded, deliver: () => Promise<Outcome>): Promise<Outcome> {
    if (guarded.isProbe) return this.#probe(hostOf(guarded.url), deliver);
    const breaker = this.#byHost.size === 0 ? undefined : this.#byHost.get(hostOf(guarded.url));
    if (breaker !== undefined && breaker.policy.state !== CircuitState.Closed) {
      if (breaker.holding.kind === "failed") return this.#alone(breaker, deliver);
      if (breaker.holding.kind === "telling") return deferred(breaker.host, TELLING_MS);
      if (guarded.claimedAtMonoMs <= breaker.holding.sinceMonoMs) return deferred(breaker.host, 0);
      // The store hands its tasks out again: another worker has found it well.
      this.#forget(breaker);
    }
    const outcome = await deliver();
    const askedMs = this.#askedMs(outcome);
    if (askedMs !== null) this.#giveTime(hostOf(guarded.url), askedMs);
    else if (speaksAgainstHost(outcome)) this.#recordFailure(hostOf(guarded.url), outcome);
    else if (this.#byHost.size > 0 && outcome.kind !== "deferred") this.#recordSuccess(hostOf(guarded.url));
    return outcome;
  }

  /** A probe that was claimed and is not delivered: another is to be tried soon. */
  notProbed(url: string): void {
    this.#probeAgain(hostOf(url));
  }

  #probeAgain(host: string): void {
    const { holds, openMs } = this.#options;
    void holds.hold(host, Math.min(PROBE_AGAIN_MS, openMs));
  }

  async #probe(host: string, deliver: () => Promise<Outcome>): Promise<Outcome> {
    const { holds, openMs, logger, metrics } = this.#options;
    const outcome = await deliver();
    const askedMs = this.#askedMs(outcome);
    if (outcome.kind === "deferred") {
      this.#probeAgain(host);
    } else if (askedMs !== null) {
      void holds.hold(host, askedMs);
    } else if (speaksAgainstHost(outcome)) {
      void holds.hold(host, openMs);
    } else {
      void holds.free(host);
      this.#byHost.delete(host);
      metrics?.breakerChanged("closed");
      logger.info({ host }, "target answers again, its breaker is closed");
    }
    return outcome;
  }

  async #alone(breaker: Breaker, deliver: () => Promise<Outcome>): Promise<Outcome> {
    const { openMs, clock, random, logger, metrics } = this.#options;
    const { host, policy } = breaker;
    const probeWaitMs = Math.min(Math.max(openMs * PROBE_WAIT, PROBE_WAIT_MIN_MS), PROBE_WAIT_MAX_MS);
    // A call that cockatiel finds half-open waits for the probe to end, and would hold its slot meanwhile.
    if (policy.state === CircuitState.HalfOpen) return deferred(host, probeWaitMs * (1 + random()));
    const closedForMs = breaker.probeAtMs - clock.now();
    if (closedForMs > 0) return deferred(host, closedForMs + openMs * SPREAD * random());
    try {
      const outcome = await policy.execute(deliver);
      if (policy.state === CircuitState.Closed) {
        this.#forget(breaker);
        metrics?.breakerChanged("closed");
        logger.info({ host }, "target answers again, its breaker is closed");
      }
      return outcome;
    } catch (thrown) {
      if (isBrokenCircuitError(thrown)) return deferred(host, PROBE_WAIT_MIN_MS);
      throw thrown;
    }
  }

  #recordFailure(host: string, outcome: Outcome): void {
    const breaker = this.#byHost.get(host) ?? this.#make(host);
    this.#remember(breaker);
    // The failure of a delivery that began before the breaker opened must not be taken for the probe's.
    if (breaker.policy.state !== CircuitState.Closed) return;
    breaker.policy
      .execute(() => outcome)
      .catch((thrown: unknown) => {
        if (!isBrokenCircuitError(thrown))
          this.#options.logger.error({ err: thrown, host }, "breaker failed");
      });
  }

  #recordSuccess(host: string): void {
    const breaker = this.#byHost.get(host);
    if (breaker?.policy.state === CircuitState.Closed) this.#forget(breaker);
  }

  #make(host: string): Breaker {
    const { failureThreshold, openMs, clock, logger, metrics } = this.#options;
    const policy = circuitBreaker(handleWhenResult(keepsOpen), {
      breaker: new ConsecutiveBreaker(failureThreshold),
      halfOpenAfter: openMs,
    });
    const breaker: Breaker = { host, policy, probeAtMs: 0, holding: { kind: "failed" } };
    policy.onBreak(() => {
      // Told of by whoever isolated it.
      if (policy.state === CircuitState.Isolated) return;
      const first = breaker.probeAtMs === 0;
      breaker.probeAtMs = clock.now() + openMs;
      void this.#tell(breaker, openMs);
      if (!first) return;
      metrics?.breakerChanged("open");
      logger.warn({ host, failures: failureThreshold, openMs }, "target keeps failing, its breaker is open");
    });
    return breaker;
  }

  /** How long the whole host is to be left alone because it asked for it; null where it did not, or nobody minds. */
  #askedMs(outcome: Outcome): number | null {
    if (this.#options.minds !== "hosts" || outcome.kind !== "failed" || outcome.retryAfterMs === null)
      return null;
    return outcome.retryAfterMs > 0 ? Math.min(outcome.retryAfterMs, MAX_ASKED_MS) : null;
  }

  /** Leaves a host alone for as long as it asked for. Where the store cannot be told, each task keeps its own time. */
  #giveTime(host: string, askedMs: number): void {
    const { metrics, logger } = this.#options;
    const breaker = this.#byHost.get(host) ?? this.#make(host);
    // Answers to what was under way ask for the same again.
    if (breaker.policy.state !== CircuitState.Closed) return;
    this.#remember(breaker);
    breaker.policy.isolate();
    metrics?.breakerChanged("open");
    logger.info({ host, forMs: askedMs }, "target asks for time, its tasks wait");
    void this.#tell(breaker, askedMs).then(() => {
      if (breaker.holding.kind === "failed") this.#forget(breaker);
    });
  }

  /** Set anew, so that the map's order is that of the last failures. */
  #remember(breaker: Breaker): void {
    this.#byHost.delete(breaker.host);
    this.#byHost.set(breaker.host, breaker);
    if (this.#byHost.size > MAX_BREAKERS) this.#forgetOldest();
  }

  /** Has the store hold the host back. Never rejects. */
  async #tell(breaker: Breaker, forMs: number): Promise<void> {
    const { holds, clock } = this.#options;
    breaker.holding = { kind: "telling" };
    const isHeld = await holds.hold(breaker.host, forMs);
    breaker.holding = isHeld ? { kind: "held", sinceMonoMs: clock.monoMs() } : { kind: "failed" };
  }

  #forget(breaker: Breaker): void {
    if (this.#byHost.get(breaker.host) === breaker) this.#byHost.delete(breaker.host);
  }

  #forgetOldest(): void {
    for (const host of this.#byHost.keys()) {
      this.#byHost.delete(host);
      return;
    }
  }
}

function speaksAgainstHost(outcome: Outcome): boolean {
  return outcome.kind === "failed" && outcome.hostAtFault;
}

/** A probe that was broken off has told nothing about the host, so it must not close the breaker. */
function keepsOpen(value: unknown): boolean {
  const outcome = value as Outcome;
  return outcome.kind === "deferred" || speaksAgainstHost(outcome);
}

function deferred(host: string, afterMs: number): Outcome {
  const reason = `circuit breaker of ${host} is open`;
  return { kind: "deferred", afterMs: Math.ceil(afterMs), reason, cause: "breaker" };
}
