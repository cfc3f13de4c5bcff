/** What the EGRESS_* settings may be: blocks of addresses, and the proxy that deliveries leave by. */

import ipaddr from "ipaddr.js";

export const CIDRS_FORM = "blocks of addresses such as 10.0.0.0/8 or fd00::/8, with commas between them";
export const PROXY_FORM =
  "http://[user:password@]host:port, with %XX for what a URL cannot hold in a user or a password";

/** The blocks of a valid list, each with its prefix; a bare address is a block of its own. */
export function cidrsIn(text: string): readonly string[] {
  return entriesIn(text).map((entry) => (entry.includes("/") ? entry : `${entry}/${bitsOf(entry)}`));
}

/** Whether every entry of a list is a block, and there is one. */
export function isCidrList(text: string): boolean {
  return entriesIn(text).length > 0 && wrongCidrsIn(text) === "";
}

/** The entries of a list that are no blocks, as they are written. */
export function wrongCidrsIn(text: string): string {
  return entriesIn(text)
    .filter((entry) => !isCidr(entry))
    .join(", ");
}

function entriesIn(text: string): readonly string[] {
  return text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** Strict on purpose: `010.0.0.0/8` and `10/8` mean different things to different readers. */
function isCidr(entry: string): boolean {
  const [address = "", bits, ...more] = entry.split("/");
  if (
    !ipaddr.IPv4.isValidFourPartDecimal(address) &&
    !(address.includes(":") && ipaddr.IPv6.isValid(address))
  )
    return false;
  if (address.includes("%") || more.length > 0) return false;
  return bits === undefined || (/^(?:0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= bitsOf(address));
}

function bitsOf(address: string): number {
  return address.includes(":") ? 128 : 32;
}

/** Whether a text is the URL of an HTTP proxy and of nothing beside it. */
export function isProxyUrl(text: string): boolean {
  const url = /^[\x21-\x7e]+$/.test(text) ? URL.parse(text) : null;
  if (url === null || url.protocol !== "http:" || url.port === "0") return false;
  const isOrigin = (url.pathname === "/" || url.pathname === "") && url.search === "" && url.hash === "";
  return isOrigin && isSendable(url.username, true) && isSendable(url.password, false);
}

/** Whether a part of the login can be sent: no control character, and a user without the colon that ends it. */
function isSendable(text: string, isUser: boolean): boolean {
  try {
    const plain = decodeURIComponent(text);
    return !/\p{Cc}/u.test(plain) && !(isUser && plain.includes(":"));
  } catch {
    return false;
  }
}
