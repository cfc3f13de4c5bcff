/** Tells whether a request is a delivery of Task Runner that this receiver has a secret for, and what it delivers. */

import { bodyOf, type ReadRequest } from "./body.ts";
import { VerificationError } from "./error.ts";
import { isSigned } from "./signature.ts";

export interface VerifyOptions {
  /** How far the time of signing may be from now, either way. Standard Webhooks asks for five minutes. */
  readonly toleranceSec?: number;
  /** Larger bodies are refused; the default is what Task Runner takes by default (MAX_PAYLOAD_BYTES). */
  readonly maxBodyBytes?: number;
  /** Milliseconds since the epoch; the system's clock unless given. */
  readonly now?: () => number;
}

/** A delivery whose signature is good. Of its fields the signature covers `taskId` and `body`. */
export interface Received {
  /** The same at every attempt. */
  readonly taskId: string;
  /** 1 for the first. */
  readonly attempt: number;
  /** Grows with every attempt, and with every other time that a worker took the task. */
  readonly fence: number;
  readonly queue: string;
  /** When the task was asked to run. */
  readonly scheduledAt: Date;
  /** The very bytes that came; of an empty body none. */
  readonly body: Uint8Array;
}

const DEFAULT_TOLERANCE_SEC = 300;
const DEFAULT_MAX_BODY_BYTES = 1_048_576;
/** Seconds since the epoch, without a sign or leading zeros, for thousands of years to come. */
const TIMESTAMP = /^(?:0|[1-9]\d{0,11})$/;
const WHOLE = /^[1-9]\d{0,15}$/;

/**
 * Checks a request and reads it: rejects with a {@link VerificationError} unless its signature is of one of the secrets
 * and its time is near. `secrets` are those in force, as Task Runner showed them (`whsec_…`): while one is replaced both.
 * The body of a `Request` is read by this; a body that something else has read is given as `{ headers, body }`.
 */
export async function verify(
  request: Request | ReadRequest,
  secrets: string | readonly string[],
  options: VerifyOptions = {},
): Promise<Received> {
  const {
    toleranceSec = DEFAULT_TOLERANCE_SEC,
    maxBodyBytes = DEFAULT_MAX_BODY_BYTES,
    now = Date.now,
  } = options;
  const known = typeof secrets === "string" ? [secrets] : secrets;
  if (known.length === 0) throw new TypeError("verify needs a secret at least");
  const id = header(request, "webhook-id");
  const timestamp = header(request, "webhook-timestamp");
  const signatures = header(request, "webhook-signature");
  // Before the body is read, for a request that is refused anyway should cost nothing.
  checkTime(timestamp, now(), toleranceSec);
  const body = await bodyOf(request, maxBodyBytes);
  if (!(await isSigned({ id, timestamp, body }, signatures, known))) {
    throw new VerificationError("wrong_signature", "no signature of the request is of a secret in force");
  }
  if (header(request, "x-task-id") !== id) {
    throw new VerificationError("malformed_header", "x-task-id is not the webhook-id that was signed");
  }
  return {
    taskId: id,
    attempt: whole(request, "x-task-attempt"),
    fence: whole(request, "x-task-fence"),
    queue: header(request, "x-task-queue"),
    scheduledAt: time(request, "x-task-scheduled-at"),
    body,
  };
}

function checkTime(timestamp: string, nowMs: number, toleranceSec: number): void {
  if (!TIMESTAMP.test(timestamp)) {
    throw new VerificationError("malformed_header", "webhook-timestamp is not a time in seconds");
  }
  const ageSec = Math.floor(nowMs / 1_000) - Number(timestamp);
  const allowed = `at most ${toleranceSec} s are allowed`;
  if (ageSec > toleranceSec) {
    throw new VerificationError("too_old", `the request was signed ${ageSec} s ago; ${allowed}`);
  }
  if (-ageSec > toleranceSec) {
    throw new VerificationError("too_new", `the request was signed ${-ageSec} s in the future; ${allowed}`);
  }
}

function header({ headers }: Request | ReadRequest, name: string): string {
  const value = isHeaders(headers) ? headers.get(name) : valueIn(headers, name);
  if (typeof value !== "string" || value === "") {
    throw new VerificationError("missing_header", `the header ${name} is missing`);
  }
  return value;
}

/** By what it can do, for a framework's headers are not always of this runtime's class. */
function isHeaders(headers: ReadRequest["headers"]): headers is Headers {
  return typeof headers.get === "function";
}

/** Of a header that came several times none is taken: which of them was signed nobody can tell. */
function valueIn(headers: Exclude<ReadRequest["headers"], Headers>, name: string): string | undefined {
  const found = headers[name] ?? Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  return typeof found === "string" ? found : found?.length === 1 ? found[0] : undefined;
}

function whole(request: Request | ReadRequest, name: string): number {
  const text = header(request, name);
  const value = Number(text);
  if (WHOLE.test(text) && Number.isSafeInteger(value)) return value;
  throw new VerificationError("malformed_header", `${name} is not a whole number from 1`);
}

function time(request: Request | ReadRequest, name: string): Date {
  const value = new Date(header(request, name));
  if (!Number.isNaN(value.getTime())) return value;
  throw new VerificationError("malformed_header", `${name} is not a time`);
}
