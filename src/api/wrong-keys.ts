/** Makes guessing keys slow and seen: wrong ones that come often from one address are answered late and logged. */

import { type Clock, sleep } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import { RATE_WINDOW_MS, type RateWindow, requestsIn, windowNow, withRequest } from "../core/rate-window.ts";
import type { Logger } from "../telemetry/logger.ts";

/** Wrong keys in a minute that are answered at once: a person may mistype, a deployment may be half done. */
const FREE = 5;
/** The first delay; each further wrong key doubles it. */
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;
/** Answers held back at once; each keeps a connection. */
const MAX_HELD = 1_000;
/** Addresses that are remembered, the latest ones. */
const MAX_ADDRESSES = 1_000;
/** At most one line for an address in so long. */
const LOG_EVERY_MS = 60_000;
/** Of requests whose address the server could not tell. */
const UNKNOWN_ADDRESS = "unknown";

interface Offender {
  /** Wrong keys of the last minute. */
  window: RateWindow;
  /** Wrong keys since the last line. */
  unlogged: number;
  loggedAtMs: number;
}

export interface WrongKeysOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The address that a request came from; null where it is not known. */
  readonly addressOf: (request: Request) => string | null;
}

/** Counts wrong keys by the address they come from. Never sees a key. */
export class WrongKeys {
  readonly #options: WrongKeysOptions;
  /** The one that was seen last stands last. */
  readonly #offenders = new Map<string, Offender>();
  #held = 0;

  constructor(options: WrongKeysOptions) {
    this.#options = options;
  }

  /**
   * Resolves when a request with a wrong key may be answered. Rejects with `too_many_attempts` when too many wait for
   * that already.
   */
  async slowDown(request: Request): Promise<void> {
    const { clock } = this.#options;
    const delayMs = this.#count(sourceOf(this.#options.addressOf(request)), clock.now());
    if (delayMs === 0) return;
    if (this.#held >= MAX_HELD) {
      throw new TaskRunnerError(
        "too_many_attempts",
        "Too many wrong keys are being presented; try again later.",
        {
          retryAfterSec: RATE_WINDOW_MS / 1_000,
        },
      );
    }
    this.#held++;
    await sleep(clock, delayMs);
    this.#held--;
  }

  /** Adds a wrong key of this source and tells how long to hold back its answer. */
  #count(source: string, nowMs: number): number {
    const offender = this.#offenders.get(source) ?? { window: [], unlogged: 0, loggedAtMs: -LOG_EVERY_MS };
    offender.window = withRequest(windowNow(offender.window, nowMs), nowMs);
    offender.unlogged++;
    // Taken out and put back, so that it is the last to be forgotten.
    this.#offenders.delete(source);
    this.#offenders.set(source, offender);
    if (this.#offenders.size > MAX_ADDRESSES) this.#forgetOldest();
    this.#log(source, offender, nowMs);
    const over = requestsIn(offender.window) - FREE;
    return over <= 0 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (over - 1), MAX_DELAY_MS);
  }

  #forgetOldest(): void {
    for (const source of this.#offenders.keys()) {
      this.#offenders.delete(source);
      return;
    }
  }

  #log(source: string, offender: Offender, nowMs: number): void {
    if (nowMs - offender.loggedAtMs < LOG_EVERY_MS) return;
    this.#options.logger.warn(
      { address: source, wrong_keys: offender.unlogged },
      "wrong keys were presented",
    );
    offender.loggedAtMs = nowMs;
    offender.unlogged = 0;
  }
}

/**
 * What counts as one source: an IPv4 address, or an IPv6 network of 64 bits, of which whoever has one address has all.
 */
function sourceOf(address: string | null): string {
  if (address === null) return UNKNOWN_ADDRESS;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.replace(/%.*$/, "").split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  while (groups.length + after.length < 8) groups.push("0");
  const network = [...groups, ...after].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}
