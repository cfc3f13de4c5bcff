/** From the leases that a consumer tells of to the tasks that he holds by them. */

import type { ClaimedTask, ProducerStore, SettingsStore } from "../core/store.ts";
import type { Task } from "../core/task.ts";
import { type ConsumerOf, isConsumer, openQueues } from "./consumers.ts";
import { type Held, heldLease } from "./lease-token.ts";

type Store = Pick<ProducerStore, "get"> & Pick<SettingsStore, "read">;

/** A lease with the task that it is of, as far as can be told without ending it: the store has the last word. */
export interface HeldTask extends Held {
  readonly task: ClaimedTask;
  /** Who holds it. */
  readonly holder: string;
}

/**
 * The tasks of leases that consumers hold; null of a lease that is lost. What a worker holds is not theirs to end, and
 * of a queue that is not open to him a consumer is told nothing. Rejects as the store does.
 */
export async function heldTasks(
  store: Store,
  leases: readonly string[],
  by: ConsumerOf,
  nowMs: number,
): Promise<readonly (HeldTask | null)[]> {
  const isOpen = await openQueues(store, by);
  const rules = new Map<string, Promise<ClaimedTask["rules"]>>();
  const rulesOf = (queue: string) => {
    const known = rules.get(queue) ?? store.read("queue", queue).then((kept) => kept?.value ?? null);
    rules.set(queue, known);
    return known;
  };
  return Promise.all(
    leases.map(async (lease) => {
      const held = heldLease(lease, nowMs);
      if (held === null) return null;
      const task = await store.get(held.taskId);
      if (task === null || task.lease === null || task.fence !== held.fence) return null;
      const { worker: holder } = task.lease;
      if (!isConsumer(holder) || !isOpen(task.queue)) return null;
      return { ...held, task: claimedOf(task, task.lease.untilMs, await rulesOf(task.queue)), holder };
    }),
  );
}

/** A task as it was when it was leased. Nothing of it has changed since but, perhaps, its queue's rules. */
function claimedOf(task: Task, leaseUntilMs: number, rules: ClaimedTask["rules"]): ClaimedTask {
  return {
    id: task.id,
    queue: task.queue,
    clientId: task.clientId,
    priority: task.priority,
    target: task.target,
    timeoutMs: task.timeoutMs,
    retry: task.retry,
    name: task.name,
    metadata: task.metadata,
    traceparent: task.traceparent,
    callbackUrl: task.callbackUrl,
    failureCallbackUrl: task.failureCallbackUrl,
    rules,
    // Only who calls a target needs them.
    clientRules: null,
    scheduledAtMs: task.scheduledAtMs,
    dueMs: null,
    firstAttemptAtMs: task.firstAttemptAtMs,
    attempt: task.attempts + 1,
    crashes: task.crashes,
    fence: task.fence,
    leaseUntilMs,
    isProbe: false,
  };
}
