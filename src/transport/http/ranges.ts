/** What kind of address an IP address is, whatever it is wrapped in; ipaddr.js knows the ranges. */

import ipaddr from "ipaddr.js";

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
/** A block of addresses: its first one and the length of its prefix. */
export type Block = readonly [Address, number];

/** The only IPv6 block that IANA has opened for public use (RFC 4291, "Global Unicast"). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3");
/** The prefix under which any NAT64 carries an IPv4 address (RFC 6052). */
const WELL_KNOWN_NAT64 = ipaddr.IPv6.parseCIDR("64:ff9b::/96");
/** The prefix for a network's own NAT64 (RFC 8215). */
const LOCAL_NAT64 = ipaddr.IPv6.parseCIDR("64:ff9b:1::/48");
/** IPv4-compatible (RFC 4291, section 2.5.5.1; long out of use) and IPv4-translated (RFC 2765) addresses. */
const COMPATIBLE = ipaddr.IPv6.parseCIDR("::/96");
const TRANSLATED = ipaddr.IPv6.parseCIDR("::ffff:0:0:0/96");
const MAPPED_BITS = 96;
/** Azure answers here to its machines and to nobody else, though the range is a public one. */
const AZURE_HOST = "168.63.129.16";

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
  metadata: "a cloud's metadata",
};

/** Reads an address in one of its usual spellings; null for anything else. */
export function parseAddress(text: string): Address | null {
  // ipaddr.js takes `::10.0.0.1` for `::ffff:10.0.0.1`, which is another address; the URL parser has one spelling for each.
  const isDotted = text.includes(":") && text.includes(".");
  const plain = isDotted ? (URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1) ?? "") : text;
  return ipaddr.isValid(plain) ? ipaddr.parse(plain) : null;
}

/** Reads `10.0.0.0/8`. Throws for what is none. A block of IPv4-mapped addresses is one of IPv4 addresses. */
export function parseBlock(text: string): Block {
  const [first, bits] = ipaddr.parseCIDR(text);
  return first.kind() === "ipv6" && (first as ipaddr.IPv6).isIPv4MappedAddress() && bits >= MAPPED_BITS
    ? [(first as ipaddr.IPv6).toIPv4Address(), bits - MAPPED_BITS]
    : [first, bits];
}

/** Whether a block holds an address; one of the other family is in none. */
export function isIn(block: Block, address: Address): boolean {
  const [first, bits] = block;
  if (first.kind() !== address.kind()) return false;
  return first.kind() === "ipv4"
    ? (address as ipaddr.IPv4).match(first as ipaddr.IPv4, bits)
    : (address as ipaddr.IPv6).match(first as ipaddr.IPv6, bits);
}

/** What forbids an address by its range alone, e.g. `a loopback address`; null for a public one. */
export function rangeProblem(address: Address): string | null {
  const range = rangeOf(address);
  return range === "unicast" ? null : `${WORDS[range] ?? "a reserved"} address`;
}

function rangeOf(address: Address): string {
  const range: string = address.range();
  if (address.kind() === "ipv4") return address.toString() === AZURE_HOST ? "metadata" : range;
  return range === "unicast" && !isIn(GLOBAL_UNICAST, address) ? "reserved" : range;
}

/**
 * Where a packet to an address ends up, by which it is to be judged: the address itself, or the IPv4 addresses that it
 * carries through a translator or a tunnel.
 */
export function endsOf(address: Address): readonly Address[] {
  if (address.kind() === "ipv4") return [address];
  const ipv6 = address as ipaddr.IPv6;
  const range: string = ipv6.range();
  if (range === "ipv4Mapped" || isIn(WELL_KNOWN_NAT64, ipv6)) return [carriedAt(ipv6, LAST_FOUR)];
  if (range === "6to4") return [carriedAt(ipv6, [2, 3, 4, 5])];
  // Teredo (RFC 4380): its server in clear, its client with every bit flipped.
  if (range === "teredo") return [carriedAt(ipv6, [4, 5, 6, 7]), carriedAt(ipv6, LAST_FOUR, 0xff)];
  return isIsatap(ipv6) ? [ipv6, carriedAt(ipv6, LAST_FOUR)] : [ipv6];
}

/** An address and all that it might carry, in use or not: to deny one of them is to deny them all. */
export function facesOf(address: Address): readonly Address[] {
  if (address.kind() === "ipv4") return [address];
  const ipv6 = address as ipaddr.IPv6;
  const faces: Address[] = [ipv6, ...endsOf(ipv6)];
  if (isIn(COMPATIBLE, ipv6) || isIn(TRANSLATED, ipv6)) faces.push(carriedAt(ipv6, LAST_FOUR));
  // RFC 6052, section 2.2: at the end, or around the ninth byte where the prefix is as short as the RFC's.
  if (isIn(LOCAL_NAT64, ipv6)) faces.push(carriedAt(ipv6, LAST_FOUR), carriedAt(ipv6, [6, 7, 9, 10]));
  return faces;
}

const LAST_FOUR = [12, 13, 14, 15];

function carriedAt(address: ipaddr.IPv6, places: readonly number[], flip = 0): ipaddr.IPv4 {
  const bytes = address.toByteArray();
  return new ipaddr.IPv4(places.map((place) => (bytes[place] ?? 0) ^ flip));
}

/** ISATAP (RFC 5214, section 6.1): the interface is `0:5efe` or `200:5efe` and an IPv4 address, under any prefix. */
function isIsatap({ parts }: ipaddr.IPv6): boolean {
  return parts[5] === 0x5efe && (parts[4] === 0 || parts[4] === 0x200);
}
