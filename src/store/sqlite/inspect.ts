/** The inspection of the embedded store: part after part, each step in a transaction of its own. */

import type { Clock } from "../../core/clock.ts";
import {
  assertInspected,
  type Inspection,
  type InspectionOptions,
  type InspectionStep,
  type Violation,
} from "../../core/inspection.ts";
import type { Database } from "./database.ts";
import { HoldPart, NamePart, OrderingPart, SettingPart } from "./inspect-keys.ts";
import { LanePart } from "./inspect-lanes.ts";
import type { Part, Place } from "./inspect-part.ts";
import { TaskPart } from "./inspect-tasks.ts";
import { CountPart, ParkedPart, SlotPart } from "./inspect-use.ts";
import type { Lanes } from "./lanes.ts";
import type { Orderings } from "./orderings.ts";
import type { Settlements } from "./settlements.ts";

/** What an inspection works with. */
export interface InspectedStore {
  readonly db: Database;
  readonly clock: Clock;
  readonly lanes: Lanes;
  readonly orderings: Orderings;
  readonly settlements: Settlements;
  readonly dedupWindowMs: number;
}

/** The order matters where something is mended: what is put right first is found right by the counts after it. */
export function inspectSqlite(store: InspectedStore, options: InspectionOptions): Inspection {
  assertInspected(options);
  const { db } = store;
  return new SqliteInspection(store, options, [
    () => new TaskPart(db, store.settlements),
    () => new OrderingPart(db, store.orderings),
    () => new NamePart(db, store.dedupWindowMs),
    () => new HoldPart(db),
    () => new SettingPart(db),
    () => new CountPart(db, options.thorough),
    () => new LanePart(db),
    () => new ParkedPart(db),
    () => new SlotPart(db),
  ]);
}

class SqliteInspection implements Inspection {
  readonly #store: InspectedStore;
  readonly #options: InspectionOptions;
  readonly #parts: (() => Part)[];
  #part: Part | null = null;
  #after: Place = null;
  #unreadable = false;

  constructor(store: InspectedStore, options: InspectionOptions, parts: readonly (() => Part)[]) {
    this.#store = store;
    this.#options = options;
    this.#parts = [...parts];
  }

  async step(): Promise<InspectionStep> {
    const make = this.#parts[0];
    if (make === undefined) return { violations: [], looked: 0, skipped: 0, done: true };
    const { db } = this.#store;
    this.#part ??= db.read(make);
    const part = this.#part;
    let { next, ...step } = db.snapshot(() => this.#look(part, false));
    // Looked at again where it is mended: it may have been in order again meanwhile.
    if (this.#options.repair && step.violations.length > 0)
      ({ next, ...step } = db.transaction("process", () => this.#look(part, true)));
    this.#after = next;
    if (next === null) {
      this.#parts.shift();
      this.#part = null;
    }
    return { ...step, done: this.#parts.length === 0 };
  }

  #look(part: Part, repair: boolean): Omit<InspectionStep, "done"> & { readonly next: Place } {
    const violations: Violation[] = [];
    let skipped = 0;
    const nowMs = this.#store.clock.now();
    const lanes = this.#store.lanes.begin(nowMs);
    const { records, next } = part.look({
      after: this.#after,
      limit: this.#options.limit,
      nowMs,
      lanes,
      report: (kind, subject, detail, mend) => {
        this.#unreadable ||= kind === "unreadable_record";
        // What cannot be read may be counted rightly all the same.
        const mended = repair && mend !== undefined && !(kind === "wrong_count" && this.#unreadable);
        if (mended) mend();
        violations.push({ kind, subject: String(subject), detail, mended });
      },
      skip: () => {
        skipped += 1;
      },
    });
    if (violations.some(({ mended }) => mended)) lanes.finish();
    return { violations, looked: records, skipped, next };
  }
}
