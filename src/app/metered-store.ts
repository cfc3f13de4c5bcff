/** A store that is timed and counted: what every call takes, and what enqueues, claims and rescues came to. */

import type { Clock } from "../core/clock.ts";
import type { Inspection, InspectionOptions } from "../core/inspection.ts";
import type {
  AuditEntry,
  AuditPage,
  ChangeResult,
  Claim,
  ClaimRequest,
  ClientUse,
  EnqueueAnswer,
  HeldHost,
  Kept,
  LaneCounts,
  LeaseRef,
  LostLease,
  PurgeProgress,
  QueueUse,
  Reschedule,
  Rescued,
  SettingsChange,
  SettingsKind,
  SettingsOf,
  SettingsPage,
  Settlement,
  SettleResult,
  StoreHint,
  Swept,
  TaskFilter,
  TaskPage,
  TaskStore,
  WorkerRecord,
} from "../core/store.ts";
import type { NewTask, Task, TaskState } from "../core/task.ts";
import type { Metrics } from "../telemetry/metrics.ts";

type PageRequest = { readonly limit: number; readonly cursor?: string };

/** Every call goes to the store as it is, and its answer comes back as it is. */
export class MeteredStore implements TaskStore {
  readonly #store: TaskStore;
  readonly #metrics: Metrics;
  readonly #clock: Pick<Clock, "now">;

  constructor(store: TaskStore, metrics: Metrics, clock: Pick<Clock, "now">) {
    this.#store = store;
    this.#metrics = metrics;
    this.#clock = clock;
  }

  get name(): string {
    return this.#store.name;
  }

  async enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    const answer = await this.#timed("enqueue", () => this.#store.enqueue(tasks));
    this.#metrics.enqueued(tasks, answer);
    return answer;
  }

  get(id: string): Promise<Task | null> {
    return this.#timed("get", () => this.#store.get(id));
  }

  list(filter: TaskFilter): Promise<TaskPage> {
    return this.#timed("list", () => this.#store.list(filter));
  }

  cancel(id: string): Promise<ChangeResult> {
    return this.#timed("cancel", () => this.#store.cancel(id));
  }

  reschedule(id: string, change: Reschedule): Promise<ChangeResult> {
    return this.#timed("reschedule", () => this.#store.reschedule(id, change));
  }

  runNow(id: string): Promise<ChangeResult> {
    return this.#timed("runNow", () => this.#store.runNow(id));
  }

  replay(id: string): Promise<ChangeResult> {
    return this.#timed("replay", () => this.#store.replay(id));
  }

  replayMany(
    tasks: readonly { readonly id: string; readonly notBeforeMs: number }[],
  ): Promise<readonly (TaskState | null)[]> {
    return this.#timed("replayMany", () => this.#store.replayMany(tasks));
  }

  forget(ids: readonly string[]): Promise<number> {
    return this.#timed("forget", () => this.#store.forget(ids));
  }

  keyHolder(id: string): Promise<string | null> {
    return this.#timed("keyHolder", () => this.#store.keyHolder(id));
  }

  counts(ask?: { readonly oldest: boolean }): Promise<readonly LaneCounts[]> {
    return this.#timed("counts", () => this.#store.counts(ask));
  }

  workers(withinMs: number): Promise<readonly WorkerRecord[]> {
    return this.#timed("workers", () => this.#store.workers(withinMs));
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    const claim = await this.#timed("claim", () => this.#store.claim(request));
    this.#claimed(claim);
    return claim;
  }

  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return this.#timed("settle", () => this.#store.settle(settlements));
  }

  async settleAndClaim(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ readonly settled: readonly SettleResult[]; readonly claim: Claim }> {
    const answer = await this.#timed("settleAndClaim", () =>
      this.#store.settleAndClaim(settlements, request),
    );
    this.#claimed(answer.claim);
    return answer;
  }

  extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]> {
    return this.#timed("extend", () => this.#store.extend(leases, leaseMs));
  }

  holdHost(host: string, forMs: number): Promise<void> {
    return this.#timed("holdHost", () => this.#store.holdHost(host, forMs));
  }

  freeHost(host: string): Promise<void> {
    return this.#timed("freeHost", () => this.#store.freeHost(host));
  }

  async rescue(limit: number): Promise<readonly Rescued[]> {
    const rescued = await this.#timed("rescue", () => this.#store.rescue(limit));
    this.#metrics.rescues += rescued.length;
    return rescued;
  }

  sweep(limit: number): Promise<Swept> {
    return this.#timed("sweep", () => this.#store.sweep(limit));
  }

  announce(worker: Omit<WorkerRecord, "seenAtMs">): Promise<void> {
    return this.#timed("announce", () => this.#store.announce(worker));
  }

  read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null> {
    return this.#timed("read", () => this.#store.read(kind, id));
  }

  page<K extends SettingsKind>(kind: K, request: PageRequest): Promise<SettingsPage<SettingsOf[K]>> {
    return this.#timed("page", () => this.#store.page(kind, request));
  }

  change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean> {
    return this.#timed("change", () => this.#store.change(change, audit));
  }

  clientUse(ids: readonly string[]): Promise<readonly ClientUse[]> {
    return this.#timed("clientUse", () => this.#store.clientUse(ids));
  }

  queueUse(names: readonly string[]): Promise<readonly QueueUse[]> {
    return this.#timed("queueUse", () => this.#store.queueUse(names));
  }

  purge(queue: string, audit: AuditEntry): Promise<void> {
    return this.#timed("purge", () => this.#store.purge(queue, audit));
  }

  purgeStep(limit: number): Promise<PurgeProgress | null> {
    return this.#timed("purgeStep", () => this.#store.purgeStep(limit));
  }

  record(audit: AuditEntry): Promise<void> {
    return this.#timed("record", () => this.#store.record(audit));
  }

  audit(request: PageRequest): Promise<AuditPage> {
    return this.#timed("audit", () => this.#store.audit(request));
  }

  heldHosts(): Promise<readonly HeldHost[]> {
    return this.#timed("heldHosts", () => this.#store.heldHosts());
  }

  /** Its steps are few and far between: they are not timed. */
  inspect(options: InspectionOptions): Inspection {
    return this.#store.inspect(options);
  }

  onHint(listener: (hint: StoreHint) => void): () => void {
    return this.#store.onHint(listener);
  }

  check(): Promise<void> {
    return this.#timed("check", () => this.#store.check());
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #claimed({ tasks }: Claim): void {
    if (tasks.length > 0) this.#metrics.claimed(tasks, this.#clock.now());
  }

  /** A thunk, because a store may do its work before it gives the promise. */
  async #timed<T>(method: string, call: () => Promise<T>): Promise<T> {
    const startedAtMonoMs = performance.now();
    let failed = true;
    try {
      const answer = await call();
      failed = false;
      return answer;
    } finally {
      this.#metrics.called(method, performance.now() - startedAtMonoMs, failed);
    }
  }
}
