/** Holds an answer against what the document says of it, and against what must hold of every answer. */

import { must } from "../cases.ts";
import type { JsonSchema } from "../json-schema.ts";
import type { ApiDocument, Operation } from "./document.ts";
import type { Planned } from "./requests.ts";
import type { WireAnswer } from "./wire.ts";

/** What was sent, as it went out. */
export interface Sent {
  readonly planned: Planned;
  /** With its query, markers filled in. */
  readonly path: string;
  readonly body: Uint8Array | null;
  readonly contentType: string | null;
  /** Whether the server looks at keys, and which of them the request showed opens everything. */
  readonly opensAll: boolean;
}

interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

/** The runtime's own parser answers so, before we see the request. */
const RUNTIMES = new Set([400, 431, 501, 505]);

/** Reasons to refuse what its schema takes: the documentation tells of each. */
const SEMANTIC = [
  /^must not be given together with/,
  /^must be at most 366 days ahead/,
  /^must be a time as RFC 3339/,
  /^must be RFC 3339/,
  /^must be an absolute URL/,
  /^must be base64/,
  /^must be left out: a (?:GET|HEAD) request carries no body/,
  /^must be text that UTF-8 can hold/,
  /^is not a header name/,
  /^must hold no line break/,
  /^is given twice, in different cases/,
  /^must be at most 64 (?:headers|entries)/,
  /^is not a name that metadata can have/,
  /^must not begin with "task-runner\."/,
  /^min_backoff_sec \(.*\) must be at most max_backoff_sec/,
  /^is nested too deeply/,
  /^must be a host without scheme/,
  /^must be a tier there is/,
  /^is required: an absolute URL, .*\(only a pull queue's tasks need none/,
  /^must be push: the reports in/,
  /^must be another queue$/,
  /^must not name port 0$/,
  /^must begin with http:\/\/ or https:\/\/$/,
  /^must not hold a user name or password/,
  /^scheme "[^"]*" is not supported/,
  /, which is not allowed$/,
  /is not among the client's allowed_(?:queues|hosts)$/,
  /^must be 1 to 255 visible ASCII/,
];

/** Throws unless the answer is as it must be. */
export function judge(document: ApiDocument, sent: Sent, answer: WireAnswer): void {
  const { planned } = sent;
  const { status } = answer;
  if (planned.odd && RUNTIMES.has(status) && answer.text === "") return;
  must(status < 500, () => `answered ${status}: ${answer.text.slice(0, 500)}`);
  const id = answer.headers.get("x-request-id") ?? "";
  must(/^[\x21-\x7e]{1,128}$/.test(id), () => `${status} has no X-Request-Id: ${answer.text.slice(0, 200)}`);
  const problem = status >= 400 && planned.method !== "HEAD" ? problemOf(document, answer) : null;
  if (planned.operation === null) return;
  isDocumented(document, planned.operation, answer);
  if (problem?.code === "validation_failed") namesFields(problem);
  if (sent.opensAll) {
    must(status !== 401, () => "401 for whoever may do everything");
    agree(document, planned.operation, sent, status, problem);
  }
}

/** A problem document that fits its schema, whose status is the answer's. */
export function problemOf(document: ApiDocument, answer: WireAnswer): Problem {
  const type = answer.headers.get("content-type");
  must(
    type === "application/problem+json",
    () => `${answer.status} is told as ${type}: ${answer.text.slice(0, 200)}`,
  );
  const problem: unknown = parsed(answer);
  const fault = document.schemas.fault(document.problem, problem);
  must(fault === null, () => `the problem does not fit its schema: ${fault}`);
  const told = problem as Problem;
  must(
    told.status === answer.status,
    () => `the problem says ${told.status} and the answer ${answer.status}`,
  );
  return told;
}

function isDocumented({ schemas }: ApiDocument, operation: Operation, answer: WireAnswer): void {
  const { status, headers } = answer;
  const content = operation.answers[status];
  const route = `${operation.method} ${operation.path}`;
  must(
    content !== undefined,
    () => `${route} answered ${status}, of which the document says nothing: ${answer.text.slice(0, 300)}`,
  );
  const type = (headers.get("content-type") ?? "").split(";")[0] ?? "";
  const media = content[type] ?? content[type.replace(/\/.*/, "/*")];
  must(
    media !== undefined,
    () => `${route} answered ${status} as ${type}; the document says ${Object.keys(content).join(", ")}`,
  );
  const value = type.endsWith("json") ? parsed(answer) : answer.text;
  const fault = schemas.fault(media.schema, value);
  must(fault === null, () => `${route} answered ${status} with what does not fit its schema: ${fault}`);
}

function namesFields({ errors = [], detail }: Problem): void {
  must(errors.length > 0, () => `no field is named: ${detail}`);
  for (const { path, message } of errors) {
    must(message !== "" && !/undefined|\[object/.test(message), () => `of ${path} it says: ${message}`);
  }
}

/** The document's schema and the server refuse the same bodies and queries. */
function agree(
  { schemas }: ApiDocument,
  operation: Operation,
  sent: Sent,
  status: number,
  problem: Problem | null,
): void {
  const { planned } = sent;
  if (planned.odd) return;
  const queryFault = faultOfQuery(schemas, operation, sent.path);
  if (queryFault !== null && queryFault !== "unclear" && Object.keys(operation.bodies).length === 0) {
    must(
      status === 400 || status === 404,
      () => `answered ${status} although the document refuses the query: ${queryFault}`,
    );
    return;
  }
  const bodyFault = faultOfBody(schemas, operation, sent);
  if (bodyFault === "unclear") return;
  if (bodyFault !== null) {
    const isRefused = status === 400 || status === 413 || status === 415;
    must(isRefused, () => `answered ${status} although the document refuses the body: ${bodyFault}`);
    return;
  }
  if (status !== 400 || problem === null || queryFault !== null) return;
  for (const { path, message } of problem.errors ?? []) {
    const isSemantic = SEMANTIC.some((reason) => reason.test(message)) || isOfPathOrCursor(path);
    must(isSemantic, () => `refused what the document takes: ${path} ${message}`);
  }
  const isShape = problem.code === "malformed_json" && !/nested too deeply/.test(problem.detail);
  must(!isShape, () => `refused what the document takes: ${problem.detail}`);
}

/** The name in a path has no schema of its own, and a cursor is only known to whoever gave it. */
function isOfPathOrCursor(path: string): boolean {
  return path === "cursor" || path === "queue" || /^Idempotency-Key$/.test(path);
}

/** Why the document refuses a query; null when it does not. */
function faultOfQuery(schemas: ApiDocument["schemas"], operation: Operation, path: string): string | null {
  const { parameters } = operation;
  const declared = parameters.filter((parameter) => parameter.in === "query");
  const at = path.indexOf("?");
  const given = new URLSearchParams(at < 0 ? "" : path.slice(at));
  for (const { name, required } of declared) {
    if (given.getAll(name).length > 1) return "unclear";
    if (required === true && !given.has(name)) return `${name} is missing`;
  }
  for (const [name, text] of given) {
    const parameter = declared.find((one) => one.name === name);
    if (parameter === undefined) return "unclear";
    const fault = schemas.fault(parameter.schema, typedAs(parameter.schema, text), name);
    if (fault !== null) return fault;
  }
  return null;
}

/** A parameter's text as its schema means it. */
function typedAs(schema: JsonSchema, text: string): unknown {
  const isNumber = schema.type === "integer" || schema.type === "number";
  return isNumber && /^\d{1,9}$/.test(text) ? Number(text) : text;
}

/** Numbers that a double does not hold are refused, or passed on as they were written: no schema can tell. */
const INEXACT = /[.\d]{16}|\d[eE][+-]?\d{3}/;
/** How deep is too deep is the runtime's business. */
const DEEP = /[[{](?:[^\]}]*[[{]){200}/;

/** Why the document refuses a body; null when it takes it, "unclear" where it cannot be told. */
function faultOfBody(schemas: ApiDocument["schemas"], operation: Operation, sent: Sent): string | null {
  const types = Object.keys(operation.bodies);
  if (types.length === 0) return "unclear";
  const essence = (sent.contentType ?? "application/json").split(";")[0]?.trim().toLowerCase() ?? "";
  const content = operation.bodies[essence];
  if (content === undefined) return `its type is ${essence}`;
  if (/charset=(?!"?utf-?8"?)/i.test(sent.contentType ?? "")) return "its charset is not UTF-8";
  if (essence !== "application/json") return "unclear";
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(sent.body ?? new Uint8Array());
  } catch {
    return "it is not UTF-8";
  }
  if (INEXACT.test(text) || DEEP.test(text) || text.length > 200_000) return "unclear";
  try {
    value = JSON.parse(text);
  } catch {
    return "it is not JSON";
  }
  const fault = schemas.fault(content.schema, value);
  // Each task of a batch is admitted on its own: only its frame can make a whole batch fail.
  return fault !== null && /^\$\.tasks\[/.test(fault) ? "unclear" : fault;
}

function parsed(answer: WireAnswer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch {
    throw new Error(`${answer.status} is not JSON: ${JSON.stringify(answer.text.slice(0, 200))}`);
  }
}
