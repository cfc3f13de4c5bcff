/** The queue as plain maps: what every store has to be equal to, step by step, as far as it is promised. */

import type {
  ClaimedTask,
  EnqueueResult,
  Reschedule,
  Settlement,
  SettleResult,
  StoreSettings,
} from "../../src/core/store.ts";
import { isFinal, isWaiting, keepAttempt, type NewTask } from "../../src/core/task.ts";
import { Limits } from "./limits.ts";
import { hostCalled, keyOf, type ModelTask, scopesOf } from "./task.ts";

/** A lease that was given out, ended or not. */
export interface ModelLease {
  readonly claimed: ClaimedTask;
  readonly worker: string;
  /** Whether its worker has forgotten it. */
  isLost: boolean;
}

/** A host that is held back. */
export interface ModelHold {
  nextMs: number;
  readonly forMs: number;
  /** Tasks that could have been its probe and were not, since when: a store may look for another for a second. */
  missed: ReadonlyMap<string, number>;
}

export interface ModelPurge {
  readonly startedAtMs: number;
  /** Tasks that have waited ever since it began. */
  readonly marked: Set<string>;
  /** Those that were handed out since: should they wait again, they may go or stay. */
  readonly excused: Set<string>;
  removed: number;
  share: number;
}

export class QueueModel {
  readonly tasks = new Map<string, ModelTask>();
  readonly limits: Limits;
  /** Who holds each ordering key; null when that is the store's to say, if anybody does. */
  readonly keys = new Map<string, string | null>();
  readonly names = new Map<string, { readonly id: string; readonly untilMs: number | null }>();
  readonly holds = new Map<string, ModelHold>();
  readonly purges = new Map<string, ModelPurge>();
  leases: ModelLease[] = [];
  readonly settings: StoreSettings;
  #accepted = 0;

  constructor(settings: StoreSettings) {
    this.settings = settings;
    this.limits = new Limits(this.tasks, settings);
  }

  get unfinished(): ModelTask[] {
    return [...this.tasks.values()].filter(({ state }) => !isFinal(state));
  }

  /** Tasks that wait and whose time has come. */
  due(nowMs: number): ModelTask[] {
    return [...this.tasks.values()].filter(({ state, dueMs }) => isWaiting(state) && dueMs <= nowMs);
  }

  /** Whether the host that a task calls is held back. */
  isHeldBack(task: ModelTask): boolean {
    return this.holds.has(hostCalled(task, this.limits.queue(task.given.queue)));
  }

  // Taking in -----------------------------------------------------------------------------------------------

  enqueue(task: NewTask, isChecked: boolean, nowMs: number): EnqueueResult {
    const holder = this.nameHolder(scopesOf(task), nowMs);
    if (holder !== null) return { kind: "duplicate", id: holder };
    const refusal = this.limits.refusal(task.clientId, task.queue, isChecked, nowMs);
    if (refusal !== null) return refusal;
    const added = this.accept(task, nowMs);
    const state = added.dueMs > nowMs ? "scheduled" : "ready";
    return { kind: "created", id: task.id, state, scheduledAtMs: added.scheduledAtMs };
  }

  /** A task that follows from a settlement: limits do not apply. */
  follow(task: NewTask, nowMs: number): void {
    if (this.tasks.has(task.id) || this.nameHolder(scopesOf(task), nowMs) !== null) return;
    const added = this.accept(task, nowMs);
    added.isLoose = true;
    added.isMoved = true;
  }

  accept(given: NewTask, nowMs: number): ModelTask {
    const dueMs = Math.max(given.scheduledAtMs ?? nowMs, nowMs);
    const added: ModelTask = {
      given,
      order: this.#accepted++,
      createdAtMs: nowMs,
      scheduledAtMs: given.scheduledAtMs ?? nowMs,
      priority: given.priority,
      state: dueMs > nowMs ? "scheduled" : "ready",
      reason: null,
      dueMs,
      firstAttemptAtMs: null,
      finishedAtMs: null,
      expiresAtMs: null,
      attempts: 0,
      crashes: 0,
      releases: 0,
      fence: 0,
      lease: null,
      attemptLog: [],
      place: dueMs > nowMs ? "due" : "accepted",
      isLoose: false,
      isMoved: false,
    };
    this.tasks.set(given.id, added);
    for (const scope of scopesOf(given)) this.names.set(scope, { id: given.id, untilMs: null });
    const key = keyOf(given);
    if (key !== null && !this.keys.has(key)) this.keys.set(key, null);
    this.limits.register(given.clientId, given.queue, nowMs);
    return added;
  }

  nameHolder(scopes: readonly string[], nowMs: number): string | null {
    for (const scope of scopes) {
      const taken = this.names.get(scope);
      if (taken !== undefined && (taken.untilMs === null || taken.untilMs > nowMs)) return taken.id;
    }
    return null;
  }

  // Leases --------------------------------------------------------------------------------------------------

  /** What a claim does first: all that is due is ready. */
  promote(nowMs: number): void {
    for (const task of this.due(nowMs)) task.state = "ready";
  }

  lease(task: ModelTask, claimed: ClaimedTask, worker: string, nowMs: number): void {
    this.limits.begin(task.given.queue, nowMs);
    task.state = "running";
    task.fence = claimed.fence;
    task.lease = { worker, untilMs: claimed.leaseUntilMs };
    const key = keyOf(task.given);
    if (key !== null) this.keys.set(key, task.given.id);
    const purge = this.purges.get(task.given.queue);
    if (purge?.marked.delete(task.given.id)) purge.excused.add(task.given.id);
    this.leases.push({ claimed, worker, isLost: false });
  }

  settle({ lease, verdict, attempt, followUps }: Settlement, nowMs: number): SettleResult {
    const task = this.tasks.get(lease.taskId);
    if (task === undefined || task.lease === null || task.fence !== lease.fence) return "stale";
    if (attempt !== null) {
      task.attempts += 1;
      task.firstAttemptAtMs ??= attempt.startedAtMs;
      task.attemptLog = keepAttempt(task.attemptLog, attempt);
    }
    task.lease = null;
    if (task.state === "cancelled") {
      this.#leaveKey(task);
      this.#retire(task, nowMs);
      return "cancelled";
    }
    task.reason = "reason" in verdict ? verdict.reason : null;
    if (verdict.kind === "succeeded" || verdict.kind === "dead") {
      task.state = verdict.kind;
      task.finishedAtMs = nowMs;
      this.#releaseNames(task, nowMs);
      const keeps = verdict.kind === "dead" && this.limits.queue(task.given.queue).afterDeath === "hold";
      if (!keeps) this.#leaveKey(task);
      this.#retire(task, nowMs);
    } else {
      if (verdict.kind === "released") task.releases += 1;
      if (verdict.kind === "released" && verdict.afterMs === 0) {
        task.state = "ready";
        task.place = "back";
      } else {
        task.state = verdict.kind === "retry" ? "retrying" : "scheduled";
        task.dueMs = nowMs + verdict.afterMs;
        task.place = "due";
      }
    }
    for (const followUp of followUps ?? []) this.follow(followUp, nowMs);
    return "settled";
  }

  /** A worker has let a lease run out. */
  rescue(task: ModelTask, nowMs: number): void {
    const worker = task.lease?.worker ?? "";
    task.lease = null;
    task.crashes += 1;
    if (task.state === "cancelled") {
      this.#leaveKey(task);
      this.#retire(task, nowMs);
      return;
    }
    task.state = "ready";
    task.place = "back";
    task.reason = `its worker ${worker} let the lease run out`;
  }

  // Changes -------------------------------------------------------------------------------------------------

  /** Of a task that waits or runs. One of no retention is gone after this. */
  cancel(task: ModelTask, nowMs: number): void {
    this.#releaseNames(task, nowMs);
    task.state = "cancelled";
    task.finishedAtMs = nowMs;
    task.reason = "cancelled on request";
    if (task.lease !== null) return;
    this.#leaveKey(task);
    this.#retire(task, nowMs);
  }

  /** Of a task that waits. */
  reschedule(task: ModelTask, { scheduledAtMs, priority }: Reschedule, nowMs: number): void {
    if (priority !== undefined && priority !== task.priority) {
      task.priority = priority;
      task.isLoose = true;
    }
    if (scheduledAtMs === undefined) return;
    task.dueMs = Math.max(scheduledAtMs, nowMs);
    task.isLoose = true;
    task.isMoved = true;
    if (task.dueMs <= nowMs) task.state = "ready";
    else if (task.state !== "retrying") {
      // A retry keeps its ordering key; a first run that moves away lets the next one go.
      task.state = "scheduled";
      this.#leaveKey(task);
    }
  }

  /** Of a task that is over, and not leased. */
  startOver(task: ModelTask, notBeforeMs: number, nowMs: number): void {
    task.attempts = 0;
    task.crashes = 0;
    task.releases = 0;
    task.firstAttemptAtMs = null;
    task.finishedAtMs = null;
    task.expiresAtMs = null;
    task.reason = null;
    task.dueMs = Math.max(notBeforeMs, nowMs);
    task.state = task.dueMs > nowMs ? "scheduled" : "ready";
    task.isLoose = true;
    task.isMoved = true;
    const { id, queue } = task.given;
    for (const scope of scopesOf(task.given)) {
      const holder = this.nameHolder([scope], nowMs);
      if (holder === null || holder === id) this.names.set(scope, { id, untilMs: null });
    }
    this.purges.get(queue)?.marked.delete(id);
    this.purges.get(queue)?.excused.delete(id);
  }

  /** A finished task goes, and with it the key that may have been kept for it. */
  drop(task: ModelTask): void {
    this.#leaveKey(task);
    this.tasks.delete(task.given.id);
  }

  // Purges --------------------------------------------------------------------------------------------------

  purge(queue: string, nowMs: number): void {
    const waiting = [...this.tasks.values()].filter(
      ({ given, state }) => given.queue === queue && isWaiting(state),
    );
    this.purges.set(queue, {
      startedAtMs: nowMs,
      marked: new Set(waiting.map(({ given }) => given.id)),
      excused: new Set(),
      removed: 0,
      share: 0,
    });
  }

  /** A purge has removed a task: its names are free at once. */
  remove(task: ModelTask): void {
    for (const [scope, { id }] of this.names) if (id === task.given.id) this.names.delete(scope);
    this.drop(task);
  }

  #releaseNames({ given }: ModelTask, nowMs: number): void {
    for (const scope of scopesOf(given)) {
      if (this.names.get(scope)?.id === given.id)
        this.names.set(scope, { id: given.id, untilMs: nowMs + this.settings.dedupWindowMs });
    }
  }

  #leaveKey({ given }: ModelTask): void {
    const key = keyOf(given);
    if (key !== null && this.keys.get(key) === given.id) this.keys.set(key, null);
  }

  /** A task that is over stays readable for its retention, or goes at once. */
  #retire(task: ModelTask, nowMs: number): void {
    const queue = this.limits.queue(task.given.queue);
    const ownMs = task.state === "dead" ? queue.retentionDeadMs : queue.retentionSucceededMs;
    const storesMs =
      task.state === "dead" ? this.settings.retentionDeadMs : this.settings.retentionSucceededMs;
    const retentionMs = task.given.retentionMs ?? ownMs ?? storesMs;
    task.expiresAtMs = nowMs + retentionMs;
    if (retentionMs === 0) this.drop(task);
  }
}
