/** The tasks that a task's end brings: a report of it where one was asked for, and a copy of a dead one where its queue wants it. */

import type { ClaimedTask } from "./store.ts";
import {
  type Attempt,
  MAX_METADATA_CHARS,
  MAX_METADATA_ENTRIES,
  type NewTask,
  RESERVED_METADATA,
} from "./task.ts";

/** How a task ended. One that was cancelled ends without a word: whoever cancelled it knows. */
export interface End {
  readonly task: ClaimedTask;
  readonly state: "succeeded" | "dead";
  /** Why it is dead; null of one that succeeded. */
  readonly reason: string | null;
  /** The last run of it; null when it died without one. */
  readonly attempt: Attempt | null;
  readonly atMs: number;
}

/**
 * The queue of all reports, made by the first. A queue of their own, because that of the task may be paused for what
 * killed it, may send its tasks elsewhere, or may be one that nobody delivers from.
 */
export const REPORTS_QUEUE = "callbacks";

/** Whose URL a report goes to: one that the task's client gave, or one that its queue has. */
export type ReportTo = "callback_url" | "failure_callback_url" | "dead_target";

/** Marks a report with the task it tells of. */
const REPORT_OF = `${RESERVED_METADATA}report_of`;
const REPORT_TO = `${RESERVED_METADATA}report_to`;
/** Marks a copy with the dead task that it is one of. */
const DEAD_TASK_ID = `${RESERVED_METADATA}dead_task_id`;
const DEAD_QUEUE = `${RESERVED_METADATA}dead_queue`;
const DEAD_REASON = `${RESERVED_METADATA}dead_reason`;
const MAX_REASON_CHARS = 200;

/** Whether a task is the report of another's end. No caller can make one that says so. */
export function isReport(metadata: NewTask["metadata"]): boolean {
  return Object.hasOwn(metadata, REPORT_OF);
}

/** Whose URL a task goes to that is a report; null of any other task. */
export function reportTo(metadata: NewTask["metadata"]): ReportTo | null {
  return (metadata[REPORT_TO] as ReportTo | undefined) ?? null;
}

/**
 * The tasks to accept in the step that ends this one, two at most: what its queue's dead target asks for, and what the
 * task itself does. A report is followed by nothing, and a copy by no other copy: there are no loops.
 */
export function followUpsOf(end: End, newId: (nowMs: number) => string): readonly NewTask[] {
  const { task, state, atMs } = end;
  if (isReport(task.metadata)) return [];
  const followUps: NewTask[] = [];
  const deadTarget = state === "dead" ? (task.rules?.deadTarget ?? null) : null;
  if (deadTarget !== null && !Object.hasOwn(task.metadata, DEAD_TASK_ID)) {
    if (deadTarget.kind === "callback") {
      followUps.push(reportOf(end, "dead_target", deadTarget.url, newId(atMs)));
    } else if (deadTarget.queue !== task.queue) {
      followUps.push(copyOf(end, deadTarget.queue, newId(atMs)));
    }
  }
  if (state === "dead" && task.failureCallbackUrl !== null) {
    followUps.push(reportOf(end, "failure_callback_url", task.failureCallbackUrl, newId(atMs)));
  } else if (task.callbackUrl !== null) {
    followUps.push(reportOf(end, "callback_url", task.callbackUrl, newId(atMs)));
  }
  return followUps;
}

/** The dead task once more, as it was handed in, less what a second task must not share with it. */
function copyOf({ task, reason }: End, queue: string, id: string): NewTask {
  const marks = {
    [DEAD_TASK_ID]: task.id,
    [DEAD_QUEUE]: task.queue,
    [DEAD_REASON]: (reason ?? "").slice(0, MAX_REASON_CHARS).toWellFormed(),
  };
  return {
    ...followUp(task, id),
    queue,
    target: task.target,
    timeoutMs: task.timeoutMs,
    retry: task.retry,
    metadata: withMarks(task.metadata, marks),
  };
}

function reportOf(end: End, to: ReportTo, url: string, id: string): NewTask {
  return {
    ...followUp(end.task, id),
    queue: REPORTS_QUEUE,
    target: {
      url,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(eventOf(end)),
    },
    timeoutMs: null,
    retry: {},
    metadata: { [REPORT_OF]: end.task.id, [REPORT_TO]: to },
  };
}

/** What every follow-up has from the task that it follows, and what none has. */
function followUp({ clientId, priority, traceparent }: ClaimedTask, id: string) {
  return {
    id,
    clientId,
    clientRevision: null,
    priority,
    scheduledAtMs: null,
    name: null,
    idempotencyKey: null,
    orderingKey: null,
    retentionMs: null,
    traceparent,
    callbackUrl: null,
    failureCallbackUrl: null,
  };
}

/** The report's body: snake_case and RFC 3339 times, as everywhere in the API. */
function eventOf({ task, state, reason, attempt, atMs }: End) {
  return {
    event: `task.${state}`,
    task_id: task.id,
    queue: task.queue,
    client_id: task.clientId,
    ...(task.name !== null && { name: task.name }),
    state,
    reason,
    attempts: attempt?.number ?? task.attempt - 1,
    last_attempt:
      attempt === null
        ? null
        : {
            number: attempt.number,
            status: attempt.status,
            error: attempt.error,
            duration_ms: attempt.durationMs,
            started_at: new Date(attempt.startedAtMs).toISOString(),
            response_excerpt: attempt.responseExcerpt,
          },
    metadata: task.metadata,
    finished_at: new Date(atMs).toISOString(),
  };
}

/** `marks`, and of the task's own entries those that fit beside them; the last ones go first. */
function withMarks(own: NewTask["metadata"], marks: NewTask["metadata"]): NewTask["metadata"] {
  const kept: Record<string, string> = { ...marks };
  let entries = Object.keys(marks).length;
  let chars = Object.entries(marks).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  for (const [name, value] of Object.entries(own)) {
    if (Object.hasOwn(marks, name)) continue;
    entries++;
    chars += name.length + value.length;
    if (entries > MAX_METADATA_ENTRIES || chars > MAX_METADATA_CHARS) break;
    kept[name] = value;
  }
  return kept;
}
