/** Why a delivery failed, in words for a person: never a header, a query string or anything the URL hides. */

import { STATUS_CODES } from "node:http";

/** Words for the codes by which Bun's fetch and node:http name what went wrong; `{host}` becomes the host's name. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed before the answer was complete",
  EPIPE: "connection closed before the request was sent",
  ENOTFOUND: "name does not resolve: {host}",
  EAI_AGAIN: "name does not resolve for now: {host}",
  EAI_FAIL: "name does not resolve: {host}",
  EHOSTUNREACH: "host cannot be reached",
  ENETUNREACH: "network cannot be reached",
  ETIMEDOUT: "connecting timed out",
  EMFILE: "no connection could be opened: too many are open here",
  ERR_TLS_CERT_ALTNAME_INVALID: "TLS certificate is not valid for {host}",
  DEPTH_ZERO_SELF_SIGNED_CERT: "TLS certificate is self-signed and not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "TLS certificate comes from a self-signed authority that is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "TLS certificate comes from no trusted authority",
  UNABLE_TO_GET_ISSUER_CERT: "TLS certificate comes from no trusted authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "TLS certificate comes from no trusted authority",
  CERT_HAS_EXPIRED: "TLS certificate has expired",
  CERT_NOT_YET_VALID: "TLS certificate is not valid yet",
  CERT_REVOKED: "TLS certificate was revoked",
  EPROTO: "TLS handshake failed",
  Malformed_HTTP_Response: "the answer is not HTTP",
  ResponseHeadersTooLarge: "the answer's headers are too large",
  HPE_HEADER_OVERFLOW: "the answer's headers are too large",
  UnrequestedUpgrade: "the answer switches to a protocol that was not asked for",
};

/** Codes after which nothing can have reached the target, so that another address may be tried at once. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
]);

/** The code of whatever was thrown, or an empty text. */
function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^\w{1,60}$/.test(code) ? code : "";
}

/** Whether no connection came about. */
export function isNotConnected(thrown: unknown): boolean {
  return NOT_CONNECTED.has(codeOf(thrown));
}

/** One line on why an exchange broke. Its message is not used: it may repeat the whole URL. */
export function wordsFor(thrown: unknown, host: string): string {
  const code = codeOf(thrown);
  const words = WORDS[code];
  if (words !== undefined) return words.replace("{host}", host);
  if (code.startsWith("HPE_")) return "the answer is not HTTP";
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_")) return `TLS handshake failed (${code})`;
  return code === "" ? "the exchange broke off" : `the exchange broke off (${code})`;
}

/** One line on an answer that is not a success. */
export function wordsForStatus(status: number): string {
  const name = STATUS_CODES[status];
  const answered = `answered ${status}${name === undefined ? "" : ` ${name}`}`;
  const redirects = status >= 300 && status < 400 && status !== 304;
  return redirects ? `${answered}; redirects are not followed` : answered;
}

/** `30 s`, `1.5 s` or `250 ms`. */
export function durationWords(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${Math.round(ms / 100) / 10} s`;
}
