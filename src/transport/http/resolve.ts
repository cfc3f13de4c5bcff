/** From a host to the addresses that may be dialled: every address a name gives is judged, at every attempt. */

import { lookup } from "node:dns/promises";
import type { Clock } from "../../core/clock.ts";
import { type Guard, literalAddress } from "./guard.ts";

/** Gives every address of a name; rejects when there is none. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** What came of asking where a host is. */
export type Resolved =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  | { readonly kind: "forbidden"; readonly reason: string }
  /** No answer, or none in time. */
  | { readonly kind: "unknown"; readonly reason: string };

/** A resolver that takes longer is as good as none; the system's own tries may take half a minute. */
export const RESOLVE_TIMEOUT_MS = 10_000;

/** The system's resolver, hosts file included. */
export const systemResolve: Resolve = async (name) => {
  const found = await lookup(name, { all: true });
  return found.map((entry) => entry.address);
};

/** Finds a host's addresses and judges them. */
export class JudgedResolver {
  readonly #guard: Guard;
  readonly #resolve: Resolve;
  readonly #clock: Pick<Clock, "after">;
  /** Lookups under way, so that a burst of deliveries to one name, or a name that nobody answers for, costs one. */
  readonly #asked = new Map<string, Promise<readonly string[]>>();

  constructor(guard: Guard, resolve: Resolve, clock: Pick<Clock, "after">) {
    this.#guard = guard;
    this.#resolve = resolve;
    this.#clock = clock;
  }

  /**
   * The addresses of a URL's hostname, none of them forbidden. One that is spoils the lot: a name that mixes them
   * is set up to get past a guard. Rejects as soon as the signal aborts; a lookup itself cannot be stopped, so its
   * late answer is dropped.
   */
  async addressesOf(hostname: string, signal: AbortSignal): Promise<Resolved> {
    const forbidden = this.#guard.forbidsHost(hostname);
    if (forbidden !== null) return { kind: "forbidden", reason: forbidden };
    const literal = literalAddress(hostname);
    if (literal !== null) return { kind: "addresses", addresses: [literal] };
    const addresses = await this.#inTime(this.#ask(hostname), signal);
    signal.throwIfAborted();
    if (addresses === "late") {
      this.#asked.delete(hostname);
      const reason = `name did not resolve within ${RESOLVE_TIMEOUT_MS / 1_000} s: ${hostname}`;
      return { kind: "unknown", reason };
    }
    if (addresses.length === 0) return { kind: "unknown", reason: `name does not resolve: ${hostname}` };
    for (const address of addresses) {
      const reason = this.#guard.forbidsAddress(address);
      if (reason !== null) return { kind: "forbidden", reason: `${hostname} resolves to ${reason}` };
    }
    return { kind: "addresses", addresses };
  }

  #ask(name: string): Promise<readonly string[]> {
    const asked = this.#asked.get(name);
    if (asked !== undefined) return asked;
    const asking = this.#resolve(name).finally(() => {
      if (this.#asked.get(name) === asking) this.#asked.delete(name);
    });
    this.#asked.set(name, asking);
    return asking;
  }

  /** The answer, nothing where it was an error or the signal aborted first, or that it is late. */
  #inTime(asking: Promise<readonly string[]>, signal: AbortSignal): Promise<readonly string[] | "late"> {
    return new Promise((resolve) => {
      const done = (answer: readonly string[] | "late") => {
        cancel();
        signal.removeEventListener("abort", abandon);
        resolve(answer);
      };
      const abandon = () => done([]);
      const cancel = this.#clock.after(RESOLVE_TIMEOUT_MS, () => done("late"));
      signal.addEventListener("abort", abandon, { once: true });
      asking.then(done, abandon);
    });
  }
}
