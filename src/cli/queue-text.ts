/** A queue as a person reads it. */

import type { QueueView } from "./admin-views.ts";
import type { CliHost } from "./host.ts";
import { type Fact, factLines } from "./output.ts";
import { plain } from "./plain.ts";
import { secretTable } from "./signing-secrets.ts";

export const QUEUE_COLUMNS = ["QUEUE", "STATE", "RUNNING", "READY", "LATER", "DEAD", "LIMITS"];

/** The row of a queue in a listing; the head is {@link QUEUE_COLUMNS}. */
export function queueRow(queue: QueueView): string[] {
  const count = (...states: string[]) =>
    String(states.reduce((sum, state) => sum + (queue.counts[state] ?? 0), 0));
  return [
    plain(queue.queue),
    stateOf(queue),
    String(queue.running),
    count("ready"),
    count("scheduled", "retrying"),
    count("dead"),
    limitsOf(queue) || "-",
  ];
}

/** Everything there is to say of one queue; a rule that it does not have is left out. */
export function queueDetails(host: CliHost, queue: QueueView): string {
  const counts = Object.entries(queue.counts).map(([state, count]) => `${state} ${count}`);
  const facts = factLines(host, [
    ["queue", plain(queue.queue)],
    ["state", stateOf(queue)],
    ["mode", queue.mode === "pull" ? "pull: consumers lease its tasks" : ""],
    ["running", String(queue.running)],
    ["tasks", plain(counts.join(", "))],
    ["next dispatch", queue.next_dispatch_at && plain(queue.next_dispatch_at)],
    ["limits", limitsOf(queue)],
    ["weight", String(queue.weight)],
    ...ruleFacts(queue),
    ["created", plain(queue.created_at)],
  ]);
  return facts + secretTable(host, queue.signing);
}

function ruleFacts(queue: QueueView): Fact[] {
  const retry = Object.entries(queue.retry).map(([name, value]) => `${name} ${value}`);
  return [
    ["retry", plain(retry.join(", "))],
    ["timeout", seconds(queue.timeout_sec)],
    ["target", targetText(queue)],
    ["keeps succeeded", seconds(queue.retention_succeeded_sec)],
    ["keeps dead", seconds(queue.retention_dead_sec)],
    ["permanent", queue.permanent_statuses.join(", ")],
    ["after a death", queue.after_death === "hold" ? "the ordering key is held" : "the next of the key runs"],
    ["dead tasks to", plain(deadTargetText(queue))],
  ];
}

function stateOf(queue: QueueView): string {
  const states = [
    queue.paused ? "paused" : "",
    queue.enabled ? "" : "disabled",
    queue.purge ? `purging, ${purgeText(queue.purge)}` : "",
  ].filter((state) => state !== "");
  return states.length === 0 ? "open" : states.join(", ");
}

/** How far a purge is. */
export function purgeText({ removed, share }: NonNullable<QueueView["purge"]>): string {
  return `${Math.floor(share * 100)} % looked through, ${removed} removed`;
}

function limitsOf(queue: QueueView): string {
  return [
    queue.max_dispatches_per_sec === null ? "" : `${queue.max_dispatches_per_sec} a second`,
    queue.max_burst === null ? "" : `${queue.max_burst} in a burst`,
    queue.max_concurrent === null ? "" : `${queue.max_concurrent} at once`,
  ]
    .filter((limit) => limit !== "")
    .join(", ");
}

/** Header values are left out: they may be secrets. */
function targetText({ target }: QueueView): string {
  if (!target) return "";
  const { method, url, headers } = target;
  const names = Object.keys(headers ?? {});
  const parts = [method ?? "", url ?? "", names.length === 0 ? "" : `with ${names.join(", ")}`];
  return plain(parts.filter((part) => part !== "").join(" "));
}

function deadTargetText({ dead_target: target }: QueueView): string {
  if (!target) return "";
  return target.queue === undefined ? (target.url ?? "") : `the queue ${target.queue}`;
}

function seconds(sec: number | null): string {
  return sec === null ? "" : `${sec} s`;
}
