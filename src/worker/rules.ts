/** What a queue's rules make of its tasks: what is called, for how long, and how often; tasks without any pay nothing. */

import { isReport, reportTo } from "../core/follow-ups.ts";
import type { TargetOverride } from "../core/queue.ts";
import type { ClaimedTask } from "../core/store.ts";
import type { Target } from "../core/task.ts";

/** One call of a task's target as it is to be made. */
export interface Call {
  readonly target: Target;
  readonly timeoutMs: number;
  /** The hosts that may be called; null for all. */
  readonly allowedHosts: readonly string[] | null;
}

/** Methods whose requests have no body (RFC 9110, sections 9.3.1 and 9.3.2). */
const BODILESS = /^(?:GET|HEAD)$/;

/**
 * The call of a task: its own timeout, else its queue's, else `maxTimeoutMs`, which is the most in any case. A report
 * goes where it was meant to, whatever its queue calls instead. Its client's hosts bound what the client chose: a URL
 * that a queue has was chosen by who looks after the runner.
 */
export function callOf(task: ClaimedTask, maxTimeoutMs: number): Call {
  const { target, timeoutMs, metadata, rules, clientRules } = task;
  const override = rules === null || rules.target === null || isReport(metadata) ? null : rules.target;
  const isClients = override?.url === undefined && reportTo(metadata) !== "dead_target";
  return {
    target: override === null ? target : overridden(target, override),
    timeoutMs: Math.min(timeoutMs ?? rules?.timeoutMs ?? maxTimeoutMs, maxTimeoutMs),
    allowedHosts: clientRules !== null && isClients ? clientRules.allowedHosts : null,
  };
}

/** A body goes with the method that takes one: where the override asks for GET it is left out, as Cloud Tasks does. */
function overridden(own: Target, { url, method, headers }: TargetOverride): Target {
  const effective = method ?? own.method;
  return {
    url: url ?? own.url,
    method: effective,
    headers: headers === undefined ? own.headers : withHeaders(own.headers, headers),
    body: BODILESS.test(effective) ? null : own.body,
  };
}

/** `own` with `added`, which stand in the place of those whose names differ by case at most. */
function withHeaders(own: Target["headers"], added: Target["headers"]): Target["headers"] {
  const replaced = new Set(Object.keys(added).map((name) => name.toLowerCase()));
  const kept = Object.entries(own).filter(([name]) => !replaced.has(name.toLowerCase()));
  return { ...Object.fromEntries(kept), ...added };
}
