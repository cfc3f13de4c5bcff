/** What the parts of an inspection have in common: where they go on, and how they tell what they find. */

import type { ViolationKind } from "../../core/inspection.ts";
import type { LaneSet } from "./lanes.ts";

/** Where a part goes on in its table; null at its start. */
export type Place = string | number | null;

/** One step of one part, within a transaction. */
export interface Looking {
  readonly after: Place;
  readonly limit: number;
  readonly nowMs: number;
  readonly lanes: LaneSet;
  /** Tells of something broken. `mend` is only called where it is to be mended. */
  report(kind: ViolationKind, subject: string | number, detail: string, mend?: () => void): void;
  /** Says that something was left out. */
  skip(): void;
}

export interface Looked {
  readonly records: number;
  /** Null where the part is done. */
  readonly next: Place;
}

export interface Part {
  look(looking: Looking): Looked;
}

/** How far a step came that asked its table for `limit` rows after a key. */
export function lookedAt<Row>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => string | number,
): Looked {
  const last = rows.at(-1);
  return { records: rows.length, next: rows.length < limit || last === undefined ? null : keyOf(last) };
}
