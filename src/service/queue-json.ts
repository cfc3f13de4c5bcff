/** The way between a queue as it is kept and as callers see it: units, names and what is to be hidden. */

import type { DeadTarget, Queue, TargetOverride } from "../core/queue.ts";
import type { RetryOverrides } from "../core/retry.ts";
import type { LaneCounts, QueueUse } from "../core/store.ts";
import { TASK_STATES, type TaskState } from "../core/task.ts";
import type { QueueJson, QueueSetRequest, RulesJson } from "./queue-settings.ts";
import { timeJson } from "./schema-words.ts";
import { signingJson } from "./signing-json.ts";

/** What a queue looks like in the audit, where it is kept for long and read by many: headers may hold secrets. */
const CENSOR = "[hidden]";

export type StateCounts = Readonly<Record<TaskState, number>>;

const NO_TASKS = Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as StateCounts;

/** Every queue's tasks by state, over its priorities; a queue without any is not there. */
export function countsByQueue(lanes: readonly LaneCounts[]): ReadonlyMap<string, StateCounts> {
  const sums = new Map<string, Record<TaskState, number>>();
  for (const { queue, states } of lanes) {
    const sum = sums.get(queue) ?? { ...NO_TASKS };
    for (const state of TASK_STATES) sum[state] += states[state];
    sums.set(queue, sum);
  }
  return sums;
}

export function queueJson(
  name: string,
  queue: Queue,
  use: QueueUse,
  counts: StateCounts = NO_TASKS,
): QueueJson {
  const { purge, nextDispatchAtMs } = use;
  return {
    queue: name,
    ...rulesJson(queue),
    signing: signingJson(queue.signing),
    created_at: timeJson(queue.createdAtMs),
    running: use.running,
    counts: { ...counts },
    next_dispatch_at: nextDispatchAtMs === null ? null : timeJson(nextDispatchAtMs),
    purge:
      purge === null
        ? null
        : { started_at: timeJson(purge.startedAtMs), removed: purge.removed, share: purge.share },
  };
}

/** A queue's rules alone, with the values of its headers hidden: as the audit shows it. */
export function queueSettingsJson(name: string, queue: Queue) {
  const rules = rulesJson(queue);
  const headers = rules.target?.headers;
  return {
    queue: name,
    ...rules,
    ...(headers !== undefined && { target: { ...rules.target, headers: hidden(headers) } }),
    signing: signingJson(queue.signing),
    created_at: timeJson(queue.createdAtMs),
  };
}

function hidden(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(headers).map((name) => [name, CENSOR]));
}

function rulesJson(queue: Queue): RulesJson {
  return {
    enabled: queue.enabled,
    paused: queue.paused,
    max_dispatches_per_sec: queue.maxDispatchesPerSec,
    max_burst: queue.maxBurst,
    max_concurrent: queue.maxConcurrent,
    weight: queue.weight,
    retry: retryJson(queue.retry),
    timeout_sec: toSec(queue.timeoutMs),
    target: queue.target === null ? null : targetJson(queue.target),
    retention_succeeded_sec: toSec(queue.retentionSucceededMs),
    retention_dead_sec: toSec(queue.retentionDeadMs),
    permanent_statuses: [...queue.permanentStatuses],
    after_death: queue.afterDeath,
    dead_target: queue.deadTarget === null ? null : deadTargetJson(queue.deadTarget),
    mode: queue.mode,
  };
}

function retryJson(retry: RetryOverrides): RulesJson["retry"] {
  return {
    ...(retry.maxAttempts !== undefined && { max_attempts: retry.maxAttempts }),
    ...(retry.minBackoffMs !== undefined && { min_backoff_sec: retry.minBackoffMs / 1_000 }),
    ...(retry.maxBackoffMs !== undefined && { max_backoff_sec: retry.maxBackoffMs / 1_000 }),
    ...(retry.maxDoublings !== undefined && { max_doublings: retry.maxDoublings }),
    ...(typeof retry.maxDurationMs === "number" && { max_duration_sec: retry.maxDurationMs / 1_000 }),
    ...(retry.jitter !== undefined && { jitter: retry.jitter }),
  };
}

/** A queue's retry rules as they are kept. */
export function retryOf(given: RulesJson["retry"]): RetryOverrides {
  const { min_backoff_sec: minSec, max_backoff_sec: maxSec, max_duration_sec: durationSec } = given;
  return {
    ...(given.max_attempts !== undefined && { maxAttempts: given.max_attempts }),
    ...(minSec !== undefined && { minBackoffMs: toMs(minSec) }),
    ...(maxSec !== undefined && { maxBackoffMs: toMs(maxSec) }),
    ...(given.max_doublings !== undefined && { maxDoublings: given.max_doublings }),
    ...(durationSec !== undefined && { maxDurationMs: toMs(durationSec) }),
    ...(given.jitter !== undefined && { jitter: given.jitter }),
  };
}

function targetJson({ url, method, headers }: TargetOverride): NonNullable<RulesJson["target"]> {
  return {
    ...(url !== undefined && { url }),
    ...(method !== undefined && { method }),
    ...(headers !== undefined && { headers: { ...headers } }),
  };
}

function deadTargetJson(target: DeadTarget): NonNullable<RulesJson["dead_target"]> {
  return target.kind === "queue" ? { queue: target.queue } : { url: target.url };
}

/** The rules of a request that need no look at their value. */
export function plainRules(request: QueueSetRequest): Partial<Queue> {
  const { timeout_sec: timeoutSec, permanent_statuses: statuses } = request;
  const { retention_succeeded_sec: succeededSec, retention_dead_sec: deadSec } = request;
  return {
    ...(request.enabled !== undefined && { enabled: request.enabled }),
    ...(request.paused !== undefined && { paused: request.paused }),
    ...(request.max_dispatches_per_sec !== undefined && {
      maxDispatchesPerSec: request.max_dispatches_per_sec,
    }),
    ...(request.max_burst !== undefined && { maxBurst: request.max_burst }),
    ...(request.max_concurrent !== undefined && { maxConcurrent: request.max_concurrent }),
    ...(request.weight !== undefined && { weight: request.weight }),
    ...(timeoutSec !== undefined && { timeoutMs: toMsOrNull(timeoutSec) }),
    ...(succeededSec !== undefined && { retentionSucceededMs: toMsOrNull(succeededSec) }),
    ...(deadSec !== undefined && { retentionDeadMs: toMsOrNull(deadSec) }),
    ...(statuses !== undefined && { permanentStatuses: [...statuses] }),
    ...(request.after_death !== undefined && { afterDeath: request.after_death }),
    ...(request.mode !== undefined && { mode: request.mode }),
  };
}

function toSec(ms: number | null): number | null {
  return ms === null ? null : ms / 1_000;
}

function toMsOrNull(sec: number | null): number | null {
  return sec === null ? null : toMs(sec);
}

function toMs(sec: number): number {
  return Math.round(sec * 1_000);
}
