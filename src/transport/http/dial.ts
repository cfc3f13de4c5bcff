/** The seam between what a delivery is and how this runtime sends it: fetch on Bun, node:http elsewhere. */

import type { Clock } from "../../core/clock.ts";
import { createFetchDialler } from "./dial-fetch.ts";
import { createNodeDialler } from "./dial-node.ts";
import { createProxyDialler } from "./dial-proxy.ts";

/** One request, ready to be sent. */
export interface Call {
  readonly url: URL;
  /** The only addresses that may be dialled, best first; null leaves the name to the runtime, or to the proxy. */
  readonly addresses: readonly string[] | null;
  readonly method: string;
  /** Named in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | null;
  /** Breaks the exchange off, whatever it is at. */
  readonly signal: AbortSignal;
}

/** What came back: its head, and its body yet to be read. */
export interface Answer {
  readonly status: number;
  /** Takes the name in lower case. */
  header(name: string): string | null;
  /**
   * Reads the body to its end or to the bound, whichever comes first; to be called once. A compressed one
   * comes as the bytes that were sent. Rejects when it broke off.
   */
  read(): Promise<string | Uint8Array>;
}

/** Sends requests. Redirects are not followed, and no proxy of the environment is used. */
export interface Dialler {
  /** Resolves with the head of the answer; rejects with what went wrong, or once the signal aborts. */
  dial(call: Call): Promise<Answer>;
  /** Lets go of idle connections. */
  close(): void;
}

export type DialClock = Pick<Clock, "after">;

/**
 * The dialler that fits the runtime, or the one through a proxy. Bun's fetch is twice as fast as its node:http, and
 * takes a server name for an address; Deno's fetch can do neither that nor ignore a proxy, but its node:http can.
 */
export function createDialler(clock: DialClock, proxyUrl: string | null): Dialler {
  if (proxyUrl !== null) return createProxyDialler(proxyUrl, clock);
  const byNode = createNodeDialler(clock);
  return "Bun" in globalThis ? createFetchDialler(byNode) : byNode;
}
