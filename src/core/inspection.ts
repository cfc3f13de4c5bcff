/** Looking a store through for what must never be in it, in small steps beside those who work on it. */

/** What can be found broken, and what it means. */
export const VIOLATIONS = {
  unreadable_record: "a record that cannot be read, or lacks a part",
  orphan_record: "a part of a task that is not there",
  running_without_lease: "a running task that no worker holds and nobody will take back",
  orphan_lease: "a lease on a task that does not run",
  lost_lane: "a lane with ready tasks that stands nowhere, so that nobody comes to it",
  stray_lane: "a lane that stands where it should not",
  stuck_lane: "lanes that wait for room although there is room, and nobody is going to look",
  lost_place: "a ready task that stands in no line",
  lost_order: "a task of an ordering key that runs without it, or waits for it while nobody has it",
  stale_holder: "an ordering key held by a task that is over or is not there",
  unscheduled: "a task that waits for a time that nobody is going to notice",
  stale_schedule: "a time kept for a task that does not wait for it",
  wrong_retention:
    "a finished task that nobody will remove, or an unfinished one that is marked to be removed",
  wrong_index: "a span of time that counts more or fewer tasks than it has",
  wrong_count: "a count of tasks that is not what is there",
  wrong_slots: "a count of running tasks that is not that of the leases",
  wrong_parked: "a count of waiting lanes that is not what is there",
  dangling_name: "a name or idempotency key that is kept for a task that is over or is not there",
} as const;
export type ViolationKind = keyof typeof VIOLATIONS;

/** One thing that is broken. */
export interface Violation {
  readonly kind: ViolationKind;
  /** What it was found at: the id of a task, the name of a lane, a client, a queue, a key. */
  readonly subject: string;
  /** What is wrong with it, one line. */
  readonly detail: string;
  /** Whether it was mended in the step that found it. */
  readonly mended: boolean;
}

export interface InspectionOptions {
  /** How many records a step looks at, about; 1 to {@link MAX_INSPECTED}. */
  readonly limit: number;
  /** Mends what can be mended without a doubt, in the step that finds it. */
  readonly repair: boolean;
  /** Counts the tasks of large stores too. Otherwise only those of {@link SOON_COUNTED} tasks are counted. */
  readonly thorough: boolean;
}

/** The most records one step looks at. */
export const MAX_INSPECTED = 1_000;
/** So many tasks are counted in no time. */
export const SOON_COUNTED = 20_000;

/** What one step came to. */
export interface InspectionStep {
  readonly violations: readonly Violation[];
  /** Records looked at. */
  readonly looked: number;
  /** Things left out, for they are too large to be looked at in one step, or changed whenever they were counted. */
  readonly skipped: number;
  readonly done: boolean;
}

/**
 * One walk through a store. Each step sees the store at one instant, so that what others do meanwhile is never taken
 * for damage; what no step can see at once is only reported where it was proven to be so at some instant.
 */
export interface Inspection {
  /** Goes on; once it is `done` it is to be called no more. */
  step(): Promise<InspectionStep>;
}

/** A store that can be looked through. */
export interface InspectableStore {
  inspect(options: InspectionOptions): Inspection;
}

/** What a whole walk came to. */
export interface InspectionReport {
  /** The first {@link MAX_TOLD} of them. */
  readonly violations: readonly Violation[];
  /** How many of each kind there are, and how many of these were mended. */
  readonly totals: Readonly<Partial<Record<ViolationKind, { found: number; mended: number }>>>;
  readonly looked: number;
  readonly skipped: number;
}

/** Violations kept one by one of a walk; past them they are only counted. */
export const MAX_TOLD = 1_000;

/**
 * Walks from the start to the end. `onStep` is told after each step how many records have been looked at so far, and
 * is waited for.
 */
export async function inspectAll(
  store: InspectableStore,
  options: Partial<InspectionOptions> = {},
  onStep: (looked: number) => void | Promise<void> = () => {},
): Promise<InspectionReport> {
  const inspection = store.inspect({ limit: MAX_INSPECTED, repair: false, thorough: true, ...options });
  const violations: Violation[] = [];
  const totals: Partial<Record<ViolationKind, { found: number; mended: number }>> = {};
  let looked = 0;
  let skipped = 0;
  for (let done = false; !done; ) {
    const step = await inspection.step();
    for (const violation of step.violations) {
      if (violations.length < MAX_TOLD) violations.push(violation);
      totals[violation.kind] ??= { found: 0, mended: 0 };
      const total = totals[violation.kind];
      if (total === undefined) continue;
      total.found += 1;
      if (violation.mended) total.mended += 1;
    }
    looked += step.looked;
    skipped += step.skipped;
    done = step.done;
    await onStep(looked);
  }
  return { violations, totals, looked, skipped };
}

/** Refuses a limit that is none. */
export function assertInspected({ limit }: InspectionOptions): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_INSPECTED) return;
  throw new RangeError(`limit is ${limit}; it must be a whole number from 1 to ${MAX_INSPECTED}`);
}
