/** A queue's own rules: how fast and how many of its tasks run, and what is filled in for those that do not say. */

import type { SealedSecret } from "./client.ts";
import type { RetryOverrides } from "./retry.ts";

/** What a queue puts in place of what its tasks say of their target. */
export interface TargetOverride {
  /** Called instead of the task's own. */
  readonly url?: string;
  /** Upper case. */
  readonly method?: string;
  /** Added to the task's own, in whose place they stand where the names are alike. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Where word of a dead task goes: a copy of it to another queue, or a report of its end to a URL. */
export type DeadTarget =
  | { readonly kind: "queue"; readonly queue: string }
  | { readonly kind: "callback"; readonly url: string };

/** What becomes of an ordering key whose task has died: the next task gets it, or nobody until the dead one is replayed or removed. */
export type AfterDeath = "next" | "hold";

/** Who takes a queue's tasks: workers, which call their targets, or consumers, which lease them. */
export type QueueMode = "push" | "pull";

/** A queue as it is kept. Null leaves a rule to the task, the worker or the store's settings, in this order. */
export interface Queue {
  /** A disabled queue refuses new tasks; those it has go on. */
  readonly enabled: boolean;
  /** A paused queue takes tasks and hands none out. */
  readonly paused: boolean;
  /** Tasks begun a second, over all workers; a fraction is one in so many seconds. */
  readonly maxDispatchesPerSec: number | null;
  /** Tasks that may begin at once after a rest, at least 1; null for those of one second. */
  readonly maxBurst: number | null;
  /** Tasks running at once, over all workers. */
  readonly maxConcurrent: number | null;
  /** How many tasks each of its clients gets in a turn, {@link MIN_WEIGHT} to {@link MAX_WEIGHT}. */
  readonly weight: number;
  /** Of tasks that do not say. */
  readonly retry: RetryOverrides;
  readonly timeoutMs: number | null;
  readonly target: TargetOverride | null;
  readonly retentionSucceededMs: number | null;
  readonly retentionDeadMs: number | null;
  /** Statuses after which a task is not tried again. */
  readonly permanentStatuses: readonly number[];
  readonly afterDeath: AfterDeath;
  readonly deadTarget: DeadTarget | null;
  readonly mode: QueueMode;
  /** With each of which its deliveries are signed; none leaves that to their clients' secrets. */
  readonly signing: readonly SealedSecret[];
  readonly createdAtMs: number;
}

/** The queue of tasks that name none; it is always there. */
export const DEFAULT_QUEUE = "default";

export const MIN_WEIGHT = 1;
export const MAX_WEIGHT = 100;

/** A queue without rules of its own, as it is made on its first use. */
export function newQueue(nowMs: number): Queue {
  return {
    enabled: true,
    paused: false,
    maxDispatchesPerSec: null,
    maxBurst: null,
    maxConcurrent: null,
    weight: 1,
    retry: {},
    timeoutMs: null,
    target: null,
    retentionSucceededMs: null,
    retentionDeadMs: null,
    permanentStatuses: [],
    afterDeath: "next",
    deadTarget: null,
    mode: "push",
    signing: [],
    createdAtMs: nowMs,
  };
}

/** Whether a worker has to know anything of the queue. */
export function hasRules({
  retry,
  timeoutMs,
  target,
  permanentStatuses,
  deadTarget,
  signing,
}: Queue): boolean {
  return (
    Object.keys(retry).length > 0 ||
    timeoutMs !== null ||
    target !== null ||
    permanentStatuses.length > 0 ||
    deadTarget !== null ||
    signing.length > 0
  );
}

/** The size of the bucket from which a queue's dispatches are paid; it fills at maxDispatchesPerSec. */
export function burstOf({ maxDispatchesPerSec, maxBurst }: Queue): number {
  return maxBurst ?? Math.max(1, Math.ceil(maxDispatchesPerSec ?? 1));
}
