/** Turns the call that a caller describes into the target that is kept: url, method, headers and body made plain. */

import { Buffer } from "node:buffer";
import type { FieldProblem } from "../core/errors.ts";
import type { Target } from "../core/task.ts";
import type { EnqueueRequest } from "./enqueue-request.ts";

type TargetRequest = EnqueueRequest["task"];
type Headers = Record<string, string>;

const MAX_HEADERS = 64;
const MAX_HEADER_CHARS = 32_768;

/** Never passed on: they belong to one connection, or are ours to set. `x-task-*` is dropped as well. */
const DROPPED = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
]);

/** A token of RFC 9110, section 5.6.2. */
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** A field value of RFC 9110, section 5.5: no CR, LF, NUL or other control, and no character past one byte. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\x00-\x1f\x7f]/;

const NO_HEADERS: Headers = Object.freeze({});
const NO_BODY = /^(?:GET|HEAD)$/;
const encoder = new TextEncoder();

/** Kept as the URL of a task that has none, and is handed to consumers only. */
export const NO_URL = "";

/** What is wrong is added to `problems`; the target is then not to be used. */
export function buildTarget(request: TargetRequest, problems: FieldProblem[]): Target {
  const method = (request.method ?? "POST").toUpperCase();
  const headers = request.headers === undefined ? NO_HEADERS : keptHeaders(request.headers, problems);
  const url = request.url === undefined ? NO_URL : normalisedUrl(request.url, "task.url", problems);
  const { body, contentType } = readBody(request, problems);
  if (body !== null && NO_BODY.test(method)) {
    const path = request.body_base64 === undefined ? "task.body" : "task.body_base64";
    problems.push({ path, message: `must be left out: a ${method} request carries no body` });
  }
  return { url, method, headers: withContentType(headers, contentType), body };
}

/** Bytes that a body takes on the wire. */
export function bodyBytes(body: Target["body"]): number {
  if (body === null) return 0;
  return typeof body === "string" ? encoder.encode(body).length : body.length;
}

/** Whether a body is longer than `maxBytes`, counting the bytes of a text only when it might be. */
export function isLongerThan(body: Target["body"], maxBytes: number): boolean {
  if (typeof body !== "string") return body !== null && body.length > maxBytes;
  // One UTF-16 unit takes 1 to 3 bytes of UTF-8.
  if (body.length * 3 <= maxBytes) return false;
  return body.length > maxBytes || bodyBytes(body) > maxBytes;
}

/** The URL in the one spelling in which it is kept; what is wrong is added to `problems`, under `path`. */
export function normalisedUrl(given: string, path: string, problems: FieldProblem[]): string {
  // The parser drops tabs and line breaks: what would be called is not what was written.
  const url = CONTROL.test(given) ? null : URL.parse(given);
  if (url !== null) return url.href;
  problems.push({
    path,
    message: "must be an absolute URL with its scheme, e.g. https://example.com/hook",
  });
  return given;
}

function keptHeaders(given: Readonly<Headers>, problems: FieldProblem[]): Headers {
  const kept: Headers = {};
  const seen = new Set<string>();
  let chars = 0;
  for (const name of Object.keys(given)) {
    const value = given[name] ?? "";
    const lower = name.toLowerCase();
    chars += name.length + value.length;
    const fault = headerFault(name, value, seen.has(lower));
    if (fault !== null) problems.push({ path: `task.headers.${name}`, message: fault });
    seen.add(lower);
    if (fault === null && !DROPPED.has(lower) && !lower.startsWith("x-task-")) kept[name] = value;
  }
  if (seen.size > MAX_HEADERS || chars > MAX_HEADER_CHARS) {
    problems.push({
      path: "task.headers",
      message: `must be at most ${MAX_HEADERS} headers and ${MAX_HEADER_CHARS} characters in all`,
    });
  }
  return kept;
}

function headerFault(name: string, value: string, repeated: boolean): string | null {
  // Assigning to `__proto__` would set a prototype in place of a header.
  if (!HEADER_NAME.test(name) || name === "__proto__") {
    return "is not a header name: letters, digits and !#$%&'*+-.^_`|~ are allowed";
  }
  if (!HEADER_VALUE.test(value)) {
    return "must hold no line break, no control character and none beyond ISO 8859-1";
  }
  return repeated ? "is given twice, in different cases" : null;
}

interface ReadBody {
  readonly body: Target["body"];
  /** What it is sent as where the caller does not say; null for bytes, of which nothing is known. */
  readonly contentType: string | null;
}

const NOTHING: ReadBody = { body: null, contentType: null };

function readBody({ body, body_base64: base64 }: TargetRequest, problems: FieldProblem[]): ReadBody {
  if (base64 !== undefined) {
    if (body !== undefined) {
      problems.push({ path: "task.body_base64", message: "must not be given together with body" });
      return NOTHING;
    }
    const bytes = decodeBase64(base64);
    if (bytes !== null) return { body: bytes, contentType: null };
    problems.push({ path: "task.body_base64", message: "must be base64 (RFC 4648, with padding)" });
    return NOTHING;
  }
  if (body === undefined || body === null) return NOTHING;
  if (typeof body === "string") {
    if (body.isWellFormed()) return { body, contentType: "text/plain;charset=UTF-8" };
    problems.push({
      path: "task.body",
      message: "must be text that UTF-8 can hold: half a surrogate pair cannot",
    });
    return NOTHING;
  }
  try {
    return { body: JSON.stringify(body), contentType: "application/json" };
  } catch {
    // The parser takes deeper nesting than the serialiser.
    problems.push({ path: "task.body", message: "is nested too deeply" });
    return NOTHING;
  }
}

/** Null unless `text` is base64 in its one canonical spelling: alphabet, padding and unused bits. */
function decodeBase64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? new Uint8Array(bytes) : null;
}

function withContentType(headers: Headers, contentType: string | null): Headers {
  if (contentType === null) return headers;
  for (const name in headers) if (name.toLowerCase() === "content-type") return headers;
  return { ...headers, "content-type": contentType };
}
