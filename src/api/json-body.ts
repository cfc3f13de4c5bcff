/** Reads a request's JSON, never more of it than is allowed, and refuses what is not JSON in plain words. */

import { messageOf, TaskRunnerError } from "../core/errors.ts";

export const JSON_TYPE = "application/json";
export const NDJSON_TYPE = "application/x-ndjson";

/**
 * The body's media type, one of `accepted`; a request that names none is taken for JSON.
 * Throws `unsupported_media_type` otherwise.
 */
export function mediaTypeOf(request: Request, accepted: readonly string[]): string {
  const header = request.headers.get("content-type");
  if (header === null || header === JSON_TYPE) return JSON_TYPE;
  const [essence = "", ...parameters] = header.split(";").map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith("charset="));
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  if (accepted.includes(essence) && isUtf8) return essence;
  throw new TaskRunnerError(
    "unsupported_media_type",
    `Send the body as ${accepted.join(" or as ")}, in UTF-8, and say so in the header "Content-Type: ${JSON_TYPE}".`,
  );
}

/** Where bytes are counted as they come; both throw where there is no room. */
export interface ReadingRoom {
  /** Called before a large body is begun. */
  begin(): void;
  take(bytes: number): void;
}

/** A body up to this size is read at once, and counted as it says; a longer one as it comes, for it may never. */
const READ_AT_ONCE_BYTES = 64 * 1024;
const ENDLESS_ROOM: ReadingRoom = { begin: () => {}, take: () => {} };

/**
 * The body as text. Throws `payload_too_large` past `maxBytes`, before reading where the request says its
 * length, and `malformed_json` when it ends early or is not UTF-8; whatever `room` throws it does too.
 */
export async function readText(
  request: Request,
  maxBytes: number,
  room: ReadingRoom = ENDLESS_ROOM,
): Promise<string> {
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) > maxBytes) throw tooLarge(maxBytes);
  const isSmall = length !== null && Number(length) <= READ_AT_ONCE_BYTES;
  if (isSmall) room.take(Number(length));
  else room.begin();
  const bytes = isSmall ? await readWhole(request) : await readBounded(request, maxBytes, room);
  // A server that lets a false length through must not make us read more.
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes);
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("The body is not UTF-8.");
  }
}

/** Parses JSON, keeping numbers that do not fit a double as they were written. Throws `malformed_json`. */
export function parseJson(text: string): unknown {
  try {
    return MAYBE_INEXACT.test(text) ? JSON.parse(text, keepExact) : JSON.parse(text);
  } catch (thrown) {
    if (thrown instanceof RangeError) throw malformed("The JSON is nested too deeply.");
    throw malformed(text.trim() === "" ? "The body is empty." : "The body is not JSON.");
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Whether a number too long or too large for a double may be in a text; errs on the side of yes. */
const MAYBE_INEXACT = /[.\d]{16}|\d[eE][+-]?\d{3}/;
/** A longer number is passed on as it is without a closer look. */
const MAX_COMPARED_CHARS = 64;

/**
 * A number that would not come out as it went in stays the text it was: as a task's payload it is passed
 * on exactly, and anywhere else it fails the check as no number. The `JSON.rawJSON` of ECMAScript's
 * "JSON.parse source text access".
 */
function keepExact(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  return isSameNumber(value, context.source) ? value : RAW_JSON.rawJSON(context.source);
}

/** Whether writing `value` gives the number of `source`, if perhaps in other digits (1.0, 1e3). */
function isSameNumber(value: number, source: string): boolean {
  if (!Number.isFinite(value) || source.length > MAX_COMPARED_CHARS) return false;
  return digitsOf(String(value)) === digitsOf(source);
}

/** A number's significant digits and the power of ten of the last one: the same for every spelling of it. */
function digitsOf(text: string): string {
  const [mantissa = "", exponent = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  return `${kept}@${kept === "" ? 0 : Number(exponent) - fraction.length + digits.length - kept.length}`;
}

const RAW_JSON = JSON as unknown as { rawJSON(text: string): unknown };

async function readWhole(request: Request): Promise<ArrayBuffer> {
  try {
    return await request.arrayBuffer();
  } catch (thrown) {
    throw endedEarly(thrown);
  }
}

/** Reads a body of unknown length, or a large one, and lets go of it once it is too long. */
async function readBounded(request: Request, maxBytes: number, room: ReadingRoom): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.byteLength;
      if (size > maxBytes) throw tooLarge(maxBytes);
      room.take(next.value.byteLength);
      chunks.push(next.value);
    }
  } catch (thrown) {
    if (!(thrown instanceof TaskRunnerError)) throw endedEarly(thrown);
    await reader.cancel();
    throw thrown;
  }
  return joined(chunks, size);
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function tooLarge(maxBytes: number): TaskRunnerError {
  return new TaskRunnerError(
    "payload_too_large",
    `The request's body is larger than ${maxBytes} bytes, the most this route takes.`,
  );
}

function endedEarly(cause: unknown): TaskRunnerError {
  return new TaskRunnerError(
    "malformed_json",
    `The body could not be read to its end: ${messageOf(cause)}.`,
    {
      cause,
    },
  );
}

function malformed(detail: string): TaskRunnerError {
  return new TaskRunnerError("malformed_json", detail);
}
