/** The task that follows a dead one where its queue asks for it: a copy in another queue, or a report to a URL. */

import { DEFAULT_QUEUE } from "../core/queue.ts";
import type { ClaimedTask } from "../core/store.ts";
import type { Attempt, NewTask } from "../core/task.ts";

/** A task's end by death. */
export interface Death {
  readonly task: ClaimedTask;
  readonly reason: string;
  /** The delivery that it died of; null when it died without one. */
  readonly attempt: Attempt | null;
}

/** Names the dead task in the metadata of the one that follows it. Who has it is followed by none: no loops. */
const DEAD_TASK_ID = "dead_task_id";
const MAX_REASON_CHARS = 200;
/** The bounds that an accepted task's metadata keeps to as well. */
const MAX_METADATA_ENTRIES = 64;
const MAX_METADATA_CHARS = 4_096;

/** The task to accept in the step that settles the dead one; null where nothing is to follow. */
export function followUpOf(death: Death, newId: (nowMs: number) => string, nowMs: number): NewTask | null {
  const { task } = death;
  const deadTarget = task.rules?.deadTarget ?? null;
  if (deadTarget === null || Object.hasOwn(task.metadata, DEAD_TASK_ID)) return null;
  if (deadTarget.kind === "callback") return reportOf(death, deadTarget.url, newId(nowMs));
  return deadTarget.queue === task.queue ? null : copyOf(death, deadTarget.queue, newId(nowMs));
}

/** The dead task once more, as it was handed in, less what a second task must not share with it. */
function copyOf({ task, reason }: Death, queue: string, id: string): NewTask {
  const marks = {
    [DEAD_TASK_ID]: task.id,
    dead_queue: task.queue,
    dead_reason: reason.slice(0, MAX_REASON_CHARS).toWellFormed(),
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

/** In the default queue, because the dead task's own may be paused for what killed it. */
function reportOf(death: Death, url: string, id: string): NewTask {
  return {
    ...followUp(death.task, id),
    queue: DEFAULT_QUEUE,
    target: {
      url,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(eventOf(death)),
    },
    timeoutMs: null,
    retry: {},
    metadata: { [DEAD_TASK_ID]: death.task.id },
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
function eventOf({ task, reason, attempt }: Death) {
  return {
    event: "task.dead",
    task_id: task.id,
    queue: task.queue,
    client_id: task.clientId,
    reason,
    attempts: attempt?.number ?? task.attempt - 1,
    last_attempt:
      attempt === null
        ? null
        : {
            status: attempt.status,
            error: attempt.error,
            duration_ms: attempt.durationMs,
            started_at: new Date(attempt.startedAtMs).toISOString(),
          },
    metadata: task.metadata,
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
