/** Keeps one connection to the primary alive for ever: opens it, notices its end, and opens the next. */

import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { addressText, type HostPort } from "./address.ts";
import { type Link, LinkError } from "./link.ts";
import { Naps } from "./naps.ts";
import { type PrimaryLocator, sameAddress } from "./primary.ts";

/** Pauses between tries double from the first to the second of these, give or take a fifth. */
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 500;
const SPREAD = 0.2;
/** A connection that did not live this long counts as a failed try, so that we never spin. */
const SETTLED_MS = 1_000;
/** While it stays down, a line is logged this often. */
const REMIND_EVERY_MS = 10_000;

export interface KeeperOptions {
  readonly locator: PrimaryLocator;
  /** Opens a connection that is ready for use; rejects with the reason. */
  readonly open: (address: HostPort, signal: AbortSignal) => Promise<Link>;
  /** Called whenever a connection is up; `again` from the second time on. Must not throw. */
  readonly onUp: (again: boolean) => void;
  readonly clock: Clock;
  /** Says how it goes. */
  readonly tell: (level: "info" | "warn", facts: object, message: string) => void;
}

export class LinkKeeper {
  readonly #options: KeeperOptions;
  readonly #pauses: Naps;
  readonly #forgetMoves: () => void;
  #link: Link | null = null;
  #reason = "not connected yet";
  #ups = 0;
  /** What is being dialled, and how to break that off. */
  #dialling: { readonly address: HostPort; readonly abort: AbortController } | null = null;
  #stopped = false;
  #kept: Promise<void> | null = null;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#pauses = new Naps(options.clock);
    this.#forgetMoves = options.locator.onMoved((to) => this.#follow(to));
  }

  /** The connection, when there is one that can be used. */
  get link(): Link | null {
    return this.#link?.isOpen === true ? this.#link : null;
  }

  /** Why there is none. */
  get reason(): string {
    return this.#link?.endReason ?? this.#reason;
  }

  /** One try to connect; rejects with a {@link LinkError}. */
  async connect(): Promise<void> {
    const { locator, open, onUp } = this.#options;
    try {
      const address = await locator.locate();
      const abort = new AbortController();
      this.#dialling = { address, abort };
      if (this.#stopped) abort.abort();
      const link = await open(address, abort.signal);
      // The news may have come between the last answer and now.
      if (abort.signal.aborted) {
        link.drop("broken off");
        throw new LinkError(`${addressText(address)}: broken off`, false);
      }
      this.#link = link;
      onUp(this.#ups++ > 0);
    } catch (thrown) {
      this.#reason = messageOf(thrown);
      throw thrown;
    } finally {
      this.#dialling = null;
    }
  }

  /** Goes on for ever from here: whenever the connection ends, another is opened. */
  keep(): void {
    this.#kept ??= this.#keep();
  }

  /** Ends the connection; what is in flight on it is rejected. */
  async stop(reason: string): Promise<void> {
    this.#stopped = true;
    this.#forgetMoves();
    this.#link?.drop(reason);
    this.#dialling?.abort.abort();
    this.#pauses.wakeAll();
    await this.#kept;
    this.#reason = reason;
    this.#link = null;
  }

  async #keep(): Promise<void> {
    const { clock } = this.#options;
    let failures = 0;
    while (!this.#stopped) {
      if (this.#link !== null) {
        const upAtMonoMs = clock.monoMs();
        const reason = await this.#link.closed;
        this.#reason = `${addressText(this.#link.address)}: ${reason}`;
        this.#link = null;
        if (this.#stopped) return;
        this.#options.tell("warn", { reason: this.#reason }, "lost the connection to Redis");
        failures = clock.monoMs() - upAtMonoMs < SETTLED_MS ? failures + 1 : 0;
      }
      if (failures > 0) await this.#pause(failures);
      await this.#reconnect(failures);
    }
  }

  /** Tries until connected or stopped. */
  async #reconnect(failuresBefore: number): Promise<void> {
    const { clock, tell, locator } = this.#options;
    const settled = locator.hurry();
    const downAtMonoMs = clock.monoMs();
    let remindAtMonoMs = downAtMonoMs + REMIND_EVERY_MS;
    try {
      for (let failures = failuresBefore + 1; !this.#stopped; failures++) {
        try {
          await this.connect();
          tell("info", { afterMs: Math.round(clock.monoMs() - downAtMonoMs) }, "connected to Redis again");
          return;
        } catch {
          // Why is in `reason`, for whoever asks and for the line below.
        }
        if (clock.monoMs() >= remindAtMonoMs) {
          remindAtMonoMs = clock.monoMs() + REMIND_EVERY_MS;
          tell(
            "warn",
            { reason: this.#reason, forMs: Math.round(clock.monoMs() - downAtMonoMs) },
            "still no connection to Redis",
          );
        }
        await this.#pause(failures);
      }
    } finally {
      settled();
    }
  }

  /** Cut short when the primary has moved: then the next try is likely to do. */
  async #pause(failures: number): Promise<void> {
    if (this.#stopped) return;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10), MAX_PAUSE_MS);
    await this.#pauses.sleep(pauseMs * (1 + SPREAD * (2 * Math.random() - 1)));
  }

  #follow(to: HostPort | null): void {
    if (to === null) {
      this.#link?.drop("the primary is being replaced");
      this.#dialling?.abort.abort();
      return;
    }
    const reason = `the primary is ${addressText(to)} now`;
    if (this.#link !== null && !sameAddress(this.#link.address, to)) this.#link.drop(reason);
    if (this.#dialling !== null && !sameAddress(this.#dialling.address, to)) this.#dialling.abort.abort();
    this.#pauses.wakeAll();
  }
}
