/** One exchange of the claim loop with the store: what ended goes in, what may start comes out. */

import { ExponentialBackoff, handleAll, retry } from "cockatiel";
import type { Clock } from "../core/clock.ts";
import type { Claim, ConsumerStore, Settlement, SettleResult } from "../core/store.ts";

/** The slice of the store that the claim loop uses. */
export type ExchangeStore = Pick<ConsumerStore, "claim" | "settle" | "settleAndClaim">;

export interface ExchangeOptions {
  /** The worker's id, which its leases carry. */
  readonly id: string;
  readonly store: ExchangeStore;
  readonly clock: Clock;
  readonly leaseMs: number;
  /** Asked at each try: draining may begin between two of them. */
  readonly mayClaim: () => boolean;
}

export interface Answer {
  /** One per settlement, in order. */
  readonly settled: readonly SettleResult[];
  readonly claim: Claim;
  /** When it was asked, on the monotonic clock: its leases hold from no later than that. */
  readonly askedAtMonoMs: number;
}

/** Retries after the first try, before the failure is the caller's. */
const RETRIES = 3;
const BACKOFF = { initialDelay: 50, maxDelay: 1_000 };
const NOTHING: Claim = { tasks: [], nextInMs: null };

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #tries = retry(handleAll, { maxAttempts: RETRIES, backoff: new ExponentialBackoff(BACKOFF) });

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  /**
   * Settles, and claims up to `limit` tasks in the same step. Tries a few times, which is safe: a settlement
   * repeated is stale, and a claim that failed has leased nothing. Rejects with the last failure, or as soon
   * as a try fails after `signal` aborted.
   */
  run(settlements: readonly Settlement[], limit: number, signal: AbortSignal): Promise<Answer> {
    return this.#tries.execute(() => this.#once(settlements, limit), signal);
  }

  async #once(settlements: readonly Settlement[], limit: number): Promise<Answer> {
    const { store, id, clock, leaseMs, mayClaim } = this.#options;
    const askedAtMonoMs = clock.monoMs();
    if (limit === 0 || !mayClaim()) {
      const settled = settlements.length === 0 ? [] : await store.settle(settlements);
      return { settled, claim: NOTHING, askedAtMonoMs };
    }
    const request = { worker: id, limit, leaseMs };
    if (settlements.length === 0) return { settled: [], claim: await store.claim(request), askedAtMonoMs };
    const { settled, claim } = await store.settleAndClaim(settlements, request);
    return { settled, claim, askedAtMonoMs };
  }
}
