/** Tasks to what the scripts keep, and back: the one place in TypeScript that knows the layout. */

import { Buffer } from "node:buffer";
import type { ClientRules } from "../../core/client.ts";
import { priorityOf, rankOf } from "../../core/priority.ts";
import type { Queue } from "../../core/queue.ts";
import type { RetryOverrides } from "../../core/retry.ts";
import type { ClaimedTask } from "../../core/store.ts";
import type { Attempt, NewTask, Target, Task, TaskState } from "../../core/task.ts";

/** The letters by which the scripts know the states. `h` is a ready task that waits for its ordering key, `b` one whose host is held back. */
export const STATE_LETTERS: Readonly<Record<TaskState, string>> = {
  scheduled: "s",
  ready: "rhb",
  running: "u",
  retrying: "t",
  succeeded: "k",
  dead: "d",
  cancelled: "c",
};

const STATE_NAMES: Readonly<Record<string, TaskState>> = {
  s: "scheduled",
  r: "ready",
  h: "ready",
  b: "ready",
  u: "running",
  t: "retrying",
  k: "succeeded",
  d: "dead",
  c: "cancelled",
};

/** The public name of a state's letter. */
export function stateOf(letter: string): TaskState {
  const state = STATE_NAMES[letter];
  if (state === undefined) throw new RangeError(`no task state has the letter ${JSON.stringify(letter)}`);
  return state;
}

/** Names of a lane's parts; queue names and client ids hold no slash. */
export interface LaneName {
  readonly rank: number;
  readonly queue: string;
  readonly client: string;
}

export function parseLane(name: string): LaneName {
  const slash = name.indexOf("/", 2);
  return { rank: Number(name[0]), queue: name.slice(2, slash), client: name.slice(slash + 1) };
}

/**
 * What a task is, as a JSON list whose end is left out where it says nothing: each byte is paid per waiting
 * task. 0 stands for the default of its place.
 */
type Spec = [
  url: string,
  /** 1 for the usual ones of a JSON body. */
  headers?: Readonly<Record<string, string>> | 0 | 1,
  method?: string | 0,
  bodyKind?: BodyKind,
  timeoutMs?: number,
  name?: string | 0,
  orderingKey?: string | 0,
  retry?: RetryOverrides | 0,
  metadata?: Readonly<Record<string, string>> | 0,
  traceparent?: string | 0,
  callbackUrl?: string | 0,
  failureCallbackUrl?: string | 0,
];

/** 0: text; 1: base64; 2: there is no body. */
type BodyKind = 0 | 1 | 2;

const DEFAULT_METHOD = "POST";
const JSON_HEADERS = { "content-type": "application/json" } as const;

/** A new task for the scripts, in two arguments: its id with its head, and what it is, which they only pass on. */
export function encodeTask(task: NewTask): readonly [head: string, what: string] {
  return [task.id + headOf(task), whatOf(task)];
}

/** Alike for all tasks of one client that ask for nothing special, so that the script takes it apart once. */
function headOf(task: NewTask): string {
  const lane = `${rankOf(task.priority)}/${task.queue}/${task.clientId}`;
  const { name, idempotencyKey, orderingKey } = task;
  const scheduled = plannedText(task);
  const revision = task.clientRevision ?? "";
  if (task.retentionMs === null && name === null && idempotencyKey === null && orderingKey === null) {
    return `${lane},${scheduled},,,,${revision}`;
  }
  const retention = task.retentionMs === null ? "" : String(task.retentionMs);
  const ordering = orderingKey === null ? "" : `${task.queue}/${encodeURIComponent(orderingKey)}`;
  const scopes: string[] = [];
  if (name !== null) scopes.push(`n/${task.queue}/${encodeURIComponent(name)}`);
  if (idempotencyKey !== null) scopes.push(`k/${task.clientId}/${encodeURIComponent(idempotencyKey)}`);
  return `${lane},${scheduled},${retention},${ordering},${scopes.join(" ")},${revision}`;
}

/** In base 36: a time, or "+" and what is to pass from acceptance on. */
function plannedText({ scheduledAtMs, delayMs }: NewTask): string {
  if (delayMs !== undefined) return `+${delayMs.toString(36)}`;
  return scheduledAtMs === null ? "" : Math.max(0, scheduledAtMs).toString(36);
}

/** What a task is: the spec on one line, then the body. */
function whatOf(task: NewTask): string {
  const { target } = task;
  const { body } = target;
  const spec: Spec = [
    target.url,
    isJsonHeaders(target.headers) ? 1 : orZero(target.headers),
    target.method === DEFAULT_METHOD ? 0 : target.method,
    typeof body === "string" ? 0 : body === null ? 2 : 1,
    task.timeoutMs ?? 0,
    task.name ?? 0,
    task.orderingKey ?? 0,
    orZero(task.retry),
    orZero(task.metadata),
    task.traceparent ?? 0,
    task.callbackUrl ?? 0,
    task.failureCallbackUrl ?? 0,
  ];
  while (spec.length > 1 && spec.at(-1) === 0) spec.pop();
  return `${JSON.stringify(spec)}\n${encodeBody(body)}`;
}

function encodeBody(body: Target["body"]): string {
  if (body === null) return "";
  return typeof body === "string" ? body : Buffer.from(body).toString("base64");
}

function orZero<T extends object>(record: T): T | 0 {
  return isEmpty(record) ? 0 : record;
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}

function isJsonHeaders(headers: Readonly<Record<string, string>>): boolean {
  let names = 0;
  for (const name in headers) {
    names++;
    if (name !== "content-type" || headers[name] !== JSON_HEADERS["content-type"]) return false;
  }
  return names === 1;
}

/** The fixed part of a task, taken apart: its head is the scripts' business. */
function parseFixed(fixed: string) {
  const specAt = fixed.indexOf("\n") + 1;
  const bodyAt = fixed.indexOf("\n", specAt) + 1;
  const spec = JSON.parse(fixed.slice(specAt, bodyAt - 1)) as Spec;
  const [url, headers, method, bodyKind, timeoutMs, name, orderingKey, retry, metadata, ...others] = spec;
  const [traceparent, callbackUrl, failureCallbackUrl] = others;
  return {
    target: {
      url,
      method: method || DEFAULT_METHOD,
      headers: headers === 1 ? JSON_HEADERS : headers || {},
      body: decodeBody(bodyKind ?? 0, fixed.slice(bodyAt)),
    },
    timeoutMs: timeoutMs || null,
    name: name || null,
    orderingKey: orderingKey || null,
    retry: retry || {},
    metadata: metadata || {},
    traceparent: traceparent || null,
    callbackUrl: callbackUrl || null,
    failureCallbackUrl: failureCallbackUrl || null,
  };
}

function decodeBody(kind: BodyKind, text: string): Target["body"] {
  if (kind === 2) return null;
  return kind === 1 ? new Uint8Array(Buffer.from(text, "base64")) : text;
}

/** The strings of a row as lua/rows.lua returns them. */
export type Row = readonly string[];

/** A row as a task. */
export function taskOf(row: Row): Task {
  const at = (index: number): string => row[index] ?? "";
  const number = (index: number): number => Number(at(index));
  const optional = (index: number): number | null => (at(index) === "" ? null : number(index));
  const lane = parseLane(at(2));
  const fixed = parseFixed(at(17));
  const untilMs = optional(11);
  return {
    id: at(0),
    queue: lane.queue,
    clientId: lane.client,
    priority: priorityOf(lane.rank),
    ...fixed,
    retentionMs: optional(6),
    state: stateOf(at(1)),
    reason: at(15) === "" ? null : at(15),
    createdAtMs: number(3),
    scheduledAtMs: number(4),
    dueMs: number(5),
    firstAttemptAtMs: optional(13),
    finishedAtMs: optional(14),
    attempts: number(7),
    crashes: number(8),
    releases: number(9),
    fence: number(10),
    lease: untilMs === null ? null : { worker: at(12), untilMs },
    attemptLog: decodeAttempts(at(16)),
  };
}

/** Fields of a claimed task, as exchange.lua returns them. */
export const CLAIMED_FIELDS = 8;

/** A lane of claimed tasks, with the rules of its queue and its client. */
export interface ToldLane extends LaneName {
  readonly rules: Queue | null;
  readonly clientRules: ClientRules | null;
}

/** A claimed task out of the flat list of an exchange, whose fields begin at `start`. */
export function claimedTaskOf(
  fields: readonly (string | number)[],
  start: number,
  lanes: ReadonlyMap<string, ToldLane>,
  leaseUntilMs: number,
  probes: readonly string[],
): ClaimedTask {
  const text = (index: number): string => String(fields[start + index]);
  const number = (index: number): number => Number(fields[start + index]);
  const planned = fields[start + 2] ?? 0;
  const lane = lanes.get(text(7));
  if (lane === undefined) throw new Error("a claim named a lane that it did not describe");
  const fixed = parseFixed(text(1));
  return {
    id: text(0),
    queue: lane.queue,
    clientId: lane.client,
    priority: priorityOf(lane.rank),
    target: fixed.target,
    timeoutMs: fixed.timeoutMs,
    retry: fixed.retry,
    name: fixed.name,
    metadata: fixed.metadata,
    traceparent: fixed.traceparent,
    callbackUrl: fixed.callbackUrl,
    failureCallbackUrl: fixed.failureCallbackUrl,
    rules: lane.rules,
    clientRules: lane.clientRules,
    scheduledAtMs: typeof planned === "number" ? planned : Number.parseInt(planned, 10),
    dueMs: typeof planned === "number" ? planned : dueIn(planned),
    firstAttemptAtMs: number(6) === 0 ? null : number(6),
    attempt: number(3) + 1,
    crashes: number(4),
    fence: number(5),
    leaseUntilMs,
    isProbe: probes.length > 0 && probes.includes(text(0)),
  };
}

/** The second of two times with a comma between them; null where it is left out. */
function dueIn(times: string): number | null {
  const due = times.slice(times.indexOf(",") + 1);
  return due === "" ? null : Number(due);
}

/** An attempt as a tuple, one line of a task's log. */
type StoredAttempt = [
  number: number,
  startedAtMs: number,
  durationMs: number,
  status: number | null,
  worker: string,
  error: string | null,
  responseExcerpt: string | null,
];

/** An attempt for exchange.lua: when it started, and its line of the log. */
export function encodeAttempt(attempt: Attempt): string {
  const { number, startedAtMs, durationMs, status, worker, error, responseExcerpt } = attempt;
  const line: StoredAttempt = [number, startedAtMs, durationMs, status, worker, error, responseExcerpt];
  return `${startedAtMs},${JSON.stringify(line)}`;
}

function decodeAttempts(log: string): Attempt[] {
  if (log === "") return [];
  return log
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [number, startedAtMs, durationMs, status, worker, error, responseExcerpt] = JSON.parse(
        line,
      ) as StoredAttempt;
      return { number, startedAtMs, durationMs, status, worker, error, responseExcerpt };
    });
}
