/** A lease as consumers hold it: one opaque text, from which everything needed to end or extend it can be read. */

import { isTaskId } from "../core/id.ts";
import type { LeaseRef } from "../core/store.ts";

/** A lease, and since when it has been held. */
export interface Held extends LeaseRef {
  readonly startedAtMs: number;
}

/** What a lease looks like; says nothing of whether there is such a one. */
export const LEASE_PATTERN = "^[0-9A-HJKMNP-TV-Z]{26}\\.[1-9][0-9]{0,15}\\.[0-9a-z]{1,10}$";
const TIME_BASE = 36;

/**
 * The text of a lease. It needs no signature: the task's id cannot be guessed, its fence is of this lease alone, and
 * the start says no more than how long the attempt took.
 */
export function leaseToken({ taskId, fence, startedAtMs }: Held): string {
  return `${taskId}.${fence}.${startedAtMs.toString(TIME_BASE)}`;
}

/** The lease of a text that has the form of one; null of another. `nowMs` is the latest it may have begun. */
export function heldLease(token: string, nowMs: number): Held | null {
  const [taskId = "", fence = "", started = "", ...rest] = token.split(".");
  const startedAtMs = Number.parseInt(started, TIME_BASE);
  if (rest.length > 0 || !isTaskId(taskId) || !/^[1-9]\d{0,15}$/.test(fence) || Number.isNaN(startedAtMs)) {
    return null;
  }
  return { taskId, fence: Number(fence), startedAtMs: Math.min(startedAtMs, nowMs) };
}
