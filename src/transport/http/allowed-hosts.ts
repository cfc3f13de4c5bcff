/** Holds a target against the hosts that its client may have called, as they are when it is delivered. */

import { hostMatcher } from "../../core/host-list.ts";

/** Lists that are kept ready; past it all are forgotten. */
const MAX_LISTS = 256;

/** Reads a client's list once for as long as it stays the same. */
export class AllowedHosts {
  readonly #matchers = new Map<string, (host: string) => boolean>();

  /** Says that the list forbids a URL's hostname, null where it does not; null allows all. */
  forbids(hostname: string, list: readonly string[] | null): string | null {
    if (list === null || this.#matcherOf(list)(hostname)) return null;
    return `host "${hostname}" is not among the client's allowed_hosts`;
  }

  #matcherOf(list: readonly string[]): (host: string) => boolean {
    const key = list.join(" ");
    const known = this.#matchers.get(key);
    if (known !== undefined) return known;
    const matcher = hostMatcher(list);
    if (this.#matchers.size >= MAX_LISTS) this.#matchers.clear();
    this.#matchers.set(key, matcher);
    return matcher;
  }
}
