/** After a promotion: finds out which acknowledged tasks the new primary never had, and hands them in again. */

import { type Clock, sleep } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Spool, SpooledTask } from "./spool.ts";

/** What came of it. */
export interface PromotionReport {
  /** Acknowledged tasks that were looked for. */
  readonly acknowledged: number;
  /** Handed in again. */
  readonly replayed: number;
  /** Those that could not be: the store failed until the time was up. */
  readonly lost: number;
  /** Acknowledged lately and not looked for, as there was no room to remember them; at most so many. */
  readonly forgotten: number;
  readonly tookMs: number;
  /** Why tasks were lost; null when none was. */
  readonly reason: string | null;
}

export interface PromotionOptions {
  readonly spool: Spool;
  readonly clock: Clock;
  /** What INFO says. */
  readonly info: () => Promise<string>;
  readonly absent: (ids: readonly string[]) => Promise<readonly string[]>;
  /** Ids in the log, newest first: the segment where it stopped, then texts of many ids. */
  readonly logged: (before: string, segments: number) => Promise<readonly string[]>;
  readonly restore: (tasks: readonly SpooledTask[]) => Promise<readonly string[]>;
  readonly tell: (report: PromotionReport) => void;
}

const RETRY_AFTER_MS = 500;
const IDS_AT_ONCE = 500;
const SEGMENTS_AT_ONCE = 32;
/** 64 ids each: more than any log holds of the time in question. */
const MAX_SEGMENTS = 200_000;
/** Ids of tasks that were accepted together may be apart by this: by clocks, and by calls that took their time. */
const APART_MS = 120_000;
const RESTORED_AT_ONCE = 100;
const RESTORED_CHARS_AT_ONCE = 500_000;

const ID_CHARS = 26;
const TIME_CHARS = 10;
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Watches which server, and which history of it, a connection ends at. */
export class PromotionWatch {
  readonly #options: PromotionOptions;
  readonly #closing = new AbortController();
  #history: string | null = null;
  #looking: Promise<void> | null = null;
  #again = false;

  constructor(options: PromotionOptions) {
    this.#options = options;
  }

  /** Remembers what the connection ends at now; rejects where it cannot be told. */
  async begin(): Promise<void> {
    this.#history = historyIn(await this.#options.info());
  }

  /** The connection is back: looks whether it ends at another history. Never rejects; one look at a time. */
  reconnected(): void {
    this.#again = true;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
      // It came back once more just when the look was over.
      if (this.#again && !this.#closing.signal.aborted) this.reconnected();
    });
  }

  /** Breaks off what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { clock, spool } = this.#options;
    const { signal } = this.#closing;
    const beganMonoMs = clock.monoMs();
    const progress = { acknowledged: 0, replayed: 0, missing: 0, history: null as string | null };
    let reason = "";
    while (!signal.aborted) {
      this.#again = false;
      try {
        const history = historyIn(await this.#options.info());
        if (history === this.#history) return;
        progress.history = history;
        await this.#putBack(beganMonoMs - spool.windowMs, progress);
        // A reconnection meanwhile may have been to yet another primary.
        if (this.#again) continue;
        this.#history = history;
        this.#report(beganMonoMs, progress, 0, null);
        return;
      } catch (thrown) {
        reason = messageOf(thrown);
        if (clock.monoMs() - beganMonoMs > spool.windowMs) break;
        await sleep(clock, RETRY_AFTER_MS, signal);
      }
    }
    if (signal.aborted) return;
    this.#history = progress.history ?? this.#history;
    this.#report(beganMonoMs, progress, progress.missing, reason);
  }

  #report(
    beganMonoMs: number,
    { acknowledged, replayed }: { readonly acknowledged: number; readonly replayed: number },
    lost: number,
    reason: string | null,
  ): void {
    const { clock, spool, tell } = this.#options;
    const forgotten = spool.crowdedOutSince(beganMonoMs - spool.windowMs);
    const tookMs = Math.round(clock.monoMs() - beganMonoMs);
    tell({ acknowledged, replayed, lost, forgotten, tookMs, reason: lost > 0 ? reason : null });
  }

  async #putBack(
    sinceMonoMs: number,
    progress: { acknowledged: number; replayed: number; missing: number },
  ): Promise<void> {
    const tasks = this.#options.spool.since(sinceMonoMs);
    progress.acknowledged = tasks.length;
    const missing = new Map<string, SpooledTask>();
    const byId = new Map(tasks.map((task) => [task.id, task]));
    const ids = [...byId.keys()];
    for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
      for (const id of await this.#options.absent(ids.slice(at, at + IDS_AT_ONCE))) {
        const task = byId.get(id);
        if (task !== undefined) missing.set(id, task);
      }
    }
    progress.missing = missing.size;
    if (missing.size > 0) await this.#strikeOutLogged(missing);
    progress.missing = missing.size;
    for (const batch of batchesOf([...missing.values()])) {
      const told = await this.#options.restore(batch);
      progress.replayed += told.filter((word) => word === "r" || word === "s").length;
      progress.missing -= batch.length;
    }
  }

  /** A task that is in the log was here: whatever became of it since, it is not to come back. */
  async #strikeOutLogged(missing: Map<string, SpooledTask>): Promise<void> {
    const oldestMs = Math.min(...[...missing.keys()].map(timeOf)) - APART_MS;
    let before = "";
    for (let segments = 0; segments < MAX_SEGMENTS && before !== "0"; segments += SEGMENTS_AT_ONCE) {
      const [next = "0", ...texts] = await this.#options.logged(before, SEGMENTS_AT_ONCE);
      let newestMs = Number.NEGATIVE_INFINITY;
      for (const text of texts) {
        for (let at = 0; at + ID_CHARS <= text.length; at += ID_CHARS) {
          const id = text.slice(at, at + ID_CHARS);
          missing.delete(id);
          if (id[0] !== "-") newestMs = Math.max(newestMs, timeOf(id));
        }
      }
      if (missing.size === 0 || (texts.length > 0 && newestMs < oldestMs)) return;
      before = next;
    }
  }
}

/** A server's run and the history it writes: both are new after a promotion, and after a restart. */
function historyIn(info: string): string {
  const of = (name: string) => new RegExp(`^${name}:(\\w+)`, "m").exec(info)?.[1];
  const [run, replication] = [of("run_id"), of("master_replid")];
  if (run === undefined || replication === undefined)
    throw new Error("INFO does not tell which server it is");
  return `${run} ${replication}`;
}

/** When an id was made, in milliseconds since the epoch. */
function timeOf(id: string): number {
  let ms = 0;
  for (let at = 0; at < TIME_CHARS; at++) ms = ms * 32 + Math.max(0, CROCKFORD.indexOf(id[at] ?? ""));
  return ms;
}

function* batchesOf(tasks: readonly SpooledTask[]): Generator<readonly SpooledTask[]> {
  let batch: SpooledTask[] = [];
  let chars = 0;
  for (const task of tasks) {
    const size = task.head.length + task.what.length;
    if (batch.length >= RESTORED_AT_ONCE || (batch.length > 0 && chars + size > RESTORED_CHARS_AT_ONCE)) {
      yield batch;
      batch = [];
      chars = 0;
    }
    batch.push(task);
    chars += size;
  }
  if (batch.length > 0) yield batch;
}
