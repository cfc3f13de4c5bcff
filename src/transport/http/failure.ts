/** Why a delivery failed, in words for a person: never a header, a query string or anything the URL hides. */

import { STATUS_CODES } from "node:http";
import type { FailureCause } from "../../core/transport.ts";

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
  EndlessProvisional: "provisional answers (1xx) without end",
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

/** Codes that tell of the proxy, where one is used, beside those: nothing of the target's can cause them. */
const PROXY_UNREACHED: ReadonlySet<string> = new Set(["ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN", "EAI_FAIL"]);

/** The code of whatever was thrown, or an empty text. */
export function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^\w{1,60}$/.test(code) ? code : "";
}

/** An error that says nothing but its code, by which its words are found. */
export function codedError(code: string): Error {
  return Object.assign(new Error(code), { code });
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

/** The codes that tell of one thing alone. */
const CAUSES: Readonly<Record<string, FailureCause>> = {
  ECONNREFUSED: "connection",
  ECONNRESET: "connection",
  EPIPE: "connection",
  EHOSTUNREACH: "connection",
  ENETUNREACH: "connection",
  EADDRNOTAVAIL: "connection",
  EAFNOSUPPORT: "connection",
  ETIMEDOUT: "connection",
  EMFILE: "connection",
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  EAI_FAIL: "dns",
  DEPTH_ZERO_SELF_SIGNED_CERT: "tls",
  SELF_SIGNED_CERT_IN_CHAIN: "tls",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "tls",
  UNABLE_TO_GET_ISSUER_CERT: "tls",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "tls",
  CERT_HAS_EXPIRED: "tls",
  CERT_NOT_YET_VALID: "tls",
  CERT_REVOKED: "tls",
  EPROTO: "tls",
};

/** Why an exchange broke, as one word of few. */
export function causeOf(thrown: unknown): FailureCause {
  const code = codeOf(thrown);
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_")) return "tls";
  return CAUSES[code] ?? "other";
}

/** What the egress proxy did not do for us. Its message is in words for a person. */
export class ProxyFailure extends Error {
  /** Whether the target is to blame, as far as the proxy says. */
  readonly hostAtFault: boolean;

  constructor(message: string, hostAtFault: boolean) {
    super(message);
    this.hostAtFault = hostAtFault;
  }

  /** It answered the wish for a connection with something else; by a 5xx it says that it could not make one. */
  static answered(status: number): ProxyFailure {
    const refusal =
      status >= 200 && status < 300 ? "sent bytes before the target could" : wordsForStatus(status);
    return new ProxyFailure(`the egress proxy ${refusal}`, status >= 500);
  }
}

/** What went wrong on the way to the proxy, or null where it was elsewhere. */
export function proxyFailureFor(thrown: unknown): ProxyFailure | null {
  if (thrown instanceof ProxyFailure) return thrown;
  const code = codeOf(thrown);
  if (!NOT_CONNECTED.has(code) && !PROXY_UNREACHED.has(code)) return null;
  return new ProxyFailure(`the egress proxy cannot be reached: ${wordsFor(thrown, "its host")}`, false);
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
