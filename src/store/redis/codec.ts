/** Tasks to what the scripts keep, and back: the one place in TypeScript that knows the layout. */

import { Buffer } from "node:buffer";
import { priorityOf, rankOf } from "../../core/priority.ts";
import type { RetryOverrides } from "../../core/retry.ts";
import type { ClaimedTask } from "../../core/store.ts";
import type { Attempt, NewTask, Target, Task, TaskState } from "../../core/task.ts";

/** The letters by which the scripts know the states. `h` is a ready task that waits for its ordering key. */
export const STATE_LETTERS: Readonly<Record<TaskState, string>> = {
  scheduled: "s",
  ready: "rh",
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

/** What a task is, as JSON; what is absent has its default. Names are short: each byte is paid per waiting task. */
interface Spec {
  readonly u: string;
  readonly m?: string;
  /** Headers, or 1 for the usual ones of a JSON body. */
  readonly h?: Readonly<Record<string, string>> | 1;
  /** 0: there is no body; 1: it is in base64; absent: it is text. */
  readonly b?: 0 | 1;
  readonly t?: number;
  readonly n?: string;
  readonly o?: string;
  readonly r?: RetryOverrides;
  readonly d?: Readonly<Record<string, string>>;
  readonly p?: string;
}

const DEFAULT_METHOD = "POST";
const JSON_HEADERS = { "content-type": "application/json" } as const;

/** The head that goes with a task into enqueue.lua; alike for all tasks of one client that ask for nothing special. */
export function headOf(task: NewTask): string {
  const lane = `${rankOf(task.priority)}/${task.queue}/${task.clientId}`;
  const scheduled = task.scheduledAtMs === null ? "" : Math.max(0, task.scheduledAtMs).toString(36);
  const retention = task.retentionMs === null ? "" : String(task.retentionMs);
  const ordering = task.orderingKey === null ? "" : `${task.queue}/${encodeURIComponent(task.orderingKey)}`;
  const scopes: string[] = [];
  if (task.name !== null) scopes.push(`n/${task.queue}/${encodeURIComponent(task.name)}`);
  if (task.idempotencyKey !== null) {
    scopes.push(`k/${task.clientId}/${encodeURIComponent(task.idempotencyKey)}`);
  }
  return `${lane},${scheduled},${retention},${ordering},${scopes.join(" ")}`;
}

/** What a task is, for enqueue.lua: the spec on one line, then the body. */
export function whatOf(task: NewTask): string {
  const { target } = task;
  const spec: { -readonly [K in keyof Spec]: Spec[K] } = { u: target.url };
  if (target.method !== DEFAULT_METHOD) spec.m = target.method;
  if (isJsonHeaders(target.headers)) spec.h = 1;
  else if (!isEmpty(target.headers)) spec.h = target.headers;
  if (target.body === null) spec.b = 0;
  else if (typeof target.body !== "string") spec.b = 1;
  if (task.timeoutMs !== null) spec.t = task.timeoutMs;
  if (task.name !== null) spec.n = task.name;
  if (task.orderingKey !== null) spec.o = task.orderingKey;
  if (!isEmpty(task.retry)) spec.r = task.retry;
  if (!isEmpty(task.metadata)) spec.d = task.metadata;
  if (task.traceparent !== null) spec.p = task.traceparent;
  return `${JSON.stringify(spec)}\n${encodeBody(target.body)}`;
}

function encodeBody(body: Target["body"]): string {
  if (body === null) return "";
  return typeof body === "string" ? body : Buffer.from(body).toString("base64");
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
function parseFixed(fixed: string): { spec: Spec; target: Target } {
  const specAt = fixed.indexOf("\n") + 1;
  const bodyAt = fixed.indexOf("\n", specAt) + 1;
  const spec = JSON.parse(fixed.slice(specAt, bodyAt - 1)) as Spec;
  return {
    spec,
    target: {
      url: spec.u,
      method: spec.m ?? DEFAULT_METHOD,
      headers: spec.h === 1 ? JSON_HEADERS : (spec.h ?? {}),
      body: decodeBody(spec.b, fixed.slice(bodyAt)),
    },
  };
}

function decodeBody(kind: Spec["b"], text: string): Target["body"] {
  if (kind === 0) return null;
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
  const { spec, target } = parseFixed(at(17));
  const untilMs = optional(11);
  return {
    id: at(0),
    queue: lane.queue,
    clientId: lane.client,
    priority: priorityOf(lane.rank),
    target,
    timeoutMs: spec.t ?? null,
    name: spec.n ?? null,
    orderingKey: spec.o ?? null,
    retry: spec.r ?? {},
    retentionMs: optional(6),
    metadata: spec.d ?? {},
    traceparent: spec.p ?? null,
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

/** Strings in a claimed task, as exchange.lua returns them. */
export const CLAIMED_FIELDS = 7;

/** A claimed task out of the flat list of an exchange, whose fields begin at `start`. */
export function claimedTaskOf(
  fields: readonly string[],
  start: number,
  lanes: ReadonlyMap<string, LaneName>,
  leaseUntilMs: number,
): ClaimedTask {
  const at = (index: number): string => fields[start + index] ?? "";
  const lane = lanes.get(at(6));
  if (lane === undefined) throw new Error("a claim named a lane that it did not describe");
  const { spec, target } = parseFixed(at(1));
  const counts = at(3);
  const comma = counts.indexOf(",");
  return {
    id: at(0),
    queue: lane.queue,
    clientId: lane.client,
    priority: priorityOf(lane.rank),
    target,
    timeoutMs: spec.t ?? null,
    retry: spec.r ?? {},
    traceparent: spec.p ?? null,
    scheduledAtMs: Number(at(2)),
    firstAttemptAtMs: at(5) === "" ? null : Number(at(5)),
    attempt: Number(counts.slice(0, comma)) + 1,
    crashes: Number(counts.slice(comma + 1)),
    fence: Number(at(4)),
    leaseUntilMs,
  };
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
