/** Runs generated cases against a property, keeps what was found, and says how to see it again. */

import fc from "fast-check";

/** Cases of one seed: small, so that a fault is found again by running few of them. */
const CHUNK = 250;
/** Shrinking a case that needs a server may take long; what is found by then is small enough to read. */
const MAX_SHRINK_MS = 15_000;
const LONGEST_CASE_SHOWN = 2_000;
/** More faults of one run than this say nothing new. */
const MAX_FINDINGS = 20;

/** What was found, once for each way of failing. */
export interface Finding {
  readonly what: string;
  readonly why: string;
  /** The smallest case that was found to fail, as text. */
  readonly example: string;
  readonly seed: number;
}

/** One run of one part. */
export interface Job {
  /** About how many cases to run; parts share it out among what they do. */
  readonly cases: number;
  readonly seed: number;
  /** Told now and then. */
  readonly progress: (what: string, done: number, of: number) => void;
  /** Told of each fault at once: a long run may be broken off. */
  readonly found?: (finding: Finding) => void;
}

/** What came of a part. */
export interface Report {
  /** Cases that were run, by what they are of. */
  readonly counts: ReadonlyMap<string, number>;
  readonly findings: readonly Finding[];
  /** Facts worth a line, e.g. how much memory grew. */
  readonly notes: readonly string[];
}

/** Collects a part's report while it runs. */
export class Cases {
  readonly job: Job;
  readonly notes: string[] = [];
  readonly #counts = new Map<string, number>();
  readonly #findings = new Map<string, Finding>();

  constructor(job: Job) {
    this.job = job;
  }

  /**
   * Runs `share` of the job's cases (at least one). `property` throws for a case that fails; cases run one after
   * another. Goes on after a fault, for there may be others.
   */
  async run<T>(
    what: string,
    share: number,
    arbitrary: fc.Arbitrary<T>,
    property: (value: T) => void | Promise<void>,
    show: (value: T) => string = (value) => fc.stringify(value),
  ): Promise<void> {
    const total = Math.max(1, Math.round(this.job.cases * share));
    for (let done = 0; done < total && this.#findings.size < MAX_FINDINGS; done += CHUNK) {
      const seed = this.job.seed + done;
      const numRuns = Math.min(CHUNK, total - done);
      let ran = 0;
      let failedAtMs = Number.POSITIVE_INFINITY;
      const checked = fc.asyncProperty(arbitrary, async (value) => {
        const sinceMs = performance.now() - failedAtMs;
        if (sinceMs < 0) ran++;
        // What is found by now is small enough; whatever is tried from here on counts as no smaller one.
        if (sinceMs > MAX_SHRINK_MS) return;
        try {
          await property(value);
        } catch (error) {
          failedAtMs = Math.min(failedAtMs, performance.now());
          throw error;
        }
      });
      const result = await fc.check(checked, { seed, numRuns });
      this.count(what, ran);
      if (result.failed) {
        const [example] = result.counterexample ?? [];
        const error = result.errorInstance;
        const shown = example === undefined ? "" : show(example);
        this.found({ what, why: reasonOf(error), example: shown.slice(0, LONGEST_CASE_SHOWN), seed });
      }
      this.job.progress(what, Math.min(total, done + CHUNK), total);
    }
  }

  /** Adds a fault, unless one of its kind is known. */
  found(finding: Finding): void {
    const kind = `${finding.what} ${finding.why.split("\n", 1)[0]?.replace(/[0-9A-Z]{26}|\d+|"[^"]*"/g, "…")}`;
    if (this.#findings.has(kind)) return;
    this.#findings.set(kind, finding);
    this.job.found?.(finding);
  }

  /** Counts cases that were not run by {@link run}. */
  count(what: string, cases = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + cases);
  }

  report(): Report {
    return { counts: this.#counts, findings: [...this.#findings.values()], notes: this.notes };
  }
}

/** Throws unless a case is as it must be. */
export function must(isSo: boolean, otherwise: () => string): asserts isSo {
  if (!isSo) throw new Error(otherwise());
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error
    ? (thrown.stack ?? thrown.message).split("\n").slice(0, 6).join("\n")
    : String(thrown);
}
