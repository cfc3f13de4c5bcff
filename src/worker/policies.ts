/** Circuit breakers, one per target origin, so that a host that is down costs neither attempts nor slots. */

import type { CircuitBreakerPolicy } from "cockatiel";
import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
  isBrokenCircuitError,
} from "cockatiel";
import type { Clock, Random } from "../core/clock.ts";
import type { Outcome } from "../core/transport.ts";
import type { Logger } from "../telemetry/logger.ts";

export interface BreakerSettings {
  /** Failures in a row that open a breaker. */
  readonly failureThreshold: number;
  /** How long it stays open before one delivery may probe. */
  readonly openMs: number;
}

export interface BreakersOptions extends BreakerSettings {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The most origins remembered at once; past it the one that failed longest ago is forgotten. */
const MAX_BREAKERS = 10_000;
/** Tasks held up by one breaker come back over this fraction of its open time, not all at once. */
const SPREAD = 0.1;
/** While a probe is under way the others wait for this fraction of the open time, within the bounds below. */
const PROBE_WAIT = 0.1;
const PROBE_WAIT_MIN_MS = 100;
const PROBE_WAIT_MAX_MS = 5_000;

interface Breaker {
  readonly origin: string;
  readonly policy: CircuitBreakerPolicy;
  /** From when it lets a probe through; known once it opened. */
  probeAtMs: number;
}

/**
 * Breakers of the origins that have failed lately. A breaker lives from an origin's first failure until its
 * next success, because a breaker without failures is the same as none: while every host is well there is
 * nothing here, and a delivery pays nothing.
 */
export class Breakers {
  readonly #options: BreakersOptions;
  readonly #byOrigin = new Map<string, Breaker>();

  constructor(options: BreakersOptions) {
    this.#options = options;
  }

  /** How many origins are being watched. */
  get size(): number {
    return this.#byOrigin.size;
  }

  /**
   * Calls `deliver`, which must not throw, unless the breaker of the url's origin is open; then the answer
   * is `deferred` until it may be probed. Of the deliveries that find it half-open one is the probe.
   */
  async guard(url: string, deliver: () => Promise<Outcome>): Promise<Outcome> {
    const breaker = this.#byOrigin.size === 0 ? undefined : this.#byOrigin.get(originOf(url));
    if (breaker !== undefined && breaker.policy.state !== CircuitState.Closed) {
      return this.#whileBroken(breaker, deliver);
    }
    const outcome = await deliver();
    if (speaksAgainstHost(outcome)) this.#recordFailure(originOf(url), outcome);
    else if (this.#byOrigin.size > 0 && outcome.kind !== "deferred") this.#recordSuccess(originOf(url));
    return outcome;
  }

  async #whileBroken(breaker: Breaker, deliver: () => Promise<Outcome>): Promise<Outcome> {
    const { openMs, clock, random, logger } = this.#options;
    const { origin, policy } = breaker;
    const probeWaitMs = Math.min(Math.max(openMs * PROBE_WAIT, PROBE_WAIT_MIN_MS), PROBE_WAIT_MAX_MS);
    // A call that cockatiel finds half-open waits for the probe to end, and would hold its slot meanwhile.
    if (policy.state === CircuitState.HalfOpen) return deferred(origin, probeWaitMs * (1 + random()));
    const closedForMs = breaker.probeAtMs - clock.now();
    if (closedForMs > 0) return deferred(origin, closedForMs + openMs * SPREAD * random());
    try {
      const outcome = await policy.execute(deliver);
      if (policy.state === CircuitState.Closed) {
        this.#forget(breaker);
        logger.info({ origin }, "target answers again, its breaker is closed");
      }
      return outcome;
    } catch (thrown) {
      if (isBrokenCircuitError(thrown)) return deferred(origin, PROBE_WAIT_MIN_MS);
      throw thrown;
    }
  }

  #recordFailure(origin: string, outcome: Outcome): void {
    const breaker = this.#byOrigin.get(origin) ?? this.#make(origin);
    // Set anew, so that the map's order is that of the last failures.
    this.#byOrigin.delete(origin);
    this.#byOrigin.set(origin, breaker);
    if (this.#byOrigin.size > MAX_BREAKERS) this.#forgetOldest();
    // The failure of a delivery that began before the breaker opened must not be taken for the probe's.
    if (breaker.policy.state !== CircuitState.Closed) return;
    breaker.policy
      .execute(() => outcome)
      .catch((thrown: unknown) => {
        if (!isBrokenCircuitError(thrown))
          this.#options.logger.error({ err: thrown, origin }, "breaker failed");
      });
  }

  #recordSuccess(origin: string): void {
    const breaker = this.#byOrigin.get(origin);
    if (breaker?.policy.state === CircuitState.Closed) this.#forget(breaker);
  }

  #make(origin: string): Breaker {
    const { failureThreshold, openMs, clock, logger } = this.#options;
    const policy = circuitBreaker(handleWhenResult(keepsOpen), {
      breaker: new ConsecutiveBreaker(failureThreshold),
      halfOpenAfter: openMs,
    });
    const breaker: Breaker = { origin, policy, probeAtMs: 0 };
    policy.onBreak(() => {
      const first = breaker.probeAtMs === 0;
      breaker.probeAtMs = clock.now() + openMs;
      if (first)
        logger.warn(
          { origin, failures: failureThreshold, openMs },
          "target keeps failing, its breaker is open",
        );
    });
    return breaker;
  }

  #forget(breaker: Breaker): void {
    if (this.#byOrigin.get(breaker.origin) === breaker) this.#byOrigin.delete(breaker.origin);
  }

  #forgetOldest(): void {
    for (const origin of this.#byOrigin.keys()) {
      this.#byOrigin.delete(origin);
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

function deferred(origin: string, afterMs: number): Outcome {
  return { kind: "deferred", afterMs: Math.ceil(afterMs), reason: `circuit breaker of ${origin} is open` };
}

/** Scheme, host and port; of schemes that the URL standard gives no origin, the same put together. */
function originOf(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null) return url;
  return parsed.origin === "null" ? `${parsed.protocol}//${parsed.host}` : parsed.origin;
}
