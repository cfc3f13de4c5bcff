/** The production store: the same queue on Redis, standalone or behind Sentinel, one script a step. */

import type { Clock } from "../../core/clock.ts";
import { TaskRunnerError } from "../../core/errors.ts";
import type { Inspection, InspectionOptions } from "../../core/inspection.ts";
import { rankOf } from "../../core/priority.ts";
import {
  type AuditEntry,
  type AuditPage,
  type ChangeResult,
  type Claim,
  type ClaimRequest,
  type ClientUse,
  type Durability,
  type EnqueueAnswer,
  type HeldHost,
  type Kept,
  type LaneCounts,
  type LeaseRef,
  type LostLease,
  MAX_CLAIM,
  MAX_HELD_HOSTS,
  MAX_PAGE,
  type PurgeProgress,
  type QueueUse,
  type Reschedule,
  type Rescued,
  type SettingsChange,
  type SettingsKind,
  type SettingsOf,
  type SettingsPage,
  type Settlement,
  type SettleResult,
  type StoreHint,
  type StoreSettings,
  type Swept,
  type TaskFilter,
  type TaskPage,
  type TaskStore,
  type WorkerRecord,
} from "../../core/store.ts";
import type { NewTask, Task, TaskState } from "../../core/task.ts";
import { encodeTask, STATE_LETTERS, stateOf, taskOf } from "./codec.ts";
import { Confirmations, type ConfirmingConnection, type WaitFor } from "./confirmations.ts";
import { countsOf, Oldest } from "./counts.ts";
import { answerOf } from "./enqueue-reply.ts";
import { Errands } from "./errands.ts";
import { Exchanges } from "./exchange.ts";
import { inspectRedis } from "./inspect.ts";
import { type Keys, keysUnder } from "./keys.ts";
import { dropOtherLibraries } from "./libraries.ts";
import { MemoryGauge } from "./memory.ts";
import { type PromotionReport, PromotionWatch } from "./promotion.ts";
import { assertWithin, cursorError } from "./requests.ts";
import { type Argument, type Command, type Ends, SCRIPTS } from "./scripts.ts";
import { firstSettings, Settings } from "./settings.ts";
import { Spool } from "./spool.ts";

/** The layout of the data that this build reads and writes. */
export const SCHEMA_VERSION = 2;
/** A successful check is good for this long: probes come often. */
const CHECK_GOOD_MS = 1_000;
/** Parts of the log looked at for one page, 512 tasks each; past it the page is short and its cursor goes on. */
const MAX_PAGE_PARTS = 200;
/** While replicas do not confirm, a worker waits for them only this often: its work must go on without them. */
const UNCONFIRMED_PAUSE_MS = 5_000;
/** Tells a cursor of this store from a stray word. */
const CURSOR_PREFIX = "r-";

/** What the store asks of a connection; see connection.ts. */
export interface ScriptConnection extends ConfirmingConnection {
  command(name: string, ...args: (string | number)[]): Promise<unknown>;
  subscribe(channel: string, listener: (message: string | null) => void): () => void;
  /** Calls `listener` each time the connection is back, until the returned function is called. */
  onReconnect(listener: () => void): () => void;
  close(): Promise<void>;
}

export interface SpoolOptions {
  /** For how long an acknowledged task is remembered. */
  readonly windowMs: number;
  tell(report: PromotionReport): void;
}

export interface RedisStoreOptions {
  readonly connection: ScriptConnection;
  /** Above every key; two stores with different prefixes share a Redis without touching. */
  readonly keyPrefix: string;
  /** What an acknowledgement means: on the primary, or on this many replicas too. */
  readonly durability: "primary" | WaitFor;
  readonly settings: StoreSettings;
  readonly clock: Clock;
  /** Hands in again what a new primary never had of what this store has acknowledged; not done without it. */
  readonly spool?: SpoolOptions;
  /** Added to Redis' own time, in milliseconds; for a test that must see hours pass. */
  readonly skewMs?: () => number;
}

/** Begins or opens the store on a connection; rejects with one clear line when it is of a version unknown here. */
export async function openRedisStore(options: RedisStoreOptions): Promise<TaskStore> {
  const store = new RedisStore(options);
  await store.begin();
  return store;
}

/** Opens a store that is there already, and writes nothing; rejects with one clear line where there is none of this version. */
export async function openExistingRedisStore(options: RedisStoreOptions): Promise<TaskStore> {
  const { connection, keyPrefix } = options;
  const version = await connection.command("HGET", keysUnder(keyPrefix).of("meta"), "version");
  if (version === null) {
    throw new TaskRunnerError("store_unavailable", `there is no store under the prefix ${keyPrefix}`);
  }
  assertVersion(Number(version));
  return new RedisStore(options);
}

function assertVersion(version: number): void {
  if (version === SCHEMA_VERSION) return;
  throw new TaskRunnerError(
    "store_unavailable",
    `the store at this prefix has schema version ${version}, this build knows ${SCHEMA_VERSION}; run a matching task-runner`,
  );
}

class RedisStore implements TaskStore {
  readonly name = "redis";
  readonly #connection: ScriptConnection;
  readonly #keys: Keys;
  readonly #durability: Durability;
  readonly #wait: WaitFor | null;
  readonly #confirmations: Confirmations | null;
  readonly #settings: StoreSettings;
  readonly #kept: Settings;
  readonly #clock: Clock;
  readonly #skewMs: () => number;
  readonly #memory: MemoryGauge;
  readonly #exchanges: Exchanges;
  readonly #errands: Errands;
  readonly #oldest = new Oldest((numbers) => this.#run(SCRIPTS.oldest, ...numbers));
  readonly #spool: Spool | null;
  readonly #promotions: PromotionWatch | null = null;
  readonly #forgetReconnects: () => void;
  readonly #listeners = new Set<(hint: StoreHint) => void>();
  #unsubscribe: (() => void) | null = null;
  readonly #underWay = new Set<Promise<unknown>>();
  #checkedAtMonoMs = Number.NEGATIVE_INFINITY;
  #unconfirmedAtMonoMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: RedisStoreOptions) {
    const { connection, keyPrefix, durability, settings, clock } = options;
    this.#connection = connection;
    this.#keys = keysUnder(keyPrefix);
    this.#durability = durability === "primary" ? "primary" : "replicated";
    this.#wait = durability === "primary" ? null : durability;
    this.#confirmations =
      this.#wait === null ? null : new Confirmations(connection, this.#keys.all, this.#wait);
    this.#settings = settings;
    this.#kept = new Settings({
      run: (command, ...args) => this.#run(command, ...args),
      durably: (command, ...args) => this.#whileOpen(() => this.#durably(command, this.#args(...args))),
      field: (name) =>
        this.#whileOpen(
          () => connection.command("HGET", this.#keys.of("settings"), name) as Promise<string | null>,
        ),
    });
    this.#clock = clock;
    this.#skewMs = options.skewMs ?? (() => 0);
    this.#memory = new MemoryGauge(connection, clock, settings.maxBytes);
    this.#errands = new Errands(() => clock.now() + this.#skewMs());
    this.#spool = options.spool === undefined ? null : new Spool(options.spool.windowMs);
    if (options.spool !== undefined && this.#spool !== null) {
      this.#promotions = this.#promotionWatch(this.#spool, options.spool);
    }
    this.#forgetReconnects = connection.onReconnect(() => {
      this.#promotions?.reconnected();
      this.#tell("back");
    });
    const run = (args: readonly Argument[]) => this.#confirmed(SCRIPTS.exchange, this.#args(...args));
    this.#exchanges = new Exchanges(run, this.#ends(), crypto.randomUUID(), (inMs) =>
      this.#errands.leaseEndsIn(inMs),
    );
  }

  #promotionWatch(spool: Spool, { tell }: SpoolOptions): PromotionWatch {
    return new PromotionWatch({
      spool,
      clock: this.#clock,
      info: async () => String(await this.#connection.command("INFO")),
      absent: (ids) => this.#run(SCRIPTS.absent, ...ids),
      logged: (before, segments) => this.#run(SCRIPTS.logged, before, segments),
      restore: (tasks) => {
        const args = this.#args(...tasks.flatMap(({ head, what }) => [head, what]));
        return this.#whileOpen(() => this.#durably(SCRIPTS.restore, args));
      },
      tell,
    });
  }

  async begin(): Promise<void> {
    await this.#promotions?.begin();
    const { defaultTier } = this.#settings;
    const [found, ...tiers] = await this.#run(
      SCRIPTS.begin,
      SCHEMA_VERSION,
      defaultTier,
      ...firstSettings(this.#clock.now() + this.#skewMs()),
    );
    assertVersion(Number(found));
    await dropOtherLibraries(this.#connection);
    if (tiers.includes(defaultTier)) return;
    throw new TaskRunnerError(
      "validation_failed",
      `DEFAULT_CLIENT_TIER is ${defaultTier}: there is no such tier; there are ${tiers.join(", ")}`,
    );
  }

  enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    return this.#whileOpen(() => this.#enqueue(tasks));
  }

  async #enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    const args = this.#args(this.#settings.autoCreateQueues ? 1 : 0);
    let bytes = 0;
    for (const task of tasks) {
      const [head, what] = encodeTask(task);
      bytes += head.length + what.length;
      args.push(head, what);
    }
    await this.#memory.assertRoom(tasks.length, bytes);
    const reply = await this.#durably(SCRIPTS.enqueue, args);
    this.#spool?.keep(args, reply, bytes, this.#clock.monoMs());
    return { ...answerOf(tasks, reply), durability: this.#durability };
  }

  async get(id: string): Promise<Task | null> {
    const row = await this.#run(SCRIPTS.read, id);
    return row === null ? null : taskOf(row);
  }

  async list(filter: TaskFilter): Promise<TaskPage> {
    assertWithin("limit", filter.limit, MAX_PAGE);
    const tasks: Task[] = [];
    let place = filter.cursor === undefined ? "" : parseCursor(filter.cursor);
    for (let part = 0; part < MAX_PAGE_PARTS && tasks.length < filter.limit; part++) {
      const [next = "0", ...rows] = await this.#run(
        SCRIPTS.page,
        place,
        filter.limit - tasks.length,
        filter.queue ?? "",
        filter.clientId ?? "",
        filter.state === undefined ? "" : STATE_LETTERS[filter.state],
        filter.fromMs ?? 0,
        filter.toMs ?? Number.MAX_SAFE_INTEGER,
      );
      for (const row of rows) tasks.push(taskOf(row));
      place = next;
      if (place === "0") break;
    }
    return { tasks, nextCursor: place === "0" ? null : CURSOR_PREFIX + Number(place).toString(36) };
  }

  async counts(ask?: { readonly oldest: boolean }): Promise<readonly LaneCounts[]> {
    const [counts, lanes] = await this.#run(SCRIPTS.counts);
    const counted = countsOf(counts, lanes);
    return ask?.oldest === true ? this.#oldest.addTo(counted) : counted.sums;
  }

  cancel(id: string): Promise<ChangeResult> {
    return this.#change(id, "cancel");
  }

  reschedule(id: string, { scheduledAtMs, delayMs, priority }: Reschedule): Promise<ChangeResult> {
    const to = delayMs === undefined ? (scheduledAtMs ?? "") : `+${delayMs}`;
    return this.#change(id, "move", to, priority === undefined ? "" : rankOf(priority));
  }

  runNow(id: string): Promise<ChangeResult> {
    return this.#change(id, "run");
  }

  replay(id: string): Promise<ChangeResult> {
    return this.#change(id, "replay");
  }

  async replayMany(
    tasks: readonly { readonly id: string; readonly notBeforeMs: number }[],
  ): Promise<readonly (TaskState | null)[]> {
    if (tasks.length === 0) return [];
    assertWithin("the number of tasks", tasks.length, MAX_PAGE);
    this.#errands.mayHaveEnded();
    const args = this.#args(...tasks.flatMap(({ id, notBeforeMs }) => [id, notBeforeMs]));
    const letters = await this.#whileOpen(() => this.#durably(SCRIPTS.replayMany, args));
    return letters.map((letter) => (letter === "" ? null : stateOf(letter)));
  }

  async forget(ids: readonly string[]): Promise<number> {
    if (ids.length === 0) return 0;
    assertWithin("the number of tasks", ids.length, MAX_PAGE);
    return Number(await this.#whileOpen(() => this.#durably(SCRIPTS.forget, this.#args(...ids))));
  }

  keyHolder(id: string): Promise<string | null> {
    return this.#run(SCRIPTS.holder, id);
  }

  async workers(withinMs: number): Promise<readonly WorkerRecord[]> {
    const told = await this.#run(SCRIPTS.workers, withinMs);
    return told
      .map((value) => {
        const space = value.indexOf(" ");
        const info = JSON.parse(value.slice(space + 1)) as Omit<WorkerRecord, "seenAtMs">;
        return { ...info, seenAtMs: Number(value.slice(0, space)) };
      })
      .sort((a, b) => b.seenAtMs - a.seenAtMs);
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    return (await this.settleAndClaim([], request)).claim;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (settlements.length === 0) return [];
    this.#errands.mayHaveEnded();
    return this.#exchanges.settle(settlements);
  }

  async settleAndClaim(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: readonly SettleResult[]; claim: Claim }> {
    assertWithin("limit", request.limit, MAX_CLAIM);
    if (settlements.length > 0) this.#errands.mayHaveEnded();
    return this.#exchanges.settleAndClaim(settlements, request);
  }

  async extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]> {
    if (leases.length === 0) return [];
    const args = leases.flatMap(({ taskId, fence }) => [taskId, fence]);
    const letters = await this.#run(SCRIPTS.extend, leaseMs, ...args);
    return leases.flatMap((lease, index): LostLease[] => {
      if (letters[index] === "s") return [];
      return [{ ...lease, why: letters[index] === "c" ? "cancelled" : "stale" }];
    });
  }

  async rescue(limit: number): Promise<readonly Rescued[]> {
    this.#assertOpen();
    if (!this.#errands.rescueIsDue()) return [];
    const reply = await this.#run(SCRIPTS.rescue, this.#settings.retentionSucceededMs, limit);
    if (reply.length > 0) this.#errands.mayHaveEnded();
    const rescued: Rescued[] = [];
    for (let at = 0; at < reply.length; at += 4) {
      const state = stateOf(reply[at + 3] ?? "") as Rescued["state"];
      rescued.push({
        id: reply[at] ?? "",
        worker: reply[at + 1] ?? "",
        crashes: Number(reply[at + 2]),
        state,
      });
    }
    return rescued;
  }

  async sweep(limit: number): Promise<Swept> {
    this.#assertOpen();
    const pressed = await this.#memory.isPressed();
    if (!pressed && !this.#errands.sweepIsDue()) return { tasks: 0, names: 0, more: false };
    const [tasks, names] = await this.#run(SCRIPTS.sweep, limit, pressed ? 1 : 0);
    this.#errands.swept(tasks + names);
    return { tasks, names, more: tasks === limit || names === limit };
  }

  async announce(worker: Omit<WorkerRecord, "seenAtMs">): Promise<void> {
    await this.#run(SCRIPTS.announce, worker.id, JSON.stringify(worker));
  }

  read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null> {
    return this.#kept.read(kind, id);
  }

  page<K extends SettingsKind>(
    kind: K,
    request: { readonly limit: number; readonly cursor?: string },
  ): Promise<SettingsPage<SettingsOf[K]>> {
    return this.#kept.page(kind, request);
  }

  change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean> {
    return this.#kept.change(change, audit);
  }

  clientUse(ids: readonly string[]): Promise<readonly ClientUse[]> {
    return this.#kept.clientUse(ids);
  }

  queueUse(names: readonly string[]): Promise<readonly QueueUse[]> {
    return this.#kept.queueUse(names);
  }

  async purge(queue: string, audit: AuditEntry): Promise<void> {
    const askedMonoMs = this.#clock.monoMs();
    await this.#kept.purge(queue, audit);
    this.#spool?.purged(queue, askedMonoMs);
  }

  purgeStep(limit: number): Promise<PurgeProgress | null> {
    return this.#kept.purgeStep(limit);
  }

  async heldHosts(): Promise<readonly HeldHost[]> {
    const told = await this.#run(SCRIPTS.held, MAX_PAGE);
    const hosts: HeldHost[] = [];
    for (let at = 0; at + 2 < told.length; at += 3) {
      hosts.push({
        host: told[at] ?? "",
        nextProbeAtMs: Number(told[at + 1]),
        tasks: Number(told[at + 2]),
      });
    }
    return hosts;
  }

  async holdHost(host: string, forMs: number): Promise<void> {
    await this.#run(SCRIPTS.hold, host, forMs, MAX_HELD_HOSTS);
  }

  async freeHost(host: string): Promise<void> {
    await this.#run(SCRIPTS.hold, host, "", MAX_HELD_HOSTS);
  }

  record(audit: AuditEntry): Promise<void> {
    return this.#kept.record(audit);
  }

  audit(request: { readonly limit: number; readonly cursor?: string }): Promise<AuditPage> {
    return this.#kept.audit(request);
  }

  inspect(options: InspectionOptions): Inspection {
    return inspectRedis((...args) => this.#run(SCRIPTS.inspect, ...args), this.#settings, options);
  }

  onHint(listener: (hint: StoreHint) => void): () => void {
    this.#listeners.add(listener);
    this.#unsubscribe ??= this.#connection.subscribe(this.#keys.hints, (message) => this.#hear(message));
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#unsubscribe?.();
      this.#unsubscribe = null;
    };
  }

  async check(): Promise<void> {
    this.#assertOpen();
    const nowMonoMs = this.#clock.monoMs();
    if (nowMonoMs - this.#checkedAtMonoMs < CHECK_GOOD_MS) return;
    await this.#run(SCRIPTS.check);
    this.#checkedAtMonoMs = nowMonoMs;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetReconnects();
    await this.#promotions?.close();
    this.#unsubscribe?.();
    this.#listeners.clear();
    await Promise.allSettled(this.#underWay);
    await this.#connection.close();
  }

  /** A message was missed, perhaps, where there is none: then everything may have happened. */
  #hear(message: string | null): void {
    const hints: StoreHint[] = message === "work" || message === "leases" ? [message] : ["work", "leases"];
    for (const hint of hints) this.#tell(hint);
  }

  #tell(hint: StoreHint): void {
    for (const listener of this.#listeners) {
      try {
        listener(hint);
      } catch {
        // What was committed stays committed, whatever a listener makes of the hint; it looks again by itself.
      }
    }
  }

  async #change(id: string, ...what: Argument[]): Promise<ChangeResult> {
    this.#errands.mayHaveEnded();
    const { dedupWindowMs, retentionSucceededMs } = this.#settings;
    const args = this.#args(dedupWindowMs, retentionSucceededMs, id, ...what);
    const reply = await this.#whileOpen(() => this.#durably(SCRIPTS.change, args));
    if (reply[0] === "missing") return { kind: "not_found" };
    if (reply[0] === "conflict") return { kind: "conflict", state: stateOf(reply[1]) };
    if (what[0] === "cancel") this.#spool?.cancelled(id);
    return { kind: "changed", task: taskOf(reply[1]) };
  }

  /** Milliseconds that names stay taken, and that ended tasks are kept, for the scripts that end tasks. */
  #ends(): Ends {
    const { dedupWindowMs, retentionSucceededMs, retentionDeadMs } = this.#settings;
    return [dedupWindowMs, retentionSucceededMs, retentionDeadMs];
  }

  #args(...args: readonly Argument[]): Argument[] {
    return [this.#skewMs(), this.#keys.hints, ...args];
  }

  #run<Args extends readonly Argument[], Reply>(
    command: Command<Args, Reply>,
    ...args: Args
  ): Promise<Reply> {
    return this.#whileOpen(() => this.#call(command, this.#args(...args)));
  }

  /** The one place where a script's answer is believed to be what its head says. */
  async #call<Reply>(command: Command<never, Reply>, args: readonly Argument[]): Promise<Reply> {
    return (await this.#connection.call(command, this.#keys.all, args)).reply as Reply;
  }

  /** Rejects when the store is closed; closing waits for what is under way, and each call has its own bound. */
  async #whileOpen<T>(work: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    const working = work();
    this.#underWay.add(working);
    try {
      return await working;
    } finally {
      this.#underWay.delete(working);
    }
  }

  /** For what is acknowledged: resolves once it is as durable as promised, or rejects with durability_unavailable. */
  async #durably<Reply>(command: Command<never, Reply>, args: readonly Argument[]): Promise<Reply> {
    if (this.#wait === null || this.#confirmations === null) return this.#call(command, args);
    const { reply, acked } = await this.#confirmations.call(command, args);
    const { replicas, timeoutMs } = this.#wait;
    if (acked >= replicas) return reply as Reply;
    throw new TaskRunnerError(
      "durability_unavailable",
      `${acked} of ${replicas} replicas confirmed within ${timeoutMs} ms; it may be kept all the same: repeat it with the same name or Idempotency-Key`,
      { retryAfterSec: 1 },
    );
  }

  /**
   * For a worker's exchange: waits for the replicas too, so that a failover does not hand out again what is
   * under way, but goes on without them when they are away.
   */
  async #confirmed<Reply>(command: Command<never, Reply>, args: readonly Argument[]): Promise<Reply> {
    const confirmations = this.#confirmations;
    const away = this.#clock.monoMs() - this.#unconfirmedAtMonoMs < UNCONFIRMED_PAUSE_MS;
    if (this.#wait === null || confirmations === null || away) {
      return this.#whileOpen(() => this.#call(command, args));
    }
    const { reply, acked } = await this.#whileOpen(() => confirmations.call(command, args));
    if (acked < this.#wait.replicas) this.#unconfirmedAtMonoMs = this.#clock.monoMs();
    return reply as Reply;
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new TaskRunnerError("store_unavailable", "the store is closed", { retryAfterSec: 1 });
  }
}

function parseCursor(cursor: string): string {
  if (/^r-[0-9a-z]{1,10}$/.test(cursor)) {
    return String(Number.parseInt(cursor.slice(CURSOR_PREFIX.length), 36));
  }
  throw cursorError();
}
