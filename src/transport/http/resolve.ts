/** From a host to the addresses that may be dialled: every address a name gives is judged, at every attempt. */

import { lookup } from "node:dns/promises";
import { forbiddenAddress, forbiddenHost, literalAddress } from "./guard.ts";

/** Gives every address of a name; rejects when there is none. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** What came of asking where a host is. */
export type Resolved =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  | { readonly kind: "forbidden"; readonly reason: string }
  | { readonly kind: "unknown" };

/** The system's resolver, hosts file included. */
export const systemResolve: Resolve = async (name) => {
  const found = await lookup(name, { all: true });
  return found.map((entry) => entry.address);
};

/**
 * The addresses of a URL's hostname, all of them public. One that is not spoils the lot: a name that mixes
 * them is set up to get past a guard. Rejects as soon as the signal aborts; a lookup itself cannot be
 * stopped, so its late answer is dropped.
 */
export async function resolvePublic(
  hostname: string,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<Resolved> {
  const forbidden = forbiddenHost(hostname);
  if (forbidden !== null) return { kind: "forbidden", reason: forbidden };
  const literal = literalAddress(hostname);
  if (literal !== null) return { kind: "addresses", addresses: [literal] };
  const addresses = await unlessAborted(resolve(hostname), signal);
  signal.throwIfAborted();
  if (addresses === null || addresses.length === 0) return { kind: "unknown" };
  for (const address of addresses) {
    const reason = forbiddenAddress(address);
    if (reason !== null) return { kind: "forbidden", reason: `${hostname} resolves to ${reason}` };
  }
  return { kind: "addresses", addresses };
}

/** The value, or null when it was rejected or the signal aborted first. */
function unlessAborted<T>(value: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return new Promise((done) => {
    const abandon = () => done(null);
    signal.addEventListener("abort", abandon, { once: true });
    value.then(done, abandon).finally(() => signal.removeEventListener("abort", abandon));
  });
}
