/** The reasons for which a task does not run that can be told from the task itself, the counts and the workers. */

import { isReport } from "../core/follow-ups.ts";
import { hostOf } from "../core/host.ts";
import type { Queue } from "../core/queue.ts";
import type { HeldHost, LaneCounts, WorkerRecord } from "../core/store.ts";
import type { Task } from "../core/task.ts";
import type { ReasonJson } from "./explanation.ts";
import { timeJson } from "./schema-words.ts";

/** A worker that has not announced itself for three of its rounds is taken for gone. */
export const WORKER_SEEN_WITHIN_MS = 90_000;

/** A reason before it is told: when it will be no longer, where that is known. */
export interface Reason extends Omit<ReasonJson, "until"> {
  readonly untilMs: number | null;
}

/** Of a task that is over. */
export function finished({ state, reason, finishedAtMs }: Task): Reason {
  const when = finishedAtMs === null ? "" : ` at ${timeJson(finishedAtMs)}`;
  const why = reason === null ? "" : `: ${reason}`;
  const what = state === "dead" ? "was given up" : state === "cancelled" ? "was cancelled" : "succeeded";
  return { code: "finished", detail: `It ${what}${when}${why}.`, untilMs: null };
}

/** Of a task that a worker has. */
export function running(
  { attempts }: Task,
  { worker, untilMs }: NonNullable<Task["lease"]>,
  nowMs: number,
): Reason {
  const until = timeJson(untilMs);
  const detail =
    untilMs > nowMs
      ? `Worker ${worker} runs it, attempt ${attempts + 1}; its lease holds until ${until} unless extended.`
      : `Worker ${worker} had it and let its lease run out at ${until}; another worker takes it back soon.`;
  return { code: "running", detail, worker, untilMs };
}

/** Of a task whose time has not come. */
export function notDue({ state, reason, dueMs }: Task, nowMs: number): readonly Reason[] {
  if (dueMs <= nowMs) return [];
  const why = state === "retrying" && reason !== null ? ` again, after: ${reason}` : "";
  return [{ code: "not_due", detail: `It is to run at ${timeJson(dueMs)}${why}.`, untilMs: dueMs }];
}

/** Others that are ready as well, and workers that have their hands full: nothing is wrong, it takes time. */
export function waitingTurn(
  { queue, state, dueMs }: Task,
  nowMs: number,
  counts: readonly LaneCounts[],
  workers: readonly WorkerRecord[],
): readonly Reason[] {
  if (dueMs > nowMs) return [];
  const readyInQueue = sum(counts, (lane) => (lane.queue === queue ? lane.states.ready : 0));
  const ready = Math.max(0, readyInQueue - (state === "ready" ? 1 : 0));
  const running = sum(counts, (lane) => lane.states.running);
  const capacity = sum(workers, (worker) => worker.concurrency);
  const areBusy = capacity > 0 && running >= capacity;
  if (ready === 0 && !areBusy) return [];
  const others = `${ready} other ${ready === 1 ? "task is" : "tasks are"} ready in queue ${queue}`;
  const busy = capacity > 0 ? `, and the workers run ${running} of at most ${capacity} tasks` : "";
  return [
    {
      code: "waiting_turn",
      detail: `${others}${busy}.`,
      ready,
      running,
      capacity,
      untilMs: null,
    },
  ];
}

/** Of a task whose host has failed: one of the host's tasks tries it now and then, the others wait uncharged. */
export function hostHeld(
  { target, metadata }: Task,
  queue: Queue | null,
  hosts: readonly HeldHost[],
): readonly Reason[] {
  // A report is called where it was meant to be, whatever its queue calls instead.
  const override = isReport(metadata) ? undefined : queue?.target?.url;
  const host = hostOf(override ?? target.url);
  const held = hosts.find((one) => one.host === host);
  if (held === undefined) return [];
  const tried = `one task tries it again at ${timeJson(held.nextProbeAtMs)}, and the others follow once that comes through`;
  const detail = `${host} has failed too often in a row: ${tried}.`;
  return [{ code: "host_held", detail, host, untilMs: held.nextProbeAtMs }];
}

/** Of a task that nobody is there to run. */
export function noWorker(workers: readonly WorkerRecord[]): readonly Reason[] {
  if (workers.length > 0) return [];
  const detail = `No worker has been heard of for ${WORKER_SEEN_WITHIN_MS / 1_000} s.`;
  return [{ code: "no_worker", detail, untilMs: null }];
}

/** Of a task that no worker is to take. */
export function awaitsConsumer({ queue, dueMs }: Task, nowMs: number): readonly Reason[] {
  if (dueMs > nowMs) return [];
  const detail = `Queue ${queue} is pulled from: a consumer has to lease the task (POST /v1/queues/${queue}/lease).`;
  return [{ code: "pull_queue", detail, untilMs: null }];
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
