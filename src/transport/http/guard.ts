/** Which hosts may be dialled: a task must never reach this machine, its network or a cloud's metadata service. */

import ipaddr from "ipaddr.js";

/** The only IPv6 block that IANA has opened for public use (RFC 4291, "Global Unicast"). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3");
/** The prefix under which any NAT64 carries an IPv4 address (RFC 6052); the local-use one of RFC 8215 carries private ones. */
const WELL_KNOWN_NAT64 = ipaddr.IPv6.parseCIDR("64:ff9b::/96");
/** Names that always mean this machine or this network (RFC 6761, RFC 6762, ICANN's private-use `internal`). */
const LOCAL_NAME = /(?:^|\.)(?:localhost|internal|local)$/;

const WORDS: Readonly<Record<string, string>> = {
  private: "a private",
  uniqueLocal: "a private",
  deprecatedSiteLocal: "a private",
  loopback: "a loopback",
  linkLocal: "a link-local",
  carrierGradeNat: "a shared (carrier-grade NAT)",
  multicast: "a multicast",
  broadcast: "a broadcast",
  unspecified: "an unspecified",
};

/**
 * Says what forbids dialling an IP address, e.g. `a loopback address`, or null when it is public.
 * IPv6 forms that carry an IPv4 address are judged by what they carry. What cannot be parsed is forbidden.
 */
export function forbiddenAddress(address: string): string | null {
  if (!ipaddr.isValid(address)) return "an unreadable address";
  for (const carried of [ipaddr.parse(address), ...carriedBy(ipaddr.parse(address))]) {
    const range = rangeOf(carried);
    if (range !== "unicast") return `${WORDS[range] ?? "a reserved"} address`;
  }
  return null;
}

function rangeOf(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  const range: string = address.range();
  if (address.kind() === "ipv4") return range;
  const ipv6 = address as ipaddr.IPv6;
  if (carriedBy(ipv6).length > 0) return "unicast";
  return range === "unicast" && !ipv6.match(GLOBAL_UNICAST) ? "reserved" : range;
}

/** The IPv4 addresses that a packet to this IPv6 address would end up at. */
function carriedBy(address: ipaddr.IPv4 | ipaddr.IPv6): readonly ipaddr.IPv4[] {
  if (address.kind() === "ipv4") return [];
  const ipv6 = address as ipaddr.IPv6;
  const bytes = ipv6.toByteArray();
  const at = (start: number, flip = 0) =>
    new ipaddr.IPv4(bytes.slice(start, start + 4).map((byte) => byte ^ flip));
  const range: string = ipv6.range();
  if (range === "ipv4Mapped" || ipv6.match(WELL_KNOWN_NAT64)) return [at(12)];
  if (range === "6to4") return [at(2)];
  // Teredo (RFC 4380): its server in clear, its client with every bit flipped.
  if (range === "teredo") return [at(4), at(12, 0xff)];
  return [];
}

/** The IP address that a URL's hostname spells, without brackets; null where it is a name. */
export function literalAddress(hostname: string): string | null {
  if (hostname.startsWith("[")) return hostname.slice(1, -1);
  return ipaddr.IPv4.isValidFourPartDecimal(hostname) ? hostname : null;
}

/**
 * Says what forbids a hostname as `new URL` gives it (which has undone every odd spelling of an IPv4
 * address), as far as can be told without resolving it; null where nothing does.
 */
export function forbiddenHost(hostname: string): string | null {
  const literal = literalAddress(hostname);
  if (literal !== null) {
    const forbidden = forbiddenAddress(literal);
    return forbidden === null ? null : `${literal} is ${forbidden}`;
  }
  const name = hostname.replace(/\.+$/, "");
  if (name === "") return "the host is empty";
  return LOCAL_NAME.test(name) ? `${name} is a name of the local network` : null;
}
