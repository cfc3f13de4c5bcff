/** A task as the model knows it: what callers may see of it, and what is promised of its place in its line. */

import { hostOf } from "../../src/core/host.ts";
import type { Priority } from "../../src/core/priority.ts";
import type { Queue } from "../../src/core/queue.ts";
import type { Attempt, NewTask, Task, TaskState } from "../../src/core/task.ts";

/**
 * How a task came to its place in its lane: at once when it was accepted, when it fell due, or back from a worker. The
 * order of all others is left to the store: what a person moved, what waited for its key or for its host.
 */
export type Place = "accepted" | "due" | "back";

export interface ModelTask {
  readonly given: NewTask;
  /** Tasks accepted before it. */
  readonly order: number;
  readonly createdAtMs: number;
  readonly scheduledAtMs: number;
  priority: Priority;
  /** A scheduled or retrying one may be `ready` for callers from its due time on, and is once a claim has looked. */
  state: TaskState;
  reason: string | null;
  dueMs: number;
  firstAttemptAtMs: number | null;
  finishedAtMs: number | null;
  expiresAtMs: number | null;
  attempts: number;
  crashes: number;
  releases: number;
  fence: number;
  lease: { readonly worker: string; readonly untilMs: number } | null;
  attemptLog: readonly Attempt[];
  place: Place;
  /** Whether its place in its lane is the store's to choose. */
  isLoose: boolean;
  /** Whether its turn for its ordering key is the store's to choose. */
  isMoved: boolean;
}

/** What every store has to show of a task. */
export function viewOf(task: ModelTask): Task {
  const { given } = task;
  return {
    id: given.id,
    queue: given.queue,
    clientId: given.clientId,
    priority: task.priority,
    target: given.target,
    timeoutMs: given.timeoutMs,
    name: given.name,
    orderingKey: given.orderingKey,
    retry: given.retry,
    retentionMs: given.retentionMs,
    metadata: given.metadata,
    traceparent: given.traceparent,
    callbackUrl: given.callbackUrl,
    failureCallbackUrl: given.failureCallbackUrl,
    state: task.state,
    reason: task.reason,
    createdAtMs: task.createdAtMs,
    scheduledAtMs: task.scheduledAtMs,
    dueMs: task.dueMs,
    firstAttemptAtMs: task.firstAttemptAtMs,
    finishedAtMs: task.finishedAtMs,
    attempts: task.attempts,
    crashes: task.crashes,
    releases: task.releases,
    fence: task.fence,
    lease: task.lease,
    attemptLog: task.attemptLog,
  };
}

/** The host that a worker would call. No task of the model is a report. */
export function hostCalled({ given }: ModelTask, queue: Queue): string {
  return hostOf(queue.target?.url ?? given.target.url);
}

/** The name of the ordering key of a task, which is one of its queue; null where it has none. */
export function keyOf({ queue, orderingKey }: Pick<NewTask, "queue" | "orderingKey">): string | null {
  return orderingKey === null ? null : `${queue}/${orderingKey}`;
}

/** The names that a task takes. */
export function scopesOf({ queue, clientId, name, idempotencyKey }: NewTask): string[] {
  return [
    ...(name === null ? [] : [`name ${queue}/${name}`]),
    ...(idempotencyKey === null ? [] : [`key ${clientId}/${idempotencyKey}`]),
  ];
}
