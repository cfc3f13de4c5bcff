/** Looks the store through for what must never be in it, a little at a time; it tells of it and mends nothing. */

import type { Clock } from "../core/clock.ts";
import {
  type InspectableStore,
  type Inspection,
  VIOLATIONS,
  type Violation,
  type ViolationKind,
} from "../core/inspection.ts";
import type { ProducerStore } from "../core/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { WorkerMetrics } from "../telemetry/metrics.ts";

export interface CheckerOptions {
  readonly store: InspectableStore & Pick<ProducerStore, "workers">;
  /** This worker's id. */
  readonly worker: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<WorkerMetrics, "inspected"> | null;
}

/** Together with the pause between two steps this keeps it far below a hundredth of a processor. */
const RECORDS_A_STEP = 100;
/** From the end of a walk, and from the start, to the next. */
const REST_MS = 300_000;
/** Workers announce themselves every 30 s; two of those may be missed. */
const WORKER_SEEN_WITHIN_MS = 90_000;
/** Whose turn it is is asked this often. */
const TURN_EVERY_MS = 30_000;

/** What a walk has found of one kind: how many, and the first. */
interface Found {
  times: number;
  readonly first: Violation;
}

/** Of all workers of a store one does this: the first by name. */
export class Checker {
  readonly #options: CheckerOptions;
  #inspection: Inspection | null = null;
  #found = new Map<ViolationKind, Found>();
  #restUntilMonoMs: number;
  #turnUntilMonoMs = Number.NEGATIVE_INFINITY;

  constructor(options: CheckerOptions) {
    this.#options = options;
    this.#restUntilMonoMs = options.clock.monoMs() + REST_MS;
  }

  /** Goes on by one small step, where it is time for one. Rejects where the store fails; the walk begins anew then. */
  async step(): Promise<void> {
    const { store, clock } = this.#options;
    if (clock.monoMs() < this.#restUntilMonoMs || !(await this.#isOurTurn())) return;
    this.#inspection ??= store.inspect({ limit: RECORDS_A_STEP, repair: false, thorough: false });
    try {
      const { violations, done } = await this.#inspection.step();
      for (const violation of violations) this.#note(violation);
      if (done) this.#end();
    } catch (thrown) {
      this.#forget();
      throw thrown;
    }
  }

  async #isOurTurn(): Promise<boolean> {
    const { store, clock, worker, metrics } = this.#options;
    if (clock.monoMs() < this.#turnUntilMonoMs) return true;
    const ids = (await store.workers(WORKER_SEEN_WITHIN_MS)).map(({ id }) => id).sort();
    if (ids[0] === worker) {
      this.#turnUntilMonoMs = clock.monoMs() + TURN_EVERY_MS;
      return true;
    }
    this.#forget();
    this.#restUntilMonoMs = clock.monoMs() + TURN_EVERY_MS;
    // Another tells from now on.
    metrics?.inspected(null);
    return false;
  }

  #note(violation: Violation): void {
    const found = this.#found.get(violation.kind);
    if (found === undefined) this.#found.set(violation.kind, { times: 1, first: violation });
    else found.times += 1;
  }

  #end(): void {
    const { logger, metrics } = this.#options;
    const found = this.#found;
    for (const [kind, { times, first }] of found) {
      const { subject, detail } = first;
      logger.error(
        { kind, times, subject, detail },
        `broken in the store: ${VIOLATIONS[kind]}; see task-runner fsck`,
      );
    }
    metrics?.inspected(new Map([...found].map(([kind, { times }]) => [kind, times])));
    this.#forget();
    this.#restUntilMonoMs = this.#options.clock.monoMs() + REST_MS;
  }

  #forget(): void {
    this.#inspection = null;
    this.#found = new Map();
  }
}
