/** A task as callers see it: snake_case, RFC 3339 times, and nothing of how it is stored. */

import { Buffer } from "node:buffer";
import { type Static, Type } from "@sinclair/typebox";
import { PRIORITIES, type Priority } from "../core/priority.ts";
import type { RetryOverrides } from "../core/retry.ts";
import {
  type Attempt,
  isWaiting,
  TASK_STATES,
  type Target,
  type Task,
  type TaskState,
} from "../core/task.ts";
import { RetrySchema } from "../service/enqueue-request.ts";

const Time = Type.String({ format: "date-time" });
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);

const AttemptSchema = Type.Object({
  number: Type.Integer({ description: "1 for the first." }),
  started_at: Time,
  duration_ms: Type.Integer(),
  status: nullable(Type.Integer({ description: "Of the answer; null when there was none." })),
  error: nullable(Type.String({ description: "Why it failed; null when it succeeded." })),
  response_excerpt: nullable(Type.String({ description: "The start of the answer's body." })),
  worker: Type.String(),
});

export const TaskSchema = Type.Object(
  {
    task_id: Type.String(),
    queue: Type.String(),
    client_id: Type.String(),
    state: Type.Unsafe<TaskState>(Type.String({ enum: [...TASK_STATES] })),
    reason: nullable(Type.String({ description: "Why it is in that state, where there is a reason." })),
    priority: Type.Unsafe<Priority>(Type.String({ enum: [...PRIORITIES] })),
    name: nullable(Type.String()),
    ordering_key: nullable(Type.String()),
    task: Type.Object({
      url: Type.String({ description: "Empty where it has none, in a pull queue." }),
      method: Type.String(),
      headers: Type.Record(Type.String(), Type.String()),
      body: Type.Optional(Type.String()),
      body_base64: Type.Optional(Type.String({ contentEncoding: "base64" })),
      timeout_sec: nullable(Type.Number()),
    }),
    created_at: Time,
    scheduled_at: Time,
    next_run_at: nullable(Type.String({ format: "date-time", description: "While it waits." })),
    finished_at: nullable(Time),
    attempts: Type.Array(AttemptSchema, { description: "The first and the latest that were kept." }),
    counts: Type.Object({
      attempts: Type.Integer({ description: "Deliveries that were made and judged." }),
      crashes: Type.Integer({ description: "Workers that died with it." }),
      releases: Type.Integer({ description: "Times it was given back without being judged." }),
    }),
    lease: nullable(Type.Object({ worker: Type.String(), until: Time }, { description: "While it runs." })),
    retry: RetrySchema,
    retention_sec: nullable(Type.Number()),
    metadata: Type.Record(Type.String(), Type.String()),
    callback_url: nullable(Type.String()),
    failure_callback_url: nullable(Type.String()),
  },
  { $id: "Task" },
);
export type TaskJson = Static<typeof TaskSchema>;

export function taskJson(task: Task): TaskJson {
  return {
    task_id: task.id,
    queue: task.queue,
    client_id: task.clientId,
    state: task.state,
    reason: task.reason,
    priority: task.priority,
    name: task.name,
    ordering_key: task.orderingKey,
    task: { ...targetJson(task.target), timeout_sec: toSec(task.timeoutMs) },
    created_at: time(task.createdAtMs),
    scheduled_at: time(task.scheduledAtMs),
    next_run_at: isWaiting(task.state) ? time(task.dueMs) : null,
    finished_at: task.finishedAtMs === null ? null : time(task.finishedAtMs),
    attempts: task.attemptLog.map(attemptJson),
    counts: { attempts: task.attempts, crashes: task.crashes, releases: task.releases },
    lease: task.lease === null ? null : { worker: task.lease.worker, until: time(task.lease.untilMs) },
    retry: retryJson(task.retry),
    retention_sec: toSec(task.retentionMs),
    metadata: { ...task.metadata },
    callback_url: task.callbackUrl,
    failure_callback_url: task.failureCallbackUrl,
  };
}

/** A target as callers see it. */
export function targetJson({ url, method, headers, body }: Target) {
  return {
    url,
    method,
    headers: { ...headers },
    ...(typeof body === "string" && { body }),
    ...(body instanceof Uint8Array && { body_base64: Buffer.from(body).toString("base64") }),
  };
}

function attemptJson(attempt: Attempt): TaskJson["attempts"][number] {
  return {
    number: attempt.number,
    started_at: time(attempt.startedAtMs),
    duration_ms: attempt.durationMs,
    status: attempt.status,
    error: attempt.error,
    response_excerpt: attempt.responseExcerpt,
    worker: attempt.worker,
  };
}

function retryJson(retry: RetryOverrides): TaskJson["retry"] {
  return {
    ...(retry.maxAttempts !== undefined && { max_attempts: retry.maxAttempts }),
    ...(retry.minBackoffMs !== undefined && { min_backoff_sec: retry.minBackoffMs / 1_000 }),
    ...(retry.maxBackoffMs !== undefined && { max_backoff_sec: retry.maxBackoffMs / 1_000 }),
    ...(retry.maxDoublings !== undefined && { max_doublings: retry.maxDoublings }),
    ...(typeof retry.maxDurationMs === "number" && { max_duration_sec: retry.maxDurationMs / 1_000 }),
    ...(retry.jitter !== undefined && { jitter: retry.jitter }),
  };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function toSec(ms: number | null): number | null {
  return ms === null ? null : ms / 1_000;
}
