/** Where traces are sent, from the forms in which a collector's address is written. */

export const OTLP_ENDPOINT_FORM =
  "host:port, http://host:port or https://host:port, with or without a path, without a login, a query or a fragment";

/** The path that OTLP over HTTP has for traces (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request). */
const TRACES_PATH = "/v1/traces";

/**
 * The URL to send traces to, or null where the text is no address of a collector. Without a scheme it is http. The
 * path of traces is added unless it is there, for `OTEL_EXPORTER_OTLP_ENDPOINT` names the base of all signals.
 */
export function tracesUrlOf(text: string): string | null {
  const given = text.trim();
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http://${given}`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return null;
  // Of such parts one may be a secret, and nothing here is kept as one.
  if (url.username !== "" || url.password !== "" || /[?#\s]/.test(given)) return null;
  const base = url.pathname.replace(/\/+$/, "");
  return `${url.origin}${base.endsWith(TRACES_PATH) ? base : base + TRACES_PATH}`;
}

/** A wrong address as it may be shown: not past where a login, a query or a fragment would be. */
export function shownEndpoint(text: string): string {
  return /[@?#]/.test(text) ? `${/^[a-z0-9+.-]+:(?=\/\/)/i.exec(text)?.[0] ?? ""}…` : text;
}
