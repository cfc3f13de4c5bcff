/** Builders of tasks, attempts and settlements with sensible values, so that a test states only what it is about. */

import { idGenerator } from "../../src/core/id.ts";
import type { ClaimedTask, Settlement } from "../../src/core/store.ts";
import type { Attempt, NewTask, Target } from "../../src/core/task.ts";

const nextId = idGenerator((bytes) => {
  crypto.getRandomValues(bytes);
});

/** A task id that was not given out before. */
export function newTaskId(nowMs: number = Date.now()): string {
  return nextId(nowMs);
}

export function newTarget(overrides: Partial<Target> = {}): Target {
  return { url: "http://127.0.0.1:9/hook", method: "POST", headers: {}, body: "{}", ...overrides };
}

/** A task that is due at once, of queue `default` and client `client-a`, unless told otherwise. */
export function newTask(overrides: Partial<NewTask> = {}): NewTask {
  return {
    id: newTaskId(),
    queue: "default",
    clientId: "client-a",
    clientRevision: null,
    priority: "normal",
    target: newTarget(),
    timeoutMs: null,
    scheduledAtMs: null,
    name: null,
    idempotencyKey: null,
    orderingKey: null,
    retry: {},
    retentionMs: null,
    metadata: {},
    traceparent: null,
    callbackUrl: null,
    failureCallbackUrl: null,
    ...overrides,
  };
}

/** `count` tasks alike but for their ids. */
export function newTasks(count: number, overrides: Partial<NewTask> = {}): NewTask[] {
  return Array.from({ length: count }, () => newTask(overrides));
}

/** The record of the attempt that a claimed task is held for; a good one unless told otherwise. */
export function attemptOf(claimed: ClaimedTask, overrides: Partial<Attempt> = {}): Attempt {
  return {
    number: claimed.attempt,
    startedAtMs: claimed.scheduledAtMs,
    durationMs: 5,
    status: 200,
    error: null,
    responseExcerpt: null,
    worker: "worker-1",
    ...overrides,
  };
}

function leaseOf({ id, fence }: ClaimedTask): Settlement["lease"] {
  return { taskId: id, fence };
}

export function success(claimed: ClaimedTask, attempt: Partial<Attempt> = {}): Settlement {
  return { lease: leaseOf(claimed), verdict: { kind: "succeeded" }, attempt: attemptOf(claimed, attempt) };
}

/** A failed attempt, to be tried again `afterMs` from now. */
export function retry(claimed: ClaimedTask, afterMs: number, attempt: Partial<Attempt> = {}): Settlement {
  const failed = attemptOf(claimed, { status: 500, error: "answered 500", ...attempt });
  return {
    lease: leaseOf(claimed),
    verdict: { kind: "retry", afterMs, reason: failed.error ?? "failed" },
    attempt: failed,
  };
}

/** A failed attempt after which the task is given up. */
export function death(
  claimed: ClaimedTask,
  reason = "answered 410",
  attempt: Partial<Attempt> = {},
): Settlement {
  return {
    lease: leaseOf(claimed),
    verdict: { kind: "dead", reason },
    attempt: attemptOf(claimed, { status: 410, error: reason, ...attempt }),
  };
}

/** Given back untried, to be handed out again `afterMs` from now. */
export function release(claimed: ClaimedTask, afterMs: number, reason = "shutting down"): Settlement {
  return { lease: leaseOf(claimed), verdict: { kind: "released", afterMs, reason }, attempt: null };
}
