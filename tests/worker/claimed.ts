/** Builders of what a worker gets from the store: a claimed task and its queue's rules. */

import { newQueue, type Queue } from "../../src/core/queue.ts";
import type { ClaimedTask } from "../../src/core/store.ts";
import { newTarget } from "../support/tasks.ts";

export const STARTED_MS = 1_700_000_000_000;

/** A task of queue `default` without rules, claimed for its second attempt, unless told otherwise. */
export function claimed(overrides: Partial<ClaimedTask> = {}): ClaimedTask {
  return {
    id: "task",
    queue: "default",
    clientId: "client",
    priority: "normal",
    target: newTarget(),
    timeoutMs: null,
    retry: {},
    name: null,
    metadata: {},
    traceparent: null,
    callbackUrl: null,
    failureCallbackUrl: null,
    clientRules: null,
    rules: null,
    scheduledAtMs: STARTED_MS,
    dueMs: STARTED_MS,
    firstAttemptAtMs: null,
    attempt: 2,
    crashes: 0,
    fence: 7,
    leaseUntilMs: STARTED_MS + 30_000,
    isProbe: false,
    ...overrides,
  };
}

/** A queue that rules nothing but what is told. */
export function rulesOf(overrides: Partial<Queue> = {}): Queue {
  return { ...newQueue(STARTED_MS), ...overrides };
}
