/** The one error of the client: a refusal with its problem document, or why there is no answer. */

import type { ErrorCode, Problem } from "./shapes.ts";

/**
 * The server's own codes, and three of the client: `unreachable` (no answer came), `timed_out` (none came in time),
 * `unexpected_answer` (what came is not Task Runner's, but a proxy's perhaps).
 */
export type FailureCode = ErrorCode | "unreachable" | "timed_out" | "unexpected_answer";

export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly status?: number;
  readonly problem?: Problem;
  readonly retryAfterSec?: number;
  readonly requestId?: string;
  readonly cause?: unknown;
}

export class ApiError extends Error {
  readonly code: FailureCode;
  /** Of the answer; null when there was none. */
  readonly status: number | null;
  /** The whole problem document; its `errors` name each field that was refused. */
  readonly problem: Problem | null;
  /** Seconds after which to try again; null where the answer says nothing of it. */
  readonly retryAfterSec: number | null;
  /** By which the server's log has the request. */
  readonly requestId: string | null;

  constructor({ code, message, status, problem, retryAfterSec, requestId, cause }: Failure) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ApiError";
    this.code = code;
    this.status = status ?? null;
    this.problem = problem ?? null;
    this.retryAfterSec = retryAfterSec ?? null;
    this.requestId = requestId ?? null;
  }
}

/** The error that an answer tells of. */
export function errorOf(response: Response, text: string): ApiError {
  const { status, headers } = response;
  const problem = problemOf(text);
  const after = headers.get("retry-after");
  const requestId = headers.get("x-request-id");
  const told = problem?.errors?.map(({ path, message }) => `${path} ${message}`) ?? [];
  return new ApiError({
    code: problem?.code ?? "unexpected_answer",
    message:
      problem === null
        ? `The answer has status ${status}, and is no problem document of Task Runner.`
        : [problem.detail, ...told].join("; "),
    status,
    ...(problem !== null && { problem }),
    ...(after !== null && /^\d{1,9}$/.test(after) && { retryAfterSec: Number(after) }),
    ...(requestId !== null && { requestId }),
  });
}

function problemOf(text: string): Problem | null {
  try {
    const value: unknown = JSON.parse(text);
    const isProblem =
      typeof value === "object" &&
      value !== null &&
      "code" in value &&
      typeof value.code === "string" &&
      "detail" in value &&
      typeof value.detail === "string";
    return isProblem ? (value as Problem) : null;
  } catch {
    return null;
  }
}
