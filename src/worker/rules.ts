/** What a queue's rules make of its tasks: what is called, for how long, and how often; tasks without any pay nothing. */

import type { TargetOverride } from "../core/queue.ts";
import type { RetryPolicy } from "../core/retry.ts";
import type { ClaimedTask } from "../core/store.ts";
import type { Target } from "../core/task.ts";

/** One call of a task's target as it is to be made. */
export interface Call {
  readonly target: Target;
  readonly timeoutMs: number;
}

/** Methods whose requests have no body (RFC 9110, sections 9.3.1 and 9.3.2). */
const BODILESS = /^(?:GET|HEAD)$/;

/** The call of a task: its own timeout, else its queue's, else `maxTimeoutMs`, which is the most in any case. */
export function callOf({ target, timeoutMs, rules }: ClaimedTask, maxTimeoutMs: number): Call {
  if (rules === null) return { target, timeoutMs: Math.min(timeoutMs ?? maxTimeoutMs, maxTimeoutMs) };
  return {
    target: rules.target === null ? target : overridden(target, rules.target),
    timeoutMs: Math.min(timeoutMs ?? rules.timeoutMs ?? maxTimeoutMs, maxTimeoutMs),
  };
}

/** The policy of a task: what it says itself, else its queue, else its worker. */
export function retryOf({ retry, rules }: ClaimedTask, workers: RetryPolicy): RetryPolicy {
  return { ...workers, ...rules?.retry, ...retry };
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
