/** The host a task calls, as breakers tell them apart. */

/** Ports that say nothing. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http://": ":80", "https://": ":443" };
/** A store's scripts take hosts apart by the same rule. */
const FORM = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#\\]*)/i;

/**
 * Scheme and authority of a URL in lower case, without a port that says nothing: `https://example.com:8443`. Not the
 * parsed origin on purpose: every store can find it in the text as it was handed in. The whole text for what has none.
 */
export function hostOf(url: string): string {
  const found = FORM.exec(url);
  if (found === null) return url;
  const scheme = (found[1] ?? "").toLowerCase();
  const authority = (found[2] ?? "").toLowerCase();
  const port = DEFAULT_PORTS[scheme];
  return (
    scheme + (port !== undefined && authority.endsWith(port) ? authority.slice(0, -port.length) : authority)
  );
}
