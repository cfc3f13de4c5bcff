/** What is told of tasks to whoever traces them; the library behind it is loaded only when somebody listens. */

import type { ClaimedTask, Settlement } from "../core/store.ts";
import type { NewTask, Target } from "../core/task.ts";
import type { Outcome } from "../core/transport.ts";
import type { Logger } from "./logger.ts";

/** One task on its way into the store: the producer's side. */
export interface Sending {
  /** The task with the trace context that those who run it continue. */
  readonly task: NewTask;
  /** Ends it well: kept, or found to be there already under the id of `duplicateOf`. */
  kept(duplicateOf: string | null): void;
  /** Ends it badly. */
  refused(error: unknown): void;
}

/** One attempt of a task, from the moment that it was taken up to its settlement. */
export interface AttemptTrace {
  /** The context of this attempt, e.g. for the log. */
  readonly traceparent: string;
  /** Begins the call of the target. */
  call(target: Target): CallTrace;
  /** Ends it; null where the lease was lost and nothing is settled. */
  end(settlement: Settlement | null): void;
}

/** One call of a target. */
export interface CallTrace {
  /** What the target is sent, so that its own spans are children of this one. */
  readonly traceparent: string;
  end(outcome: Outcome): void;
}

/** How many spans were recorded so far, and how many of those the collector took or refused; the rest waits or was dropped. */
export interface SpanCounts {
  readonly recorded: number;
  readonly sent: number;
  readonly refused: number;
}

/** Traces what a process does with tasks. Nothing here throws, and nothing waits for a collector. */
export interface Tracing {
  send(task: NewTask): Sending;
  /** Null where this attempt is not recorded; then the task's own context is passed on as it is. */
  attempt(task: ClaimedTask): AttemptTrace | null;
  spans(): SpanCounts;
  /** Hands over what has been recorded, and records no more. Takes `withinMs` at most; never rejects. */
  close(withinMs: number): Promise<void>;
}

export interface TracingOptions {
  /** Where spans are sent: the whole URL. */
  readonly url: string;
  /** Tasks taken in, and attempts, that are recorded in a second at most, each. */
  readonly perSec: number;
  /** serve, work or all. */
  readonly role: string;
  readonly version: string;
  /** Names this process among its likes. */
  readonly instance: string;
  readonly logger: Logger;
}

/** Loads what tracing takes, and begins it. */
export async function openTracing(options: TracingOptions): Promise<Tracing> {
  const { OtelTracing } = await import("./otel.ts");
  return new OtelTracing(options);
}
