/** Makes the task that is kept from the request that was made: defaults filled in, units and limits settled. */

import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { DEFAULT_QUEUE } from "../core/queue.ts";
import { defaultRetryPolicy, type RetryOverrides } from "../core/retry.ts";
import { MAX_METADATA_CHARS, MAX_METADATA_ENTRIES, type NewTask, RESERVED_METADATA } from "../core/task.ts";
import { type EnqueueRequest, MAX_AHEAD_DAYS, type RescheduleRequest } from "./enqueue-request.ts";
import { parseInstantMs } from "./instant.ts";
import { buildTarget, isLongerThan, normalisedUrl } from "./target.ts";

/** What comes with a request beside its body. */
export interface RequestContext {
  /** The caller's key for repeating safely; null when it gave none. */
  readonly idempotencyKey: string | null;
  /** W3C trace context; null when it gave none. */
  readonly traceparent: string | null;
}

const MAX_AHEAD_MS = MAX_AHEAD_DAYS * 86_400_000;

const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({});
const NO_OVERRIDES: RetryOverrides = Object.freeze({});
/** How many retries a worker allows does not matter here: only the default backoffs are looked at. */
const DEFAULT_RETRY = defaultRetryPolicy(0);

/** The task to keep, or the error that tells every field at fault (`validation_failed`, `payload_too_large`). */
export function buildTask(
  id: string,
  request: EnqueueRequest,
  context: RequestContext,
  nowMs: number,
  maxPayloadBytes: number,
): NewTask | TaskRunnerError {
  const problems: FieldProblem[] = [];
  const target = buildTarget(request.task, problems);
  const planned = plannedFor(request, nowMs, problems);
  const retry = request.retry === undefined ? NO_OVERRIDES : retryOverrides(request.retry, problems);
  const metadata = request.metadata ?? NO_METADATA;
  if (metadata !== NO_METADATA) checkMetadata(metadata, problems);
  checkWellFormed("ordering_key", request.ordering_key, problems);
  const callbackUrl = urlOrNull("callback_url", request.callback_url, problems);
  const failureCallbackUrl = urlOrNull("failure_callback_url", request.failure_callback_url, problems);
  if (problems.length > 0) return invalid(problems);
  if (isLongerThan(target.body, maxPayloadBytes)) {
    return new TaskRunnerError(
      "payload_too_large",
      `The task's body is larger than ${maxPayloadBytes} bytes, the most this server takes (MAX_PAYLOAD_BYTES).`,
    );
  }
  const { name, ordering_key: orderingKey, retention_sec: retentionSec } = request;
  const timeoutSec = request.task.timeout_sec;
  return {
    id,
    queue: request.queue ?? DEFAULT_QUEUE,
    clientId: request.client_id,
    clientRevision: null,
    priority: request.priority ?? "normal",
    target,
    timeoutMs: timeoutSec === undefined ? null : toMs(timeoutSec),
    scheduledAtMs: planned.scheduledAtMs ?? null,
    ...(planned.delayMs !== undefined && { delayMs: planned.delayMs }),
    name: name ?? null,
    idempotencyKey: context.idempotencyKey,
    orderingKey: orderingKey ?? null,
    retry,
    retentionMs: retentionSec === undefined ? null : toMs(retentionSec),
    metadata,
    traceparent: context.traceparent,
    callbackUrl,
    failureCallbackUrl,
  };
}

/** When a request asks to run: at a time, or so long after the store has taken it in, whose clock alone counts. */
export interface Planned {
  readonly scheduledAtMs?: number;
  readonly delayMs?: number;
}

/** When a request asks to run; empty when it says nothing of a time. What is wrong is added to `problems`. */
export function plannedFor(
  request: Pick<RescheduleRequest, "delay" | "scheduled_at">,
  nowMs: number,
  problems: FieldProblem[],
): Planned {
  const { delay, scheduled_at: scheduledAt } = request;
  if (scheduledAt === undefined) return delay === undefined ? {} : { delayMs: toMs(delay) };
  if (delay !== undefined) {
    problems.push({ path: "delay", message: "must not be given together with scheduled_at" });
    return {};
  }
  const scheduledAtMs = parseInstantMs(scheduledAt);
  if (scheduledAtMs === null) {
    problems.push({
      path: "scheduled_at",
      message: "must be a time as RFC 3339 (2030-01-31T08:00:00Z) or as seconds since 1970",
    });
    return {};
  }
  if (scheduledAtMs > nowMs + MAX_AHEAD_MS) {
    problems.push({
      path: "scheduled_at",
      message: `must be at most ${MAX_AHEAD_DAYS} days ahead (a number counts seconds since 1970, not milliseconds)`,
    });
  }
  return { scheduledAtMs };
}

/** The error of a request whose fields are at fault. */
export function invalid(fields: readonly FieldProblem[]): TaskRunnerError {
  const what = fields.length === 1 ? "one field is" : `${fields.length} fields are`;
  return new TaskRunnerError("validation_failed", `The request was refused: ${what} not valid.`, { fields });
}

function retryOverrides(
  given: NonNullable<EnqueueRequest["retry"]>,
  problems: FieldProblem[],
): RetryOverrides {
  const minBackoffMs = toMs(given.min_backoff_sec ?? DEFAULT_RETRY.minBackoffMs / 1_000);
  const maxBackoffMs = toMs(given.max_backoff_sec ?? DEFAULT_RETRY.maxBackoffMs / 1_000);
  if (minBackoffMs > maxBackoffMs) {
    const path = given.min_backoff_sec === undefined ? "retry.max_backoff_sec" : "retry.min_backoff_sec";
    problems.push({
      path,
      message: `min_backoff_sec (${minBackoffMs / 1_000}) must be at most max_backoff_sec (${maxBackoffMs / 1_000})`,
    });
  }
  return {
    ...(given.max_attempts !== undefined && { maxAttempts: given.max_attempts }),
    ...(given.min_backoff_sec !== undefined && { minBackoffMs }),
    ...(given.max_backoff_sec !== undefined && { maxBackoffMs }),
    ...(given.max_doublings !== undefined && { maxDoublings: given.max_doublings }),
    ...(given.max_duration_sec !== undefined && { maxDurationMs: toMs(given.max_duration_sec) }),
    ...(given.jitter !== undefined && { jitter: given.jitter }),
  };
}

function checkMetadata(metadata: Readonly<Record<string, string>>, problems: FieldProblem[]): void {
  const names = Object.keys(metadata);
  let chars = 0;
  for (const name of names) {
    const value = metadata[name] ?? "";
    chars += name.length + value.length;
    // `__proto__` would be lost, or worse, wherever the entries are copied into another object.
    if (name === "" || name === "__proto__" || !name.isWellFormed()) {
      problems.push({ path: `metadata.${name}`, message: "is not a name that metadata can have" });
    }
    if (name.startsWith(RESERVED_METADATA)) {
      problems.push({
        path: `metadata.${name}`,
        message: `must not begin with "${RESERVED_METADATA}": such names are the runner's own`,
      });
    }
    checkWellFormed(`metadata.${name}`, value, problems);
  }
  if (names.length > MAX_METADATA_ENTRIES || chars > MAX_METADATA_CHARS) {
    problems.push({
      path: "metadata",
      message: `must be at most ${MAX_METADATA_ENTRIES} entries and ${MAX_METADATA_CHARS} characters in all`,
    });
  }
}

function urlOrNull(path: string, given: string | undefined, problems: FieldProblem[]): string | null {
  return given === undefined ? null : normalisedUrl(given, path, problems);
}

function checkWellFormed(path: string, text: string | undefined, problems: FieldProblem[]): void {
  if (text === undefined || text.isWellFormed()) return;
  problems.push({ path, message: "must be text that UTF-8 can hold: half a surrogate pair cannot" });
}

function toMs(sec: number): number {
  return Math.round(sec * 1_000);
}
