/** The embedded store: a TaskStore in one SQLite file, for a laptop or a single machine. */

import type { Clock } from "../../core/clock.ts";
import {
  type ChangeResult,
  type Claim,
  type ClaimRequest,
  type Durability,
  type EnqueueAnswer,
  type LaneCounts,
  type LeaseRef,
  type LostLease,
  MAX_CLAIM,
  MAX_PAGE,
  type Reschedule,
  type Rescued,
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
import type { NewTask, Task } from "../../core/task.ts";
import { Acceptance } from "./accept.ts";
import { Changes } from "./changes.ts";
import { Claims } from "./claims.ts";
import { Database } from "./database.ts";
import { type LaneSet, Lanes } from "./lanes.ts";
import { Listing } from "./listing.ts";
import { Names } from "./names.ts";
import { Orderings } from "./orderings.ts";
import { Retention } from "./retention.ts";
import { Settlements } from "./settlements.ts";
import { Wake } from "./wake.ts";
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
  readonly #lanes: Lanes;
  readonly #acceptance: Acceptance;
  readonly #claims: Claims;
  readonly #settlements: Settlements;
  readonly #changes: Changes;
  readonly #listing: Listing;
  readonly #retention: Retention;
  readonly #workers: Workers;
  readonly #wake: Wake;
  readonly #probe;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor({ path, settings, clock }: SqliteOptions) {
    this.#db = new Database(path);
    this.#clock = clock;
    this.#durability = this.#db.inMemory ? "memory" : "disk";
    const names = new Names(this.#db, settings.dedupWindowMs);
    const orderings = new Orderings(this.#db);
    this.#lanes = new Lanes(this.#db);
    this.#acceptance = new Acceptance(this.#db, this.#lanes, names, orderings, settings);
    this.#claims = new Claims(this.#db, orderings);
    this.#settlements = new Settlements(this.#db, names, orderings, settings);
    this.#changes = new Changes(this.#db, names, orderings, this.#settlements);
    this.#listing = new Listing(this.#db);
    this.#retention = new Retention(this.#db, names, this.#settlements, settings);
    this.#workers = new Workers(this.#db);
    this.#probe = this.#db.prepare("UPDATE meta SET value = ? WHERE key = 'probe'");
    const cancels = this.#db.prepare<{ value: number }>("SELECT value FROM meta WHERE key = 'cancels'");
    this.#wake = new Wake(this.#db, clock, () => cancels.get()?.value ?? 0);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    const { results, sooner } = this.#acceptance.add(tasks, this.#clock.now());
    if (sooner) this.#wake.tell("work");
    return { results, durability: this.#durability };
  }

  async get(id: string): Promise<Task | null> {
    return this.#listing.get(id);
  }

  async list(filter: TaskFilter): Promise<TaskPage> {
    assertWithin("limit", filter.limit, MAX_PAGE);
    return this.#listing.page(filter);
  }

  async counts(): Promise<readonly LaneCounts[]> {
    return this.#listing.counts();
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

  async workers(withinMs: number): Promise<readonly WorkerRecord[]> {
    return this.#workers.within(withinMs, this.#clock.now());
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    return (await this.settleAndClaim([], request)).claim;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const nowMs = this.#clock.now();
    const results = this.#inLanes("process", (lanes) =>
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
    const nowMs = this.#clock.now();
    return this.#inLanes("process", (lanes) => ({
      settled: settlements.map((settlement) => this.#settlements.settle(lanes, settlement, nowMs)),
      claim: this.#claims.take(lanes, request, nowMs),
    }));
  }

  async extend(leases: readonly LeaseRef[], leaseMs: number): Promise<readonly LostLease[]> {
    const untilMs = this.#clock.now() + leaseMs;
    return this.#db.transaction("process", () =>
      leases.map((lease) => this.#settlements.extend(lease, untilMs)).filter((lost) => lost !== null),
    );
  }

  async rescue(limit: number): Promise<readonly Rescued[]> {
    const nowMs = this.#clock.now();
    const rescued = this.#inLanes("process", (lanes) => this.#settlements.rescue(lanes, limit, nowMs));
    if (rescued.length > 0) this.#wake.tell("work");
    return rescued;
  }

  async sweep(limit: number): Promise<Swept> {
    const nowMs = this.#clock.now();
    return this.#inLanes("process", (lanes) => this.#retention.sweep(lanes, limit, nowMs));
  }

  async announce(worker: Omit<WorkerRecord, "seenAtMs">): Promise<void> {
    this.#workers.announce(worker, this.#clock.now());
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
    const nowMs = this.#clock.now();
    return this.#inLanes("disk", (lanes) => work(lanes, nowMs));
  }

  #changeAndWake(work: (lanes: LaneSet, nowMs: number) => ChangeResult): ChangeResult {
    const result = this.#change(work);
    if (result.kind === "changed") this.#wake.tell("work");
    return result;
  }

  #inLanes<T>(safety: "disk" | "process", work: (lanes: LaneSet) => T): T {
    return this.#db.transaction(safety, () => {
      const lanes = this.#lanes.begin();
      const result = work(lanes);
      lanes.flush();
      return result;
    });
  }
}

function assertWithin(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new RangeError(`${name} is ${value}; it must be a whole number from 1 to ${max}`);
}
