/** One task as the store must know it. */

import type { ClaimedTask } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";

export type ShadowState =
  | "scheduled"
  | "ready"
  | "held"
  | "retrying"
  | "running"
  | "succeeded"
  | "dead"
  | "cancelled";

export interface ShadowTask {
  readonly spec: NewTask;
  /** In the order in which the store took them. */
  readonly seq: number;
  state: ShadowState;
  priority: NewTask["priority"];
  dueMs: number;
  attempts: number;
  crashes: number;
  releases: number;
  fence: number;
  firstAttemptAtMs: number | null;
  expiresMs: number | null;
  /** The lease that stands, of a cancelled task too until its worker has let go. */
  lease: {
    readonly worker: string;
    untilMs: number;
    readonly claimed: ClaimedTask;
    /** How many changes of settings there had been. */
    readonly settingsChanges: number;
  } | null;
}

export const isWaiting = ({ state }: ShadowTask): boolean =>
  state === "scheduled" || state === "ready" || state === "held" || state === "retrying";

export const isOver = ({ state, lease }: ShadowTask): boolean =>
  lease === null && (state === "succeeded" || state === "dead" || state === "cancelled");

/** Before another in due order, as lanes and ordering keys count it. */
export const isBefore = (a: ShadowTask, b: ShadowTask): boolean =>
  a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.seq < b.seq);
