/** The embedded store: a TaskStore in one SQLite file, for a laptop or a single machine. */

import type { Clock } from "../../core/clock.ts";
import { TaskRunnerError } from "../../core/errors.ts";
import type { Inspection, InspectionOptions } from "../../core/inspection.ts";
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
import { Acceptance } from "./accept.ts";
import { Asides } from "./aside.ts";
import { Audit } from "./audit.ts";
import { Changes } from "./changes.ts";
import { Claims } from "./claims.ts";
import { Database } from "./database.ts";
import { Flows } from "./flows.ts";
import { Holds } from "./holds.ts";
import { inspectSqlite } from "./inspect.ts";
import { type LaneSet, Lanes } from "./lanes.ts";
import { Listing } from "./listing.ts";
import { Names } from "./names.ts";
import { Orderings } from "./orderings.ts";
import { Promotions } from "./promotions.ts";
import { Purges } from "./purges.ts";
import { Retention } from "./retention.ts";
import { Rules } from "./rules.ts";
import { Settings } from "./settings.ts";
import { Settlements } from "./settlements.ts";
import { Wake } from "./wake.ts";
import { Windows } from "./windows.ts";
import { Workers } from "./workers.ts";

/** How to open the embedded store. */
export interface SqliteOptions {
  /** A file, made when it is missing, or `:memory:` for a store that ends with the process. */
  readonly path: string;
  readonly settings: StoreSettings;
  readonly clock: Clock;
}

/** A successful check is good for this long: probes come often, and each check costs a synced write. */
const CHECK_GOOD_MS = 1_000;

/**
 * Opens the store, or rejects with one clear line and leaves nothing open: for a file that is damaged, newer
 * than this build, another program's, read-only, or on a full disk.
 */
export async function openSqliteStore(options: SqliteOptions): Promise<TaskStore> {
  return new SqliteStore(options);
}

/**
 * Every method is one transaction that SQLite completes before the next starts; they are async because the
 * seam is. Several processes may share the file.
 */
class SqliteStore implements TaskStore {
  readonly name = "sqlite";
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #durability: Durability;
  readonly #dedupWindowMs: number;
  readonly #orderings: Orderings;
  readonly #lanes: Lanes;
  readonly #holds: Holds;
  readonly #acceptance: Acceptance;
  readonly #claims: Claims;
  readonly #settlements: Settlements;
  readonly #changes: Changes;
  readonly #listing: Listing;
  readonly #retention: Retention;
  readonly #settings: Settings;
  readonly #windows: Windows;
  readonly #purges: Purges;
  readonly #audit: Audit;
  readonly #workers: Workers;
  readonly #wake: Wake;
  readonly #probe;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor({ path, settings, clock }: SqliteOptions) {
    const db = new Database(path, { defaultTier: settings.defaultTier, nowMs: clock.now() });
    this.#db = db;
    this.#clock = clock;
    this.#durability = db.inMemory ? "memory" : "disk";
    const names = new Names(db, settings.dedupWindowMs);
    const orderings = new Orderings(db);
    this.#orderings = orderings;
    this.#dedupWindowMs = settings.dedupWindowMs;
    const holds = new Holds(db);
    this.#holds = holds;
    this.#windows = new Windows(db);
    this.#audit = new Audit(db);
    this.#settings = new Settings(db, this.#windows, this.#audit, holds);
    this.#assertTier(settings.defaultTier);
    this.#lanes = new Lanes(db, new Rules(db, settings.defaultTier), new Flows(db));
    const promotions = new Promotions(db, orderings);
    this.#acceptance = new Acceptance(db, this.#lanes, names, orderings, this.#windows, promotions, settings);
    this.#claims = new Claims(db, promotions, holds, new Asides(db, holds));
    this.#settlements = new Settlements(db, names, orderings, this.#acceptance, settings);
    this.#purges = new Purges(db, names, orderings, holds);
    this.#changes = new Changes(db, names, orderings, this.#settlements, this.#purges, holds);
    this.#listing = new Listing(db);
    this.#retention = new Retention(db, names, this.#settlements, settings);
    this.#workers = new Workers(db);
    this.#probe = db.prepare("UPDATE meta SET value = ? WHERE key = 'probe'");
    const cancels = db.prepare<{ value: number }>("SELECT value FROM meta WHERE key = 'cancels'");
    this.#wake = new Wake(db, clock, () => cancels.get()?.value ?? 0);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    const { results, rates, sooner } = this.#acceptance.add(tasks, this.#clock.now());
    if (sooner) this.#wake.tell("work");
    return { results, durability: this.#durability, rates };
  }

  async get(id: string): Promise<Task | null> {
    return this.#listing.get(id);
  }

  async list(filter: TaskFilter): Promise<TaskPage> {
    assertWithin("limit", filter.limit, MAX_PAGE);
    return this.#listing.page(filter);
  }

  async counts(ask?: { readonly oldest: boolean }): Promise<readonly LaneCounts[]> {
    return ask?.oldest === true ? this.#listing.countsAndOldest(this.#clock.now()) : this.#listing.counts();
  }

  async cancel(id: string): Promise<ChangeResult> {
    const result = this.#change((lanes, nowMs) => this.#changes.cancel(lanes, id, nowMs));
    if (result.kind === "changed") {
      if (result.task.lease !== null) this.#wake.tell("leases");
      // The next task of its ordering key may have become ready.
      else if (result.task.orderingKey !== null) this.#wake.tell("work");
    }
    return result;
  }

  async reschedule(id: string, change: Reschedule): Promise<ChangeResult> {
    return this.#changeAndWake((lanes, nowMs) => this.#changes.reschedule(lanes, id, change, nowMs));
  }

  async runNow(id: string): Promise<ChangeResult> {
    return this.#changeAndWake((lanes, nowMs) => this.#changes.runNow(lanes, id, nowMs));
  }

  async replay(id: string): Promise<ChangeResult> {
    return this.#changeAndWake((lanes, nowMs) => this.#changes.replay(lanes, id, nowMs));
  }

  async replayMany(
    tasks: readonly { readonly id: string; readonly notBeforeMs: number }[],
  ): Promise<readonly (TaskState | null)[]> {
    assertAtMost("tasks", tasks.length, MAX_PAGE);
    const states = this.#inLanes("disk", (lanes, nowMs) =>
      tasks.map(({ id, notBeforeMs }) => this.#changes.replayFrom(lanes, id, notBeforeMs, nowMs)),
    );
    this.#wake.tell("work");
    return states;
  }

  async forget(ids: readonly string[]): Promise<number> {
    assertAtMost("ids", ids.length, MAX_PAGE);
    const forgotten = this.#inLanes("disk", (lanes) => ids.filter((id) => this.#changes.forget(lanes, id)));
    // The next task of an ordering key that was kept for one of them may have become ready.
    if (forgotten.length > 0) this.#wake.tell("work");
    return forgotten.length;
  }

  async keyHolder(id: string): Promise<string | null> {
    return this.#db.read(() => this.#changes.keyHolder(id));
  }

  async workers(withinMs: number): Promise<readonly WorkerRecord[]> {
    return this.#workers.within(withinMs, this.#clock.now());
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    return (await this.settleAndClaim([], request)).claim;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = this.#inLanes("process", (lanes, nowMs) =>
      settlements.map((settlement) => this.#settlements.settle(lanes, settlement, nowMs)),
    );
    // Whoever settles without claiming leaves what it gave back, or let go of, to the others.
    if (settlements.length > 0) this.#wake.tell("work");
    return results;
  }

  async settleAndClaim(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: readonly SettleResult[]; claim: Claim }> {
    assertWithin("limit", request.limit, MAX_CLAIM);
    const { settled, claim, freed } = this.#inLanes("process", (lanes, nowMs) => ({
      settled: settlements.map((settlement) => this.#settlements.settle(lanes, settlement, nowMs)),
      claim: this.#claims.take(lanes, request, nowMs),
      freed: lanes.unparked > 0,
    }));
    // What was set free here, or follows from what was settled, and was not taken here is there for the others.
    const follows = settlements.some(({ followUps }) => followUps !== undefined && followUps.length > 0);
    if ((freed || follows) && claim.nextInMs === 0) this.#wake.tell("work");
    return { settled, claim };
  }

  async extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]> {
    const untilMs = this.#clock.now() + leaseMs;
    return this.#db.transaction("process", () =>
      leases.map((lease) => this.#settlements.extend(lease, untilMs)).filter((lost) => lost !== null),
    );
  }

  async holdHost(host: string, forMs: number): Promise<void> {
    const nowMs = this.#clock.now();
    this.#db.transaction("process", () => this.#holds.hold(host, forMs, nowMs));
  }

  async freeHost(host: string): Promise<void> {
    this.#db.transaction("process", () => this.#holds.free(host));
    this.#wake.tell("work");
  }

  async rescue(limit: number): Promise<readonly Rescued[]> {
    const rescued = this.#inLanes("process", (lanes, nowMs) => this.#settlements.rescue(lanes, limit, nowMs));
    if (rescued.length > 0) this.#wake.tell("work");
    return rescued;
  }

  async sweep(limit: number): Promise<Swept> {
    return this.#inLanes("process", (lanes, nowMs) => this.#retention.sweep(lanes, limit, nowMs));
  }

  async announce(worker: Omit<WorkerRecord, "seenAtMs">): Promise<void> {
    this.#workers.announce(worker, this.#clock.now());
  }

  async read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null> {
    return this.#settings.read(kind, id);
  }

  async page<K extends SettingsKind>(
    kind: K,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string },
  ): Promise<SettingsPage<SettingsOf[K]>> {
    assertWithin("limit", limit, MAX_PAGE);
    return this.#settings.page(kind, limit, cursor);
  }

  async change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean> {
    const done = this.#inLanes("disk", (lanes) => this.#settings.change(lanes, change, audit));
    if (done) this.#wake.tell("work");
    return done;
  }

  async clientUse(ids: readonly string[]): Promise<readonly ClientUse[]> {
    return this.#inLanes("process", ({ flows }, nowMs) =>
      ids.map((id) => ({
        running: flows.get("client", id).running,
        requests: this.#windows.requests(id, nowMs),
      })),
    );
  }

  async queueUse(names: readonly string[]): Promise<readonly QueueUse[]> {
    return this.#inLanes("process", ({ flows }) =>
      names.map((name) => {
        const flow = flows.get("queue", name);
        return {
          running: flow.running,
          nextDispatchAtMs: flows.nextTokenAtMs(flow),
          purge: this.#purges.progressOf(name),
        };
      }),
    );
  }

  async purge(queue: string, audit: AuditEntry): Promise<void> {
    this.#inLanes("disk", (_lanes, nowMs) => {
      this.#purges.begin(queue, nowMs);
      this.#audit.add(audit);
    });
  }

  async purgeStep(limit: number): Promise<PurgeProgress | null> {
    assertWithin("limit", limit, Number.MAX_SAFE_INTEGER);
    const progress = this.#inLanes("disk", (lanes) => this.#purges.step(lanes, this.#settlements, limit));
    // The next task of an ordering key, one that came after the purge, may have become ready.
    if (progress !== null && progress.removed > 0) this.#wake.tell("work");
    return progress;
  }

  async record(audit: AuditEntry): Promise<void> {
    this.#db.transaction("disk", () => this.#audit.add(audit));
  }

  async audit({ limit, cursor }: { readonly limit: number; readonly cursor?: string }): Promise<AuditPage> {
    assertWithin("limit", limit, MAX_PAGE);
    return this.#audit.page(limit, cursor);
  }

  async heldHosts(): Promise<readonly HeldHost[]> {
    return this.#holds.list();
  }

  inspect(options: InspectionOptions): Inspection {
    const store = {
      db: this.#db,
      clock: this.#clock,
      lanes: this.#lanes,
      orderings: this.#orderings,
      settlements: this.#settlements,
      dedupWindowMs: this.#dedupWindowMs,
    };
    return inspectSqlite(store, options);
  }

  onHint(listener: (hint: StoreHint) => void): () => void {
    return this.#wake.listen(listener);
  }

  async check(): Promise<void> {
    const nowMs = this.#clock.now();
    if (this.#db.isOpen && Math.abs(nowMs - this.#checkedAtMs) < CHECK_GOOD_MS) return;
    this.#db.transaction("disk", () => this.#probe.run(nowMs));
    this.#checkedAtMs = nowMs;
  }

  async close(): Promise<void> {
    this.#wake.close();
    this.#db.close();
  }

  /** A change to one task is on disk when it is acknowledged. */
  #change(work: (lanes: LaneSet, nowMs: number) => ChangeResult): ChangeResult {
    return this.#inLanes("disk", work);
  }

  #changeAndWake(work: (lanes: LaneSet, nowMs: number) => ChangeResult): ChangeResult {
    const result = this.#change(work);
    if (result.kind === "changed") this.#wake.tell("work");
    return result;
  }

  #inLanes<T>(safety: "disk" | "process", work: (lanes: LaneSet, nowMs: number) => T): T {
    const nowMs = this.#clock.now();
    return this.#db.transaction(safety, () => {
      const lanes = this.#lanes.begin(nowMs);
      const result = work(lanes, nowMs);
      lanes.finish();
      return result;
    });
  }

  /** The tier of new clients must be there, or nothing stays open. */
  #assertTier(name: string): void {
    const tiers = this.#settings.tierNames();
    if (tiers.includes(name)) return;
    this.#db.close();
    const problem = `there is no such tier; there are ${tiers.join(", ")}`;
    throw new TaskRunnerError("validation_failed", `DEFAULT_CLIENT_TIER is ${name}: ${problem}`, {
      fields: [{ path: "DEFAULT_CLIENT_TIER", message: problem }],
    });
  }
}

function assertWithin(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new RangeError(`${name} is ${value}; it must be a whole number from 1 to ${max}`);
}

function assertAtMost(name: string, count: number, max: number): void {
  if (count > max) throw new RangeError(`${count} ${name} are too many; ${max} are allowed`);
}
