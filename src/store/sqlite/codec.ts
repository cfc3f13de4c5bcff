/** Tasks to rows and back: the one place that knows how a task is laid out in the tables. */

import type { ClientRules } from "../../core/client.ts";
import { priorityOf } from "../../core/priority.ts";
import type { Queue } from "../../core/queue.ts";
import type { RetryOverrides } from "../../core/retry.ts";
import type { ClaimedTask } from "../../core/store.ts";
import type { Attempt, NewTask, Target, Task, TaskState } from "../../core/task.ts";

/**
 * States as they are stored; the partial indexes in migrations.ts name these numbers.
 * `held` is a ready task that waits for its ordering key, `barred` one whose host is held back; callers see both as
 * `ready`.
 */
export const STATE = {
  scheduled: 0,
  ready: 1,
  running: 2,
  retrying: 3,
  succeeded: 4,
  dead: 5,
  cancelled: 6,
  held: 7,
  barred: 8,
} as const;
export type StoredState = keyof typeof STATE;
export type StateCode = (typeof STATE)[StoredState];

const NAMES: readonly TaskState[] = [
  "scheduled",
  "ready",
  "running",
  "retrying",
  "succeeded",
  "dead",
  "cancelled",
  "ready",
  "ready",
];

/** The public name of a stored state. */
export function stateName(code: number): TaskState {
  const name = NAMES[code];
  if (name === undefined) throw new RangeError(`no task state has the code ${code}`);
  return name;
}

/** The stored state behind a code. */
export function storedState(code: StateCode): StoredState {
  return code === STATE.held ? "held" : code === STATE.barred ? "barred" : stateName(code);
}

/** The changing part of a task. */
export interface TaskRow {
  seq: number;
  id: string;
  lane: number;
  state: StateCode;
  due_ms: number;
  created_ms: number;
  scheduled_ms: number;
  attempts: number;
  crashes: number;
  releases: number;
  fence: number;
  lease_ms: number | null;
  worker: string | null;
  first_attempt_ms: number | null;
  finished_ms: number | null;
  expires_ms: number | null;
  retention_ms: number | null;
  ordering: number | null;
  /** What it is set aside for while it is `barred`: an id in the table `holds`. */
  hold: number | null;
  named: 0 | 1;
  reason: string | null;
  attempt_log: string | null;
}

/** The fixed part of a task, beside its body. */
export interface SpecRow {
  spec: string;
  body: string | Uint8Array | null;
}

/** A task with all that is known of it, as {@link fullTaskColumns} selects it. */
export interface FullRow extends TaskRow, SpecRow {
  queue: string;
  rank: number;
  client: string;
}

/** Selects a {@link FullRow}; a WHERE clause on `t` follows. */
export const SELECT_FULL = `
  SELECT t.*, s.spec, s.body, l.queue, l.rank, l.client
  FROM tasks t JOIN specs s ON s.seq = t.seq JOIN lanes l ON l.id = t.lane`;

/** The same without the body, for many tasks at once. */
export const SELECT_BODILESS = SELECT_FULL.replace("s.body", "NULL AS body");

/** The spec column's JSON; what is absent has its default. */
interface Spec {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly name?: string;
  readonly idempotencyKey?: string;
  readonly orderingKey?: string;
  readonly retry?: RetryOverrides;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly traceparent?: string;
  readonly callbackUrl?: string;
  readonly failureCallbackUrl?: string;
}

const DEFAULT_METHOD = "POST";

/** What the spec column holds for a new task. */
export function encodeSpec(task: NewTask): string {
  const { target } = task;
  const spec: { -readonly [K in keyof Spec]: Spec[K] } = { url: target.url };
  if (target.method !== DEFAULT_METHOD) spec.method = target.method;
  if (!isEmpty(target.headers)) spec.headers = target.headers;
  if (task.timeoutMs !== null) spec.timeoutMs = task.timeoutMs;
  if (task.name !== null) spec.name = task.name;
  if (task.idempotencyKey !== null) spec.idempotencyKey = task.idempotencyKey;
  if (task.orderingKey !== null) spec.orderingKey = task.orderingKey;
  if (!isEmpty(task.retry)) spec.retry = task.retry;
  if (!isEmpty(task.metadata)) spec.metadata = task.metadata;
  if (task.traceparent !== null) spec.traceparent = task.traceparent;
  if (task.callbackUrl !== null) spec.callbackUrl = task.callbackUrl;
  if (task.failureCallbackUrl !== null) spec.failureCallbackUrl = task.failureCallbackUrl;
  return JSON.stringify(spec);
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}

const decodeSpec = (text: string): Spec => JSON.parse(text) as Spec;

/** Where every spec begins: with the url, of which more is asked than of the rest. */
const SPEC_START = '{"url":"';

/** The url in a spec column. */
export function urlIn(spec: string): string {
  const url = spec.startsWith(SPEC_START)
    ? spec.slice(SPEC_START.length, spec.indexOf('"', SPEC_START.length))
    : "\\";
  return url.includes("\\") ? decodeSpec(spec).url : url;
}

/** The metadata in a spec column. */
export function metadataIn(spec: string): NewTask["metadata"] {
  return decodeSpec(spec).metadata ?? {};
}

/** The scopes in the names table that a task takes. */
export function namesOf(task: Pick<NewTask, "queue" | "clientId" | "name" | "idempotencyKey">): string[] {
  const scopes: string[] = [];
  // Queue names and client ids hold no slash, so no two scopes can be spelt alike.
  if (task.name !== null) scopes.push(`n/${task.queue}/${task.name}`);
  if (task.idempotencyKey !== null) scopes.push(`k/${task.clientId}/${task.idempotencyKey}`);
  return scopes;
}

/** The same for a task that is stored already. */
export function namesOfStored(spec: string, queue: string, clientId: string): string[] {
  const { name, idempotencyKey } = decodeSpec(spec);
  return namesOf({ queue, clientId, name: name ?? null, idempotencyKey: idempotencyKey ?? null });
}

function targetOf(spec: Spec, body: SpecRow["body"]): Target {
  return { url: spec.url, method: spec.method ?? DEFAULT_METHOD, headers: spec.headers ?? {}, body };
}

/** A row with its spec and lane as a task. */
export function taskOf(row: FullRow): Task {
  const spec = decodeSpec(row.spec);
  return {
    id: row.id,
    queue: row.queue,
    clientId: row.client,
    priority: priorityOf(row.rank),
    target: targetOf(spec, row.body),
    timeoutMs: spec.timeoutMs ?? null,
    name: spec.name ?? null,
    orderingKey: spec.orderingKey ?? null,
    retry: spec.retry ?? {},
    retentionMs: row.retention_ms,
    metadata: spec.metadata ?? {},
    traceparent: spec.traceparent ?? null,
    callbackUrl: spec.callbackUrl ?? null,
    failureCallbackUrl: spec.failureCallbackUrl ?? null,
    state: stateName(row.state),
    reason: row.reason,
    createdAtMs: row.created_ms,
    scheduledAtMs: row.scheduled_ms,
    dueMs: row.due_ms,
    firstAttemptAtMs: row.first_attempt_ms,
    finishedAtMs: row.finished_ms,
    attempts: row.attempts,
    crashes: row.crashes,
    releases: row.releases,
    fence: row.fence,
    lease: row.lease_ms === null ? null : { worker: row.worker ?? "", untilMs: row.lease_ms },
    attemptLog: decodeAttempts(row.attempt_log),
  };
}

/** What a claim reads of a waiting task. */
export interface ClaimRow extends SpecRow {
  seq: number;
  id: string;
  due_ms: number;
  scheduled_ms: number;
  attempts: number;
  crashes: number;
  fence: number;
  first_attempt_ms: number | null;
}

/** A claimed row as a worker gets it. */
export function claimedTaskOf(
  row: ClaimRow,
  lane: { readonly queue: string; readonly rank: number; readonly client: string },
  rules: Queue | null,
  clientRules: ClientRules | null,
  fence: number,
  leaseUntilMs: number,
  isProbe: boolean,
): ClaimedTask {
  const spec = decodeSpec(row.spec);
  return {
    id: row.id,
    queue: lane.queue,
    clientId: lane.client,
    priority: priorityOf(lane.rank),
    target: targetOf(spec, row.body),
    timeoutMs: spec.timeoutMs ?? null,
    retry: spec.retry ?? {},
    name: spec.name ?? null,
    metadata: spec.metadata ?? {},
    traceparent: spec.traceparent ?? null,
    callbackUrl: spec.callbackUrl ?? null,
    failureCallbackUrl: spec.failureCallbackUrl ?? null,
    rules,
    clientRules,
    scheduledAtMs: row.scheduled_ms,
    // The fence of a lease is the time at which it began, or later: one at or after the due time was for this very run.
    dueMs: row.fence < row.due_ms ? row.due_ms : null,
    firstAttemptAtMs: row.first_attempt_ms,
    attempt: row.attempts + 1,
    crashes: row.crashes,
    fence,
    leaseUntilMs,
    isProbe,
  };
}

/** An attempt as a tuple: the log is rewritten at every settlement, so its names are left out. */
type StoredAttempt = [
  number: number,
  startedAtMs: number,
  durationMs: number,
  status: number | null,
  worker: string,
  error: string | null,
  responseExcerpt: string | null,
];

export function encodeAttempts(log: readonly Attempt[]): string {
  return JSON.stringify(
    log.map(
      (a): StoredAttempt => [
        a.number,
        a.startedAtMs,
        a.durationMs,
        a.status,
        a.worker,
        a.error,
        a.responseExcerpt,
      ],
    ),
  );
}

export function decodeAttempts(text: string | null): Attempt[] {
  if (text === null) return [];
  return (JSON.parse(text) as StoredAttempt[]).map(
    ([number, startedAtMs, durationMs, status, worker, error, responseExcerpt]) => ({
      number,
      startedAtMs,
      durationMs,
      status,
      worker,
      error,
      responseExcerpt,
    }),
  );
}
