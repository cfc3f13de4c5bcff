/**
 * The Store seam: everything the queue asks of a place that keeps tasks. Batch-first, so that one round
 * trip serves many tasks. Consumers ask for the slice they use; every implementation passes the one
 * conformance suite in tests/conformance/store.ts, which is where a new guarantee is written first.
 *
 * Expected results are values. A method rejects with a TaskRunnerError (`store_unavailable`, `store_full`,
 * `durability_unavailable`) when the store could not do what it was asked; then nothing of it was done,
 * unless the method says otherwise.
 */

import type { Client, ClientRules, Tier } from "./client.ts";
import type { InspectableStore } from "./inspection.ts";
import type { Priority } from "./priority.ts";
import type { Queue } from "./queue.ts";
import type { RetryOverrides, Verdict } from "./retry.ts";
import type { Attempt, NewTask, Target, Task, TaskState } from "./task.ts";
import type { FailureCause, ReleaseCause } from "./transport.ts";

/** How safe an acknowledged task is: on this machine's disk, on the primary, or on a replica too. */
export type Durability = "disk" | "memory" | "primary" | "replicated";

/** What became of one task handed in. */
export type EnqueueResult =
  | {
      readonly kind: "created";
      readonly id: string;
      readonly state: "ready" | "scheduled";
      readonly scheduledAtMs: number;
    }
  /** Its name, or its client's idempotency key, is taken by the task `id`. Nothing is charged. */
  | { readonly kind: "duplicate"; readonly id: string }
  /** Its client has used up its requests a minute; there is room again after `retryAfterMs`. Nothing is charged. */
  | { readonly kind: "limited"; readonly tier: string; readonly limit: number; readonly retryAfterMs: number }
  /** Its client is disabled, its queue is, or its queue does not exist and is not made by use. */
  | { readonly kind: "refused"; readonly why: "client_disabled" | "queue_disabled" | "queue_not_found" }
  /** Its client has lists of what it may use, and `NewTask.clientRevision` is not that of their current version. */
  | { readonly kind: "unchecked" };

/** How a client stands with its requests a minute. */
export interface RateState {
  readonly limit: number;
  readonly remaining: number;
  /** How long until all of the limit is there again. */
  readonly resetMs: number;
}

export interface EnqueueAnswer {
  /** One per task, in the order they were handed in. */
  readonly results: readonly EnqueueResult[];
  /** What was reached for every created one. */
  readonly durability: Durability;
  /** How each client stands after this call, by its id; those without a limit are not there. */
  readonly rates: ReadonlyMap<string, RateState>;
}

/** Names one lease of one task. A later lease of the same task has a larger fence. */
export interface LeaseRef {
  readonly taskId: string;
  readonly fence: number;
}

export interface ClaimRequest {
  /** Who will run them. */
  readonly worker: string;
  /** At most this many, 1 to {@link MAX_CLAIM}. */
  readonly limit: number;
  /** How long the leases hold unless extended. */
  readonly leaseMs: number;
  /** Only tasks of this pull queue; without it, those of all push queues. */
  readonly queue?: string;
}

/** The most tasks one claim takes. */
export const MAX_CLAIM = 1_000;

/** A task handed to a worker: what it needs to deliver and judge it, and the lease it is held by. */
export interface ClaimedTask {
  readonly id: string;
  readonly queue: string;
  readonly clientId: string;
  readonly priority: Priority;
  readonly target: Target;
  readonly timeoutMs: number | null;
  readonly retry: RetryOverrides;
  readonly name: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly traceparent: string | null;
  /** Where its outcome is reported to; null where it is not. */
  readonly callbackUrl: string | null;
  readonly failureCallbackUrl: string | null;
  /** Its queue's rules as they are now; null for a queue without any. */
  readonly rules: Queue | null;
  /** Its client's, likewise. */
  readonly clientRules: ClientRules | null;
  readonly scheduledAtMs: number;
  /** When this run fell due; null for one that was leased before, and given back at once or taken back from its worker. */
  readonly dueMs: number | null;
  /** Null before the first charged attempt. */
  readonly firstAttemptAtMs: number | null;
  /** The number of the attempt that this lease is for, 1-based. */
  readonly attempt: number;
  readonly crashes: number;
  readonly fence: number;
  readonly leaseUntilMs: number;
  /** Whether its host is held back and this is the one delivery that tries it again. */
  readonly isProbe: boolean;
}

/** A host whose tasks are held back after failures. */
export interface HeldHost {
  /** As {@link hostOf} names it. */
  readonly host: string;
  /** When one of its tasks is handed out as a probe, or when the probe that is under way is given up. */
  readonly nextProbeAtMs: number;
  /** Its tasks that were met and set aside. */
  readonly tasks: number;
}

/** The most hosts that are held back at once; past it the one that is tried again soonest is let go. */
export const MAX_HELD_HOSTS = 10_000;

export interface Claim {
  readonly tasks: readonly ClaimedTask[];
  /**
   * How long until a waiting task falls due, or a queue's rate lets one go, as far as the store knows: 0 when there
   * is more to claim now, null when nothing waits for a time. A hint for how long to sleep, never longer than is right.
   */
  readonly nextInMs: number | null;
}

/** The end of a lease: what the delivery came to. */
export interface Settlement {
  readonly lease: LeaseRef;
  readonly verdict: Verdict;
  /** The attempt to keep on record; null where none was made (a release). */
  readonly attempt: Attempt | null;
  /** Why it did not succeed, where the attempt's status does not tell; for whoever counts, and not kept. */
  readonly cause?: FailureCause | ReleaseCause | "crashes";
  /** Tasks to accept in the same step, if the lease is still good: never one without the other. Limits do not apply. */
  readonly followUps?: readonly NewTask[];
}

/**
 * `settled`: done. `stale`: the lease was not the task's current one, so nothing was changed.
 * `cancelled`: the task had been cancelled meanwhile; the attempt was kept and the lease is over.
 */
export type SettleResult = "settled" | "stale" | "cancelled";

/** A lease that could not be extended, and why. */
export interface LostLease extends LeaseRef {
  readonly why: "cancelled" | "stale";
}

/** A task whose worker let its lease run out. Who claims it next judges whether its crashes are too many. */
export interface Rescued {
  readonly id: string;
  readonly worker: string;
  readonly crashes: number;
  /** `cancelled` when it was cancelled meanwhile. */
  readonly state: "ready" | "cancelled";
}

/** What a change to one task came to. `conflict` tells the state that forbids it. */
export type ChangeResult =
  | { readonly kind: "changed"; readonly task: Task }
  | { readonly kind: "not_found" }
  | { readonly kind: "conflict"; readonly state: TaskState };

/** A change to a waiting task; what is left out stays. */
export interface Reschedule {
  /** Milliseconds since the epoch; in the past means now. */
  readonly scheduledAtMs?: number;
  /** Milliseconds from the change, by the store's clock, in place of a time. */
  readonly delayMs?: number;
  readonly priority?: Priority;
}

export interface TaskFilter {
  readonly queue?: string;
  readonly state?: TaskState;
  readonly clientId?: string;
  /** Accepted at or after this time, in milliseconds since the epoch. */
  readonly fromMs?: number;
  /** Accepted before this time. */
  readonly toMs?: number;
  /** At most this many tasks, 1 to {@link MAX_PAGE}. */
  readonly limit: number;
  /** Where the page before ended. */
  readonly cursor?: string;
}

/** The most tasks one page of a listing holds. */
export const MAX_PAGE = 1_000;

export interface TaskPage {
  /** Newest first. A task that is there from the first page to the last is listed exactly once. */
  readonly tasks: readonly Task[];
  /** Null when nothing follows. A page may be short, even empty, and still have a next one. */
  readonly nextCursor: string | null;
}

/** Tasks of one queue and priority, by state. */
export interface LaneCounts {
  readonly queue: string;
  readonly priority: Priority;
  readonly states: Readonly<Record<TaskState, number>>;
  /**
   * Milliseconds since the task that has waited longest to be claimed fell due, or was leased last: of the first tasks of
   * the lanes, so that those behind an ordering key or a host that is held back do not count. Absent where none is
   * known to wait, and where it was not asked for.
   */
  readonly oldestReadyMs?: number;
}

/**
 * The most lanes whose first tasks one call looks at. Where more have something to claim, the oldest of so many is told,
 * which is at most as old as the oldest of all, and the next call goes on with others.
 */
export const MAX_LANES_LOOKED_AT = 1_000;

/** What a sweep removed, and whether it stopped at its limit with more to do. */
export interface Swept {
  readonly tasks: number;
  readonly names: number;
  readonly more: boolean;
}

/** A worker as it announced itself; the API asks for what only workers are told (see CONFIG). */
export interface WorkerRecord {
  readonly id: string;
  readonly version: string;
  readonly concurrency: number;
  /** Whether it delivers to private addresses. */
  readonly allowPrivateUrls: boolean;
  readonly startedAtMs: number;
  /** When it last announced itself. */
  readonly seenAtMs: number;
}

/**
 * Something happened that a worker may want to act on at once. Hints can be lost or come for nothing:
 * every loop also looks on its own, bounded.
 * `work`: a task may be ready, or fall due earlier than was thought.
 * `leases`: a running task may have been cancelled; an extend will tell.
 * `back`: the store had been out of reach, and is not any more; what failed may be tried at once.
 */
export type StoreHint = "work" | "leases" | "back";

/** What a store keeps settings of. */
export interface SettingsOf {
  readonly client: Client;
  readonly tier: Tier;
  readonly queue: Queue;
}
export type SettingsKind = keyof SettingsOf;

/** Settings as they are kept. */
export interface Kept<T> {
  readonly id: string;
  readonly value: T;
  /** Another number after every change, also after a deletion. */
  readonly revision: number;
}

export interface SettingsPage<T> {
  /** In the order of their ids. */
  readonly items: readonly Kept<T>[];
  /** Null when nothing follows. */
  readonly nextCursor: string | null;
}

/** A change to settings. `value` null removes them. */
export interface SettingsChange<K extends SettingsKind> {
  readonly kind: K;
  readonly id: string;
  /** The revision it is a change of; null where there must be none yet. */
  readonly from: number | null;
  readonly value: SettingsOf[K] | null;
}

/** What is kept of a change by a person. */
export interface AuditEntry {
  readonly atMs: number;
  /** Who: a key's fingerprint, or `open` where no key is asked for. */
  readonly actor: string;
  /** What was done, e.g. `clients.set`. */
  readonly action: string;
  /** The id of what it was done to. */
  readonly subject: string;
  /** As the API shows it; null where there was nothing. Never holds a secret. */
  readonly before: unknown;
  readonly after: unknown;
}

/** The latest entries that are kept. */
export const MAX_AUDIT_ENTRIES = 10_000;

export interface AuditPage {
  /** Newest first. */
  readonly entries: readonly AuditEntry[];
  readonly nextCursor: string | null;
}

/** What a client is using now. */
export interface ClientUse {
  readonly running: number;
  /** Requests that count towards its limit now. */
  readonly requests: number;
}

/** What a queue is using now. */
export interface QueueUse {
  readonly running: number;
  /** When its rate lets the next task begin; null when it does now, or has no rate. */
  readonly nextDispatchAtMs: number | null;
  /** The purge that is under way; null when there is none. */
  readonly purge: PurgeProgress | null;
}

export interface PurgeProgress {
  readonly queue: string;
  readonly startedAtMs: number;
  readonly removed: number;
  /** The part of the store that has been looked through, 0 to 1. */
  readonly share: number;
}

/** Fixed at opening, the same for every process on one store. */
export interface StoreSettings {
  /** The tier of clients that are not known yet. */
  readonly defaultTier: string;
  /** Whether a queue is made by its first task. */
  readonly autoCreateQueues: boolean;
  /** How long a succeeded or cancelled task stays readable. */
  readonly retentionSucceededMs: number;
  readonly retentionDeadMs: number;
  /** How long a name or an idempotency key stays taken after its task ended. */
  readonly dedupWindowMs: number;
  /** The store's own size past which finished tasks go early and new ones are refused; 0 for no bound. */
  readonly maxBytes: number;
}

/** Accepting and looking after tasks: what the API uses. */
export interface ProducerStore {
  /**
   * Keeps tasks, each admitted on its own: a name that is taken, then its client and queue, then the client's requests
   * a minute. All of the admitted ones or none; on return they are as durable as the answer says.
   * Clients and queues that are not known are made.
   */
  enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer>;
  get(id: string): Promise<Task | null>;
  list(filter: TaskFilter): Promise<TaskPage>;
  /** A waiting task ends at once. A running one is cancelled too, and its worker is told to break off. */
  cancel(id: string): Promise<ChangeResult>;
  /** Moves a waiting task to another time or priority. */
  reschedule(id: string, change: Reschedule): Promise<ChangeResult>;
  /** Makes a waiting task due now. */
  runNow(id: string): Promise<ChangeResult>;
  /** Starts a finished task over, with no attempts charged. Its history stays. */
  replay(id: string): Promise<ChangeResult>;
  /**
   * The same for many, each to run no earlier than its time: for each the state it was in, or null where there is no
   * such task; those in a final state are changed. At most {@link MAX_PAGE}.
   */
  replayMany(
    tasks: readonly { readonly id: string; readonly notBeforeMs: number }[],
  ): Promise<readonly (TaskState | null)[]>;
  /** Removes finished tasks before their time; how many. At most {@link MAX_PAGE}. */
  forget(ids: readonly string[]): Promise<number>;
  /** The task that holds the ordering key of `id`; null when it has no key or nobody holds it. */
  keyHolder(id: string): Promise<string | null>;
  /** Those that there are; with `oldest` the time that the oldest of each has waited, too. */
  counts(ask?: { readonly oldest: boolean }): Promise<readonly LaneCounts[]>;
  /** The workers that announced themselves within the last `withinMs`, newest first. */
  workers(withinMs: number): Promise<readonly WorkerRecord[]>;
}

/** Handing out and taking back tasks: what a worker uses. */
export interface ConsumerStore {
  /**
   * Promotes what is due and leases the next tasks: priorities by weight, lanes in turn, each lane in order
   * of due time. Takes none past what its client and its queue may have running or begin now: a lane that is held
   * back so leaves the ring and costs nothing until it may go on. Looks at about as many lanes as it takes tasks.
   */
  claim(request: ClaimRequest): Promise<Claim>;
  /** Ends leases. One result per settlement, in order. Safe to repeat: the second time is stale. */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]>;
  /** Both in one step, the settling first. */
  settleAndClaim(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ readonly settled: readonly SettleResult[]; readonly claim: Claim }>;
  /** Makes leases hold until `leaseMs` from now; tells those that are lost. */
  extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]>;
  /**
   * Holds back the tasks of a host (see core/host.ts; a queue's target override counts): claims set them aside, uncharged,
   * still `ready` to callers. After `forMs` one of them is handed out as a probe ({@link ClaimedTask.isProbe}), and
   * no other for as long again, by whichever worker. Called again it begins the time anew.
   */
  holdHost(host: string, forMs: number): Promise<void>;
  /** Lets the tasks of a host go on: those set aside come back to the heads of their lanes, some with each claim. */
  freeHost(host: string): Promise<void>;
  /** Takes back at most `limit` tasks whose lease ran out: a crash is counted, an attempt is not. */
  rescue(limit: number): Promise<readonly Rescued[]>;
  /** Removes at most `limit` finished tasks whose retention is over, and names no longer taken. */
  sweep(limit: number): Promise<Swept>;
  /** Tells the store that this worker lives; to be repeated. */
  announce(worker: Omit<WorkerRecord, "seenAtMs">): Promise<void>;
}

/** Settings of clients, tiers and queues, and the record of who changed them: what the admin API uses. */
export interface SettingsStore {
  /** Null when there is none. */
  read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null>;
  page<K extends SettingsKind>(
    kind: K,
    request: { readonly limit: number; readonly cursor?: string },
  ): Promise<SettingsPage<SettingsOf[K]>>;
  /**
   * Makes a change, with its entry in the audit, in one step; false when the settings are no longer as it took
   * them to be, and nothing was done. It holds for every enqueue and every claim from then on.
   */
  change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean>;
  /** One for each id, in order. */
  clientUse(ids: readonly string[]): Promise<readonly ClientUse[]>;
  queueUse(names: readonly string[]): Promise<readonly QueueUse[]>;
  /**
   * Marks all tasks that wait in a queue now to be removed, their names with them; {@link purgeStep} does it. Those
   * running finish. A second purge of a queue takes the place of its first.
   */
  purge(queue: string, audit: AuditEntry): Promise<void>;
  /** Goes on with the oldest purge, past about `limit` tasks; how far it is, or null when there is none to go on with. */
  purgeStep(limit: number): Promise<PurgeProgress | null>;
  /** Keeps an entry of something that was done by other means. */
  record(audit: AuditEntry): Promise<void>;
  audit(request: { readonly limit: number; readonly cursor?: string }): Promise<AuditPage>;
  /** Hosts that are held back now, those tried again soonest first, at most {@link MAX_PAGE}. */
  heldHosts(): Promise<readonly HeldHost[]>;
}

/** A place that keeps tasks. */
export interface TaskStore extends ProducerStore, ConsumerStore, SettingsStore, InspectableStore {
  /** Short name for logs and answers, e.g. `sqlite`. Never holds a secret. */
  readonly name: string;
  /** Calls `listener` on every hint until the returned function is called. */
  onHint(listener: (hint: StoreHint) => void): () => void;
  /** Resolves when the store answers and can take writes; rejects with the reason otherwise. */
  check(): Promise<void>;
  /** Finishes what is under way and lets go. Later calls reject. */
  close(): Promise<void>;
}
