/** Hints over pub/sub on a connection of their own, for a subscribed one does nothing else and a lost message must cost no command. */

import type { Clock } from "../../core/clock.ts";
import type { HostPort } from "./address.ts";
import { LinkKeeper } from "./keeper.ts";
import type { Link } from "./link.ts";
import type { ConnectionLogger } from "./logger.ts";
import type { PrimaryLocator } from "./primary.ts";

/** Told every message; null when messages may have been missed: at each start of the subscription. */
export type MessageListener = (message: string | null) => void;

export interface SubscriberOptions {
  readonly locator: PrimaryLocator;
  readonly open: (address: HostPort, signal: AbortSignal) => Promise<Link>;
  readonly clock: Clock;
  readonly logger: ConnectionLogger;
}

export class Subscriber {
  readonly #options: SubscriberOptions;
  readonly #listeners = new Map<string, Set<MessageListener>>();
  readonly #keeper: LinkKeeper;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.#keeper = new LinkKeeper({
      locator: options.locator,
      open: (address, signal) => this.#open(address, signal),
      onUp: () => this.#tellAll(null),
      clock: options.clock,
      // The connection for commands tells of the same events where they are seen.
      tell: (_level, facts, message) => options.logger.debug(facts, `${message} (for hints)`),
    });
    this.#keeper.keep();
  }

  add(channel: string, listener: MessageListener): () => void {
    const known = this.#listeners.get(channel);
    const listeners = known ?? new Set();
    listeners.add(listener);
    this.#listeners.set(channel, listeners);
    if (known === undefined) this.#subscribe(channel);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      this.#keeper.link?.send("unsubscribe", [channel]).catch(() => {});
    };
  }

  close(): Promise<void> {
    this.#listeners.clear();
    return this.#keeper.stop("closed");
  }

  async #open(address: HostPort, signal: AbortSignal): Promise<Link> {
    const link = await this.#options.open(address, signal);
    link.onMessage((channel, message) => this.#tell(channel, message));
    const channels = [...this.#listeners.keys()];
    // Settled by the end of the connection, if not before.
    if (channels.length > 0) await link.send("subscribe", channels);
    return link;
  }

  /** A channel that came while connected; if the connection goes first, the next one begins with it. */
  #subscribe(channel: string): void {
    const { link } = this.#keeper;
    link?.send("subscribe", [channel]).then(
      () => this.#tell(channel, null),
      () => link.drop("could not subscribe"),
    );
  }

  #tellAll(message: null): void {
    for (const channel of this.#listeners.keys()) this.#tell(channel, message);
  }

  #tell(channel: string, message: string | null): void {
    for (const listener of [...(this.#listeners.get(channel) ?? [])]) listener(message);
  }
}
