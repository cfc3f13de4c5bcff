/** What every log line that tells of a task says of it, under the same names. */

import type { ClaimedTask } from "../core/store.ts";
import { traceIdIn } from "./traceparent.ts";

/** A task that is being run, in its trace. */
export interface Traced {
  readonly task: Pick<ClaimedTask, "id" | "queue" | "clientId" | "attempt">;
  /** Null where it has none. */
  readonly traceparent: string | null;
}

/** `trace_id` is left out where there is none. */
export function taskFields({ task: { id: task, queue, clientId: client, attempt }, traceparent }: Traced) {
  const traceId = traceIdIn(traceparent);
  return { task, queue, client, attempt, ...(traceId !== null && { trace_id: traceId }) };
}
