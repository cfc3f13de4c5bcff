/** How addresses to listen on are written where somebody is to call them. */

/** The host by which this machine reaches a server that listens on `hostname`. */
export function reachableHost(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  return hostname === "::" ? "::1" : hostname;
}

/** A host as a URL writes it: an IPv6 address goes in brackets. */
export function hostInUrl(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
