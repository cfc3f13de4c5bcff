/** Lists of hosts that a client may have called: read alike where a task is accepted and where it is delivered. */

/**
 * Makes a matcher of hosts as URLs spell them: a name for itself, `*.name` for everything below it, an address for
 * itself in whatever spelling it has one. A dot at the end of a name makes no difference.
 */
export function hostMatcher(allowed: readonly string[]): (host: string) => boolean {
  const exact = new Set<string>();
  const below: string[] = [];
  for (const entry of allowed) {
    if (entry.startsWith("*.")) below.push(`.${canonicalHost(entry.slice(2))}`);
    else exact.add(canonicalHost(entry));
  }
  return (given) => {
    const host = withoutRootDot(given);
    return exact.has(host) || (!isAddress(host) && below.some((suffix) => host.endsWith(suffix)));
  };
}

/** A host in the one spelling that the URL parser gives it; as it is where it is none, so that it matches nothing. */
function canonicalHost(host: string): string {
  const isBareIpv6 = host.includes(":") && !host.startsWith("[");
  const url = URL.parse(`http://${isBareIpv6 ? `[${host}]` : host}/`);
  return withoutRootDot(url?.hostname ?? host);
}

/** `example.com.` is `example.com`: the dot only says that the name is whole. */
function withoutRootDot(host: string): string {
  return host.endsWith(".") ? host.slice(0, -1) : host;
}

/** Whether a host as the URL parser spells it is an address: nothing is below one. */
function isAddress(host: string): boolean {
  return host.startsWith("[") || /(?:^|\.)\d+$/.test(host);
}
