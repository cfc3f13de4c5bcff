/** Which hosts may be dialled: a task must never reach this machine, its network or a cloud's metadata service. */

import ipaddr from "ipaddr.js";
import { type Block, endsOf, facesOf, isIn, parseAddress, parseBlock, rangeProblem } from "./ranges.ts";

/** Names that always mean this machine or this network (RFC 6761, RFC 6762, ICANN's private-use `internal`). */
const LOCAL_NAME = /(?:^|\.)(?:localhost|internal|local)$/;

/** Addresses whose verdict is remembered; past it all are forgotten. */
const MAX_VERDICTS = 1_000;

/** What may be dialled beside public addresses, and what may not be in any case. */
export interface GuardRules {
  /** Whether every address may be dialled that `denyCidrs` does not hold. */
  readonly allowPrivate: boolean;
  /** Blocks that may be dialled though they are not public, e.g. `10.0.0.0/8`. */
  readonly allowCidrs?: readonly string[];
  /** Blocks that may not be dialled, whatever else is allowed. */
  readonly denyCidrs?: readonly string[];
}

/** Judges hosts and addresses. Says what forbids one, e.g. `a loopback address`; null where nothing does. */
export class Guard {
  readonly #allowPrivate: boolean;
  readonly #allowed: readonly Block[];
  readonly #denied: readonly Block[];
  /** The rules never change, so neither does what they say of an address. */
  readonly #verdicts = new Map<string, string | null>();

  /** Throws for what is no block. */
  constructor({ allowPrivate, allowCidrs = [], denyCidrs = [] }: GuardRules) {
    this.#allowPrivate = allowPrivate;
    this.#allowed = allowCidrs.map(parseBlock);
    this.#denied = denyCidrs.map(parseBlock);
  }

  /** Whether it forbids anything: if not, names need not be resolved to be judged. */
  get forbidsNothing(): boolean {
    return this.#allowPrivate && this.#denied.length === 0;
  }

  /**
   * Judges an IP address, whatever carries it. An IPv6 form that carries an IPv4 address is judged by what it carries;
   * what cannot be parsed is forbidden.
   */
  forbidsAddress(text: string): string | null {
    const known = this.#verdicts.get(text);
    if (known !== undefined) return known;
    const verdict = this.#judge(text);
    if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.clear();
    this.#verdicts.set(text, verdict);
    return verdict;
  }

  #judge(text: string): string | null {
    const address = parseAddress(text);
    if (address === null) return "an unreadable address";
    if (facesOf(address).some((face) => this.#denied.some((block) => isIn(block, face)))) {
      return "an address that EGRESS_DENY_CIDRS holds";
    }
    const isAllowed = (face: typeof address) => this.#allowed.some((block) => isIn(block, face));
    if (this.#allowPrivate || isAllowed(address)) return null;
    for (const end of endsOf(address)) {
      const problem = isAllowed(end) ? null : rangeProblem(end);
      if (problem !== null) return problem;
    }
    return null;
  }

  /**
   * Judges a hostname as `new URL` gives it (which has undone every odd spelling of an IPv4 address), as far as can
   * be told without resolving it.
   */
  forbidsHost(hostname: string): string | null {
    const literal = literalAddress(hostname);
    if (literal !== null) {
      const problem = this.forbidsAddress(literal);
      return problem === null ? null : `${literal} is ${problem}`;
    }
    const name = withoutRootDots(hostname);
    if (name === "") return "the host is empty";
    // Where private addresses are allowed, such a name may well have one of them.
    const isJudgedByAddress = this.#allowPrivate || this.#allowed.length > 0;
    return !isJudgedByAddress && LOCAL_NAME.test(name) ? `${name} is a name of the local network` : null;
  }

  /** Judges a name that only a proxy can resolve: one that can be no public name is forbidden with private addresses. */
  forbidsUnresolved(hostname: string): string | null {
    const name = withoutRootDots(hostname);
    const isLocal = LOCAL_NAME.test(name) || !name.includes(".");
    return !this.#allowPrivate && isLocal ? `${name} is a name of the local network` : null;
  }
}

const FOUR_NUMBERS = /^\d+\.\d+\.\d+\.\d+$/;

/** The IP address that a URL's hostname spells, without brackets; null where it is a name. */
export function literalAddress(hostname: string): string | null {
  if (hostname.startsWith("[")) return hostname.slice(1, -1);
  // The library tells a name from an address by an exception, which costs more than all the rest of taking a task in.
  return FOUR_NUMBERS.test(hostname) && ipaddr.IPv4.isValidFourPartDecimal(hostname) ? hostname : null;
}

/** A name as certificates have it: `example.com.` is `example.com`. */
export function withoutRootDots(name: string): string {
  return name.replace(/\.+$/, "");
}
