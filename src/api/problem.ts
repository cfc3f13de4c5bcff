/** Turns an error into the one shape in which a caller sees it: RFC 9457 problem details. */

import { Type } from "@sinclair/typebox";
import type { ErrorCode, FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { rateHeaders } from "./rate-headers.ts";
import type { Answer } from "./route.ts";

interface Kind {
  readonly status: number;
  readonly title: string;
}

const KINDS: Readonly<Record<ErrorCode, Kind>> = {
  validation_failed: { status: 400, title: "The request is not valid" },
  malformed_json: { status: 400, title: "The body is not JSON" },
  unsupported_media_type: { status: 415, title: "The Content-Type is not supported" },
  unauthorized: { status: 401, title: "A key is missing or wrong" },
  forbidden: { status: 403, title: "This is not allowed" },
  client_disabled: { status: 403, title: "The client is disabled" },
  rate_limited: { status: 429, title: "The client has used up its requests" },
  too_many_attempts: { status: 429, title: "Too many wrong keys" },
  not_found: { status: 404, title: "There is nothing at this path" },
  task_not_found: { status: 404, title: "There is no such task" },
  queue_not_found: { status: 404, title: "There is no such queue" },
  queue_disabled: { status: 409, title: "The queue is disabled" },
  client_not_found: { status: 404, title: "There is no such client" },
  tier_not_found: { status: 404, title: "There is no such tier" },
  method_not_allowed: { status: 405, title: "The path does not take this method" },
  conflict: { status: 409, title: "The state of things does not allow this" },
  payload_too_large: { status: 413, title: "The request is too large" },
  target_forbidden: { status: 422, title: "The target is not allowed" },
  overloaded: { status: 503, title: "The server is overloaded" },
  store_unavailable: { status: 503, title: "The store cannot be reached" },
  store_full: { status: 503, title: "The store is full" },
  durability_unavailable: { status: 503, title: "The task cannot be stored as safely as asked" },
  internal_error: { status: 500, title: "Something went wrong on our side" },
};

/** What a key may be sent as; which kinds of key a route takes, the problem's detail tells. */
const CHALLENGE = 'Bearer realm="task-runner", ApiKey realm="task-runner", header="X-Admin-Key"';
/** A caller that is told to come back, but not when, is told this. */
const DEFAULT_RETRY_AFTER_SEC = 1;
/** So that an answer stays small whatever nonsense came in. */
const MAX_FIELDS = 100;
const MAX_PATH_CHARS = 200;

export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: "urn:task-runner:problem:{code}" }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.Unsafe<ErrorCode>(
      Type.String({ enum: Object.keys(KINDS), description: "A stable word for machines." }),
    ),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ description: "The field, e.g. task.url or tasks[3].delay" }),
          message: Type.String(),
        }),
        { description: `Every failing field, the first ${MAX_FIELDS} of them.` },
      ),
    ),
  },
  { $id: "Problem", description: "RFC 9457 problem details" },
);

/** The codes of problems that have this status. */
export function codesOf(status: number): readonly string[] {
  return Object.entries(KINDS).flatMap(([code, kind]) => (kind.status === status ? [code] : []));
}

/** The answer that tells of `error`. */
export function problemAnswer(error: TaskRunnerError): Answer {
  const { status, title } = KINDS[error.code];
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    ...(error.rate !== undefined && rateHeaders(error.rate)),
  };
  if (error.retryAfterSec !== undefined || status === 503) {
    headers["retry-after"] = String(Math.ceil(error.retryAfterSec ?? DEFAULT_RETRY_AFTER_SEC));
  }
  if (status === 401) headers["www-authenticate"] = CHALLENGE;
  const body = JSON.stringify({
    type: `urn:task-runner:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    ...(error.fields.length > 0 && { errors: shownFields(error.fields) }),
  });
  return { status, body, headers };
}

/** The failing fields as they are shown: so many, and none with a path of any length. */
export function shownFields(fields: readonly FieldProblem[]): readonly FieldProblem[] {
  return fields.slice(0, MAX_FIELDS).map(({ path, message }) => ({
    path: path.length > MAX_PATH_CHARS ? `${path.slice(0, MAX_PATH_CHARS)}…` : path,
    message,
  }));
}
