/**
 * The store as it must be: a model that is told of every call that reached the real one, with its result, and says what
 * about that result cannot be. It is written apart from any store, as plain as it can be.
 */

import type {
  Claim,
  ClaimedTask,
  ClaimRequest,
  EnqueueAnswer,
  LeaseRef,
  LostLease,
  Reschedule,
  Rescued,
  Settlement,
  SettleResult,
} from "../../src/core/store.ts";
import type { NewTask, TaskState } from "../../src/core/task.ts";
import { ShadowKeys, ShadowNames } from "./shadow-keys.ts";
import { ShadowLimits } from "./shadow-limits.ts";
import { isBefore, isOver, isWaiting, type ShadowTask } from "./shadow-task.ts";

export interface ShadowSettings {
  readonly defaultTier: string;
  readonly retentionSucceededMs: number;
  readonly retentionDeadMs: number;
  readonly dedupWindowMs: number;
}

/** How many due tasks a claim may promote: twice what it takes, and this at least. */
const MIN_PROMOTED = 100;
/** After hosts were held back their tasks come back by and by, so for so long no claim is asked why it left some. */
const HOLD_SETTLES_MS = 60_000;

interface Marked {
  readonly lastSeq: number;
  readonly spared: Set<ShadowTask>;
}

export class Shadow {
  readonly tasks = new Map<string, ShadowTask>();
  readonly limits: ShadowLimits;
  readonly #keys: ShadowKeys;
  readonly #names: ShadowNames;
  readonly #settings: ShadowSettings;
  readonly #broken: (what: string) => void;
  /** Ids of tasks that are gone, for a reason. */
  readonly #gone = new Set<string>();
  readonly #fences = new Map<string, number>();
  readonly #purges = new Map<string, Marked>();
  #seq = 0;
  #clockSteps = 0;
  #lastHoldMs = Number.NEGATIVE_INFINITY;
  readonly #held = new Set<string>();

  constructor(settings: ShadowSettings, broken: (what: string) => void) {
    this.#settings = settings;
    this.#broken = broken;
    this.limits = new ShadowLimits(settings.defaultTier);
    this.#keys = new ShadowKeys(this.tasks);
    this.#names = new ShadowNames(settings.dedupWindowMs);
  }

  /** Whether a task is there, or was and went for a reason. */
  knew(id: string): boolean {
    return this.tasks.has(id) || this.#gone.has(id);
  }

  /** Whether a task waits for a key that a dead one keeps. */
  waitsForTheDead(task: ShadowTask): boolean {
    return task.state === "held" && this.#keys.holder(task)?.state === "dead";
  }

  /** `beforeMs` is what it told until now. */
  clockWasSet(beforeMs: number): void {
    this.#clockSteps += 1;
    this.#names.clockWasSet(beforeMs);
    this.limits.clockWasSet();
  }

  enqueued(specs: readonly NewTask[], { results }: EnqueueAnswer, nowMs: number): void {
    if (results.length !== specs.length) this.#broken(`${specs.length} tasks got ${results.length} results`);
    // One that fell due before is the next of its key, though nobody has claimed since.
    if (specs.some(({ orderingKey }) => orderingKey !== null)) this.#promote(MIN_PROMOTED, nowMs);
    for (const [at, spec] of specs.entries()) {
      const result = results[at];
      if (result === undefined || this.tasks.has(spec.id)) continue;
      const holders = this.#names.holders(spec, nowMs);
      const { clientId, queue } = spec;
      if (result.kind === "duplicate") {
        if (!holders.includes(result.id))
          this.#broken(`${spec.id} is told to be a duplicate of ${result.id}`);
        continue;
      }
      const certain = this.#names.certainHolders(spec, nowMs);
      if (certain.length > 0) this.#broken(`${spec.id} is ${result.kind} though ${certain} has its name`);
      const mayNot = !this.limits.client(clientId).enabled || !this.limits.queue(queue).enabled;
      if (result.kind === "limited") {
        if (this.#clockSteps === 0 && !this.limits.mayBeLimited(clientId, nowMs))
          this.#broken(`client ${clientId} is limited before its time`);
        continue;
      }
      if (result.kind === "refused") {
        if (!mayNot) this.#broken(`${spec.id} is refused (${result.why}) though nothing is against it`);
        continue;
      }
      if (result.kind !== "created") continue;
      if (mayNot) this.#broken(`${spec.id} is taken though its client or queue is disabled`);
      const over = this.limits.admitted(clientId, nowMs);
      if (over !== null) this.#broken(over);
      const task = this.#add(spec, nowMs);
      if (result.state !== (task.state === "scheduled" ? "scheduled" : "ready"))
        this.#broken(`${spec.id} is told to be ${result.state} and is ${task.state}`);
    }
  }

  claimed(request: ClaimRequest, { tasks, nextInMs }: Claim, nowMs: number): void {
    if (request.queue !== undefined && this.limits.queue(request.queue).mode !== "pull") {
      if (tasks.length > 0)
        this.#broken(`${request.worker} is given tasks of a queue that is not for consumers`);
      return;
    }
    this.#promote(Math.max(request.limit * 2, MIN_PROMOTED), nowMs);
    if (tasks.length > request.limit) this.#broken(`${tasks.length} tasks were claimed of ${request.limit}`);
    for (const claimed of tasks) this.#lease(claimed, request, nowMs);
    if (tasks.length < request.limit && tasks.length < MIN_PROMOTED) this.#checkNothingLeft(request, nowMs);
    this.#checkNextIn(nextInMs, nowMs);
  }

  settled(settlements: readonly Settlement[], results: readonly SettleResult[], nowMs: number): void {
    for (const [at, settlement] of settlements.entries()) {
      const { lease, verdict, attempt, followUps = [] } = settlement;
      const task = this.tasks.get(lease.taskId);
      const result = results[at];
      const stands = task?.lease != null && task.fence === lease.fence;
      const expected = !stands ? "stale" : task.state === "cancelled" ? "cancelled" : "settled";
      if (result !== expected)
        this.#broken(`settling ${lease.taskId} #${lease.fence} is ${result}, not ${expected}`);
      if (!stands) continue;
      if (attempt !== null) {
        if (attempt.number !== task.attempts + 1)
          this.#broken(`${lease.taskId}: attempt ${attempt.number} follows ${task.attempts}`);
        task.attempts += 1;
        task.firstAttemptAtMs ??= attempt.startedAtMs;
      }
      this.#endLease(task);
      if (task.state === "cancelled") {
        this.#letGo(task, "cancelled", nowMs);
        continue;
      }
      switch (verdict.kind) {
        case "succeeded":
        case "dead":
          this.#end(task, verdict.kind, nowMs);
          break;
        case "retry":
          task.state = "retrying";
          task.dueMs = nowMs + verdict.afterMs;
          break;
        case "released":
          task.releases += 1;
          task.state = verdict.afterMs > 0 ? "scheduled" : "ready";
          if (verdict.afterMs > 0) task.dueMs = nowMs + verdict.afterMs;
          break;
      }
      for (const spec of followUps) {
        if (this.knew(spec.id)) this.#broken(`${spec.id} follows a second time`);
        else this.#add(spec, nowMs);
      }
    }
  }

  extended(leases: readonly LeaseRef[], leaseMs: number, lost: readonly LostLease[], nowMs: number): void {
    const told = new Map(lost.map(({ taskId, fence, why }) => [`${taskId} ${fence}`, why]));
    for (const { taskId, fence } of leases) {
      const task = this.tasks.get(taskId);
      const stands = task?.lease != null && task.fence === fence;
      const expected = !stands ? "stale" : task.state === "cancelled" ? "cancelled" : undefined;
      const why = told.get(`${taskId} ${fence}`);
      if (why !== expected)
        this.#broken(`extending ${taskId} #${fence} is ${why ?? "good"}, not ${expected ?? "good"}`);
      if (stands && task.lease !== null) task.lease.untilMs = nowMs + leaseMs;
    }
  }

  rescued(rescued: readonly Rescued[], limit: number, nowMs: number): void {
    for (const { id, worker, crashes, state } of rescued) {
      const task = this.tasks.get(id);
      if (task?.lease == null || task.lease.untilMs > nowMs) {
        this.#broken(`${id} is rescued though its lease had not run out`);
        continue;
      }
      task.crashes += 1;
      const expected = task.state === "cancelled" ? "cancelled" : "ready";
      if (task.crashes !== crashes || task.lease.worker !== worker || state !== expected)
        this.#broken(
          `${id} is rescued as ${state} from ${worker} with ${crashes} crashes, not ${task.crashes}`,
        );
      this.#endLease(task);
      if (task.state === "cancelled") this.#letGo(task, "cancelled", nowMs);
      else task.state = "ready";
    }
    if (rescued.length >= limit) return;
    for (const { spec, lease } of this.tasks.values())
      if (lease !== null && lease.untilMs <= nowMs) this.#broken(`${spec.id} is not rescued`);
  }

  cancelled(id: string, kind: string, nowMs: number): void {
    const task = this.tasks.get(id);
    this.#expectChange(
      "cancel",
      id,
      kind,
      task,
      task?.state === "running" || (task !== undefined && isWaiting(task)),
    );
    if (kind !== "changed" || task === undefined) return;
    this.#names.release(task.spec, nowMs);
    task.state = "cancelled";
    if (task.lease === null) this.#letGo(task, "cancelled", nowMs);
  }

  rescheduled(
    id: string,
    kind: string,
    { scheduledAtMs, delayMs, priority }: Reschedule,
    nowMs: number,
  ): void {
    const task = this.tasks.get(id);
    this.#expectChange("reschedule", id, kind, task, task !== undefined && isWaiting(task));
    if (kind !== "changed" || task === undefined) return;
    if (priority !== undefined) task.priority = priority;
    const toMs = delayMs === undefined ? scheduledAtMs : nowMs + delayMs;
    if (toMs !== undefined) this.#move(task, toMs, nowMs);
  }

  madeToRun(id: string, kind: string, nowMs: number): void {
    const task = this.tasks.get(id);
    this.#expectChange("run", id, kind, task, task !== undefined && isWaiting(task));
    if (kind !== "changed" || task === undefined) return;
    if (task.state === "scheduled" || task.state === "retrying") this.#move(task, nowMs, nowMs);
  }

  replayed(id: string, kind: string, nowMs: number): void {
    const task = this.tasks.get(id);
    this.#expectChange("replay", id, kind, task, task !== undefined && isOver(task));
    if (kind === "changed" && task !== undefined) this.#startOver(task, nowMs, nowMs);
  }

  replayedMany(
    asked: readonly { readonly id: string; readonly notBeforeMs: number }[],
    states: readonly (TaskState | null)[],
    nowMs: number,
  ): void {
    for (const [at, { id, notBeforeMs }] of asked.entries()) {
      const task = this.tasks.get(id);
      if ((states[at] === null) !== (task === undefined)) this.#broken(`replaying ${id} found ${states[at]}`);
      if (task !== undefined && isOver(task)) this.#startOver(task, notBeforeMs, nowMs);
    }
  }

  forgotten(ids: readonly string[], count: number): void {
    const over = ids.flatMap((id) => {
      const task = this.tasks.get(id);
      return task !== undefined && isOver(task) ? [task] : [];
    });
    if (new Set(over).size !== count)
      this.#broken(`${count} tasks were forgotten, not ${new Set(over).size}`);
    for (const task of new Set(over)) this.#forget(task);
  }

  swept(count: number, limit: number, nowMs: number): void {
    const expired = [...this.tasks.values()].filter(
      (task) => isOver(task) && (task.expiresMs ?? Infinity) <= nowMs,
    );
    if (count < limit && count !== expired.length)
      this.#broken(`${count} tasks were swept out, not ${expired.length}`);
    for (const task of expired) this.#forget(task);
  }

  purgeBegun(queue: string): void {
    const spared = [...this.tasks.values()].filter(
      ({ spec, lease }) => spec.queue === queue && lease !== null,
    );
    this.#purges.delete(queue);
    this.#purges.set(queue, { lastSeq: this.#seq, spared: new Set(spared) });
  }

  /** The store looks through all its tasks in one step, for there are few. */
  purged(queue: string, removed: number): void {
    const purge = this.#purges.get(queue);
    if (purge === undefined) {
      this.#broken(`queue ${queue} is purged though nobody asked for it`);
      return;
    }
    this.#purges.delete(queue);
    const marked = [...this.tasks.values()].filter(
      (task) =>
        task.spec.queue === queue && task.seq <= purge.lastSeq && isWaiting(task) && !purge.spared.has(task),
    );
    if (marked.length !== removed) this.#broken(`${removed} tasks were purged, not ${marked.length}`);
    for (const { spec } of marked) {
      this.#names.drop(spec);
      this.#remove(spec.id);
    }
    for (const task of marked) this.#keys.leave(task);
  }

  hostHeld(host: string, nowMs: number): void {
    this.#held.add(host);
    this.#lastHoldMs = nowMs;
  }

  hostFreed(host: string, nowMs: number): void {
    this.#held.delete(host);
    this.#lastHoldMs = nowMs;
  }

  /** A task of a queue is to be called elsewhere: tasks that were set aside are looked at anew, by and by. */
  settingsChanged(nowMs: number): void {
    if (this.#lastHoldMs !== Number.NEGATIVE_INFINITY) this.#lastHoldMs = nowMs;
  }

  #add(spec: NewTask, nowMs: number): ShadowTask {
    const dueMs = Math.max(spec.scheduledAtMs ?? nowMs + (spec.delayMs ?? 0), nowMs);
    const task: ShadowTask = {
      spec,
      seq: ++this.#seq,
      state: "scheduled",
      priority: spec.priority,
      dueMs,
      attempts: 0,
      crashes: 0,
      releases: 0,
      fence: 0,
      firstAttemptAtMs: null,
      expiresMs: null,
      lease: null,
    };
    if (dueMs <= nowMs) task.state = this.#keys.arrive(task);
    this.tasks.set(spec.id, task);
    this.#names.take(spec);
    this.limits.register(spec.clientId, spec.queue);
    return task;
  }

  #promote(limit: number, nowMs: number): void {
    const due = [...this.tasks.values()]
      .filter(({ state, dueMs }) => (state === "scheduled" || state === "retrying") && dueMs <= nowMs)
      .sort((a, b) => (isBefore(a, b) ? -1 : 1));
    for (const task of due.slice(0, limit)) task.state = this.#keys.arrive(task);
  }

  #lease(claimed: ClaimedTask, { worker, leaseMs, queue: asked }: ClaimRequest, nowMs: number): void {
    const { id, fence } = claimed;
    const task = this.tasks.get(id);
    if (task === undefined) {
      this.#broken(`${id} is handed out and was never taken, or is gone`);
      return;
    }
    if (task.lease !== null) {
      this.#broken(`${id} is handed out to ${worker} while ${task.lease.worker} has a lease of it`);
      return;
    }
    if (task.state !== "ready") {
      this.#broken(`${id} is handed out while it is ${task.state}`);
      return;
    }
    const before = this.#fences.get(id) ?? 0;
    if (fence <= before) this.#broken(`the fence of ${id} went from ${before} to ${fence}`);
    this.#fences.set(id, fence);
    if (claimed.attempt !== task.attempts + 1 || claimed.crashes !== task.crashes)
      this.#broken(
        `${id} is handed out for attempt ${claimed.attempt} with ${claimed.crashes} crashes, not ${task.attempts + 1} with ${task.crashes}`,
      );
    const { clientId, queue } = task.spec;
    if (
      claimed.clientId !== clientId ||
      claimed.queue !== queue ||
      claimed.target.url !== task.spec.target.url
    )
      this.#broken(`${id} is handed out as another task`);
    const isPull = this.limits.queue(queue).mode === "pull";
    if (isPull ? asked !== queue : asked !== undefined)
      this.#broken(
        `${id} of ${queue} is handed out to ${worker}, who asked for ${asked ?? "what is pushed"}`,
      );
    task.state = "running";
    task.fence = fence;
    const { changes } = this.limits;
    task.lease = { worker, untilMs: nowMs + leaseMs, claimed, settingsChanges: changes };
    this.limits.give(clientId, queue, 1);
    const over = this.limits.begun(clientId, queue, nowMs);
    if (over !== null) this.#broken(`${id} is handed out: ${over}`);
    this.#checkLaneOrder(task, nowMs);
  }

  /** Within a lane tasks go in order of due time. */
  #checkLaneOrder(task: ShadowTask, nowMs: number): void {
    if (this.#holdsMatter(nowMs)) return;
    for (const other of this.tasks.values()) {
      if (other.state !== "ready" || !isBefore(other, task)) continue;
      const isSameLane =
        other.spec.queue === task.spec.queue &&
        other.spec.clientId === task.spec.clientId &&
        other.priority === task.priority;
      if (isSameLane) {
        this.#broken(`${task.spec.id} is handed out before ${other.spec.id}`);
        return;
      }
    }
  }

  /** A claim that could have taken more has left nothing that could run: no lane is stuck. */
  #checkNothingLeft({ queue: asked }: ClaimRequest, nowMs: number): void {
    if (this.#holdsMatter(nowMs)) return;
    for (const { spec, state } of this.tasks.values()) {
      const { clientId, queue, id } = spec;
      const { mode, maxDispatchesPerSec } = this.limits.queue(queue);
      if (state !== "ready" || maxDispatchesPerSec !== null) continue;
      if (asked === undefined ? mode !== "push" : queue !== asked) continue;
      // A slot of its client may be on offer to a lane that only workers, or who asks for its queue, can take.
      if (asked !== undefined && this.#waitsElsewhere(clientId, asked)) continue;
      if (this.limits.room(clientId, queue) > 0) {
        this.#broken(`${id} could run and is left by a claim`);
        return;
      }
    }
  }

  #waitsElsewhere(client: string, queue: string): boolean {
    for (const { spec, state } of this.tasks.values())
      if (state === "ready" && spec.clientId === client && spec.queue !== queue) return true;
    return false;
  }

  /** A sleeper is not told to sleep past the time at which something falls due. */
  #checkNextIn(nextInMs: number | null, nowMs: number): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const task of this.tasks.values())
      if (task.state === "scheduled" || task.state === "retrying") dueMs = Math.min(dueMs, task.dueMs);
    if (dueMs === Number.POSITIVE_INFINITY) return;
    if (nextInMs === null || nowMs + nextInMs > Math.max(dueMs, nowMs))
      this.#broken(`a claim tells to sleep ${nextInMs} ms although a task falls due in ${dueMs - nowMs}`);
  }

  #holdsMatter(nowMs: number): boolean {
    return this.#held.size > 0 || Math.abs(nowMs - this.#lastHoldMs) < HOLD_SETTLES_MS;
  }

  #endLease(task: ShadowTask): void {
    task.lease = null;
    this.limits.give(task.spec.clientId, task.spec.queue, -1);
  }

  #end(task: ShadowTask, state: "succeeded" | "dead", nowMs: number): void {
    task.state = state;
    this.#names.release(task.spec, nowMs);
    const keepsKey = state === "dead" && this.limits.queue(task.spec.queue).afterDeath === "hold";
    if (!keepsKey || this.#retentionMs(task, state) === 0) this.#keys.leave(task);
    this.#expire(task, state, nowMs);
  }

  /** A cancelled task that nobody holds any more gives its key up. */
  #letGo(task: ShadowTask, state: "cancelled", nowMs: number): void {
    this.#keys.leave(task);
    this.#expire(task, state, nowMs);
  }

  #expire(task: ShadowTask, state: "succeeded" | "dead" | "cancelled", nowMs: number): void {
    const retentionMs = this.#retentionMs(task, state);
    task.expiresMs = nowMs + retentionMs;
    if (retentionMs === 0) this.#remove(task.spec.id);
  }

  #retentionMs({ spec }: ShadowTask, state: "succeeded" | "dead" | "cancelled"): number {
    const queue = this.limits.queue(spec.queue);
    const { retentionDeadMs, retentionSucceededMs } = this.#settings;
    const ofQueue =
      state === "dead"
        ? (queue.retentionDeadMs ?? retentionDeadMs)
        : (queue.retentionSucceededMs ?? retentionSucceededMs);
    return spec.retentionMs ?? ofQueue;
  }

  #move(task: ShadowTask, atMs: number, nowMs: number): void {
    task.dueMs = Math.max(atMs, nowMs);
    if (task.dueMs > nowMs) {
      const wasRetrying = task.state === "retrying";
      task.state = wasRetrying ? "retrying" : "scheduled";
      if (!wasRetrying) this.#keys.leave(task);
    } else if (task.state !== "held") {
      task.state = this.#keys.arrive(task);
    }
  }

  #startOver(task: ShadowTask, notBeforeMs: number, nowMs: number): void {
    Object.assign(task, { attempts: 0, crashes: 0, releases: 0, firstAttemptAtMs: null, expiresMs: null });
    task.dueMs = Math.max(notBeforeMs, nowMs);
    task.state = task.dueMs > nowMs ? "scheduled" : this.#keys.arrive(task);
    this.#names.retake(task.spec, nowMs);
    this.#purges.get(task.spec.queue)?.spared.add(task);
  }

  #forget(task: ShadowTask): void {
    this.#remove(task.spec.id);
    if (task.state === "dead") this.#keys.leave(task);
  }

  #remove(id: string): void {
    this.tasks.delete(id);
    this.#gone.add(id);
  }

  #expectChange(what: string, id: string, kind: string, task: ShadowTask | undefined, may: boolean): void {
    const expected = task === undefined ? "not_found" : may ? "changed" : "conflict";
    if (kind !== expected) this.#broken(`${what} of ${id} is ${kind}, not ${expected}`);
  }
}
