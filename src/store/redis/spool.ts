/** The latest tasks that this process had acknowledged, in memory, for the case that a new primary never had them. */

/** A task as enqueue.lua is given it: its id with its head, and what it is. */
export interface SpooledTask {
  readonly id: string;
  readonly head: string;
  readonly what: string;
}

/** One acknowledged call: what it was sent as, and what it was told; held by reference. */
interface Call {
  readonly args: readonly (string | number)[];
  readonly reply: readonly string[];
  readonly bytes: number;
  readonly atMonoMs: number;
}

/** Past these the oldest go before their time. */
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_CALLS = 100_000;
/** Cancelled tasks and purged queues that are remembered; past it, none of those before. */
const MAX_WITHDRAWN = 10_000;
/** Emptied places at the front of the list that are worth moving the rest for. */
const MIN_COMPACTED = 1_024;

const ID_CHARS = 26;
/** Arguments before the first task: skew, channel, whether queues are made by use. */
const FIRST_TASK = 3;

export class Spool {
  readonly #windowMs: number;
  #calls: Call[] = [];
  #head = 0;
  #bytes = 0;
  /** Tasks that went before their time, and when the latest of these was acknowledged. */
  #crowdedOut = 0;
  #crowdedUntilMonoMs = Number.NEGATIVE_INFINITY;
  /** What is not to come back: ids of cancelled tasks, and queues up to the time they were purged. */
  readonly #cancelled = new Set<string>();
  readonly #purged = new Map<string, number>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get windowMs(): number {
    return this.#windowMs;
  }

  /** Keeps a call that was acknowledged just now; `bytes` is about what its tasks take. */
  keep(args: readonly (string | number)[], reply: readonly string[], bytes: number, nowMonoMs: number): void {
    this.#calls.push({ args, reply, bytes, atMonoMs: nowMonoMs });
    this.#bytes += bytes;
    this.#dropOld(nowMonoMs);
  }

  /** A task was cancelled: it does not come back. */
  cancelled(id: string): void {
    if (this.#cancelled.size >= MAX_WITHDRAWN) this.#cancelled.clear();
    this.#cancelled.add(id);
  }

  /** A queue was purged: what was acknowledged for it until now does not come back. */
  purged(queue: string, nowMonoMs: number): void {
    if (this.#purged.size >= MAX_WITHDRAWN) this.#purged.clear();
    this.#purged.set(queue, nowMonoMs);
  }

  /** The tasks acknowledged since a time, oldest first. */
  since(monoMs: number): SpooledTask[] {
    const tasks: SpooledTask[] = [];
    for (let at = this.#head; at < this.#calls.length; at++) {
      const call = this.#calls[at];
      if (call === undefined || call.atMonoMs < monoMs) continue;
      for (const task of tasksOf(call)) if (!this.#isWithdrawn(task, call.atMonoMs)) tasks.push(task);
    }
    return tasks;
  }

  /** How many acknowledged since a time went before their time, at most. */
  crowdedOutSince(monoMs: number): number {
    return this.#crowdedUntilMonoMs < monoMs ? 0 : this.#crowdedOut;
  }

  #dropOld(nowMonoMs: number): void {
    const oldestMonoMs = nowMonoMs - this.#windowMs;
    for (let first = this.#calls[this.#head]; first !== undefined; first = this.#calls[this.#head]) {
      const isOld = first.atMonoMs < oldestMonoMs;
      const isTooMuch = this.#bytes > MAX_BYTES || this.#calls.length - this.#head > MAX_CALLS;
      if (!isOld && !isTooMuch) break;
      if (!isOld) {
        if (this.#crowdedUntilMonoMs < oldestMonoMs) this.#crowdedOut = 0;
        this.#crowdedOut += tasksOf(first).length;
        this.#crowdedUntilMonoMs = first.atMonoMs;
      }
      this.#bytes -= first.bytes;
      this.#head += 1;
    }
    if (this.#head < MIN_COMPACTED || this.#head * 2 < this.#calls.length) return;
    this.#calls = this.#calls.slice(this.#head);
    this.#head = 0;
  }

  #isWithdrawn({ id, head }: SpooledTask, atMonoMs: number): boolean {
    if (this.#cancelled.has(id)) return true;
    if (this.#purged.size === 0) return false;
    // "rank/queue/client,…" follows the id.
    const queue = head.slice(ID_CHARS + 2, head.indexOf("/", ID_CHARS + 2));
    return (this.#purged.get(queue) ?? Number.NEGATIVE_INFINITY) >= atMonoMs;
  }
}

/** A delay counts from the first acceptance, not from the second. */
function withTime(head: string, acceptedAtMs: number): string {
  return head.replace(
    /^([^,]*),\+(\w+)/,
    (_, lane: string, delay: string) => `${lane},${(acceptedAtMs + Number.parseInt(delay, 36)).toString(36)}`,
  );
}

/** The tasks of a call that were accepted. */
function tasksOf({ args, reply }: Call): SpooledTask[] {
  const tasks: SpooledTask[] = [];
  for (let at = FIRST_TASK, nth = 1; at + 1 < args.length; at += 2, nth++) {
    const told = reply[nth];
    if (told !== "r" && told !== "s") continue;
    const head = withTime(String(args[at]), Number(reply[0]));
    tasks.push({ id: head.slice(0, ID_CHARS), head, what: String(args[at + 1]) });
  }
  return tasks;
}
