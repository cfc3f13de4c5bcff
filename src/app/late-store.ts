/** The store as the API sees it from the first moment: until the real one is open, every call is refused with the reason. */

import { TaskRunnerError } from "../core/errors.ts";
import type {
  AuditEntry,
  AuditPage,
  ChangeResult,
  Claim,
  ClaimRequest,
  ClientUse,
  ConsumerStore,
  EnqueueAnswer,
  HeldHost,
  Kept,
  LaneCounts,
  LeaseRef,
  LostLease,
  ProducerStore,
  PurgeProgress,
  QueueUse,
  Reschedule,
  Rescued,
  SettingsChange,
  SettingsKind,
  SettingsOf,
  SettingsPage,
  SettingsStore,
  Settlement,
  SettleResult,
  StoreHint,
  TaskFilter,
  TaskPage,
  TaskStore,
  WorkerRecord,
} from "../core/store.ts";
import type { NewTask, Task, TaskState } from "../core/task.ts";

type PageRequest = { readonly limit: number; readonly cursor?: string };

/** Whoever is refused before the store is open is told to come back after this. */
const RETRY_AFTER_SEC = 2;

/**
 * So the port is there, with health and the whole API, while a Redis that starts cold is waited for. Calls
 * reject with `store_unavailable` before `use` and, like those of every store, after `close`.
 */
export class LateStore
  implements
    ProducerStore,
    SettingsStore,
    Pick<ConsumerStore, "claim" | "settle" | "extend" | "rescue">,
    Pick<TaskStore, "name" | "onHint" | "check" | "close">
{
  #store: TaskStore | null = null;
  #trouble = "it is being opened";

  /** Why it is not open yet. */
  tellTrouble(reason: string): void {
    this.#trouble = reason;
  }

  /** Hands over the open store, which is closed with this one. */
  use(store: TaskStore): void {
    this.#store = store;
  }

  get name(): string {
    return this.#opened().name;
  }

  async enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    return this.#opened().enqueue(tasks);
  }

  async get(id: string): Promise<Task | null> {
    return this.#opened().get(id);
  }

  async list(filter: TaskFilter): Promise<TaskPage> {
    return this.#opened().list(filter);
  }

  async cancel(id: string): Promise<ChangeResult> {
    return this.#opened().cancel(id);
  }

  async reschedule(id: string, change: Reschedule): Promise<ChangeResult> {
    return this.#opened().reschedule(id, change);
  }

  async runNow(id: string): Promise<ChangeResult> {
    return this.#opened().runNow(id);
  }

  async replay(id: string): Promise<ChangeResult> {
    return this.#opened().replay(id);
  }

  async replayMany(
    tasks: readonly { readonly id: string; readonly notBeforeMs: number }[],
  ): Promise<readonly (TaskState | null)[]> {
    return this.#opened().replayMany(tasks);
  }

  async forget(ids: readonly string[]): Promise<number> {
    return this.#opened().forget(ids);
  }

  async keyHolder(id: string): Promise<string | null> {
    return this.#opened().keyHolder(id);
  }

  async counts(ask?: { readonly oldest: boolean }): Promise<readonly LaneCounts[]> {
    return this.#opened().counts(ask);
  }

  async workers(withinMs: number): Promise<readonly WorkerRecord[]> {
    return this.#opened().workers(withinMs);
  }

  async read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null> {
    return this.#opened().read(kind, id);
  }

  async page<K extends SettingsKind>(kind: K, request: PageRequest): Promise<SettingsPage<SettingsOf[K]>> {
    return this.#opened().page(kind, request);
  }

  async change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean> {
    return this.#opened().change(change, audit);
  }

  async clientUse(ids: readonly string[]): Promise<readonly ClientUse[]> {
    return this.#opened().clientUse(ids);
  }

  async queueUse(names: readonly string[]): Promise<readonly QueueUse[]> {
    return this.#opened().queueUse(names);
  }

  async purge(queue: string, audit: AuditEntry): Promise<void> {
    return this.#opened().purge(queue, audit);
  }

  async purgeStep(limit: number): Promise<PurgeProgress | null> {
    return this.#opened().purgeStep(limit);
  }

  async record(audit: AuditEntry): Promise<void> {
    return this.#opened().record(audit);
  }

  async audit(request: PageRequest): Promise<AuditPage> {
    return this.#opened().audit(request);
  }

  async heldHosts(): Promise<readonly HeldHost[]> {
    return this.#opened().heldHosts();
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    return this.#opened().claim(request);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return this.#opened().settle(settlements);
  }

  async extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]> {
    return this.#opened().extend(leases, leaseMs);
  }

  async rescue(limit: number): Promise<readonly Rescued[]> {
    return this.#opened().rescue(limit);
  }

  /** Of the open store: throws before `use`. */
  onHint(listener: (hint: StoreHint) => void): () => void {
    return this.#opened().onHint(listener);
  }

  async check(): Promise<void> {
    return this.#opened().check();
  }

  async close(): Promise<void> {
    await this.#store?.close();
  }

  #opened(): TaskStore {
    if (this.#store !== null) return this.#store;
    throw new TaskRunnerError("store_unavailable", `the store is not open yet: ${this.#trouble}`, {
      retryAfterSec: RETRY_AFTER_SEC,
    });
  }
}
