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
  /** The latest connection, also while its first subscriptions are under way. */
  #link: Link | null = null;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.#keeper = new LinkKeeper({
      locator: options.locator,
      open: (address, signal) => this.#open(address, signal),
      onUp: () => {
        for (const channel of this.#listeners.keys()) this.#tell(channel, null);
      },
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
      // When it cannot be sent, the connection is gone and the subscription with it.
      if (this.#link?.isOpen === true) this.#link.send("unsubscribe", [channel]).catch(() => {});
    };
  }

  close(): Promise<void> {
    this.#listeners.clear();
    return this.#keeper.stop("closed");
  }

  async #open(address: HostPort, signal: AbortSignal): Promise<Link> {
    const link = await this.#options.open(address, signal);
    this.#link = link;
    link.onMessage((channel, message) => this.#tell(channel, message));
    const channels = [...this.#listeners.keys()];
    try {
      if (channels.length > 0) await link.send("subscribe", channels);
      return link;
    } catch (thrown) {
      link.drop("could not subscribe");
      throw thrown;
    }
  }

  /** A channel that came later; when there is no connection, the next one begins with it. */
  #subscribe(channel: string): void {
    const link = this.#link;
    if (link?.isOpen !== true) return;
    link.send("subscribe", [channel]).then(
      () => this.#tell(channel, null),
      () => link.drop("could not subscribe"),
    );
  }

  #tell(channel: string, message: string | null): void {
    for (const listener of [...(this.#listeners.get(channel) ?? [])]) listener(message);
  }
}
