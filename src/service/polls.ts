/** Requests that wait for tasks: who came first is served first, and no queue is asked more often than it helps. */

import type { CancelTimer, Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import type { StoreHint } from "../core/store.ts";

/** What a look into the store came to. */
export interface Look<T> {
  /** Null when there is nothing. */
  readonly found: T | null;
  /** When there may be something at the latest; null when nothing waits for a time. */
  readonly nextInMs: number | null;
}

export interface PollRequest<T> {
  readonly queue: string;
  readonly waitMs: number;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  readonly look: () => Promise<Look<T>>;
}

export interface PollsOptions {
  readonly store: { onHint(listener: (hint: StoreHint) => void): () => void };
  readonly clock: Clock;
  /** Requests that wait at once, at most. */
  readonly maxPolls: number;
}

/** Each queue that is waited for is looked into at least this often, whatever the store's hints say. */
const LOOK_EVERY_MS = 1_000;
/** And no more often than this where nothing was found, for hints come with every task of any queue. */
const LOOK_GAP_MS = 20;

/** One request that waits. */
interface Poll<T> {
  readonly look: () => Promise<Look<T>>;
  readonly resolve: (found: T | null) => void;
  readonly reject: (reason: unknown) => void;
  /** Whether its time is up, or nobody waits for it. */
  over: boolean;
}

/** Those who wait for one queue. */
interface Line<T> {
  /** In the order in which they came. */
  readonly polls: Set<Poll<T>>;
  /** The one whose look is under way. */
  current: Poll<T> | null;
  /** Whether something came up while a look was under way. */
  again: boolean;
  cancelLook: CancelTimer;
  lastLookMonoMs: number;
}

export class Polls<T> {
  readonly #options: PollsOptions;
  readonly #lines = new Map<string, Line<T>>();
  #count = 0;
  #unsubscribe: () => void = () => {};
  #closed = false;

  constructor(options: PollsOptions) {
    this.#options = options;
  }

  /** How many requests wait now. */
  get waiting(): number {
    return this.#count;
  }

  /**
   * Looks until something is found, for as long as the request waits; null when nothing was. Rejects with `overloaded`
   * when too many wait already, or as the look does. What a look finds late is still given: it is up to the look
   * to find nothing for somebody who has gone.
   */
  async wait(request: PollRequest<T>): Promise<T | null> {
    if (this.#closed || request.signal.aborted) return null;
    if (this.#count >= this.#options.maxPolls) {
      throw new TaskRunnerError("overloaded", "Too many requests are waiting for tasks; try again shortly.", {
        retryAfterSec: 1,
      });
    }
    const line = this.#line(request.queue);
    const { promise, resolve, reject } = Promise.withResolvers<T | null>();
    const poll: Poll<T> = { look: request.look, resolve, reject, over: false };
    this.#join(line, poll);
    const end = () => this.#end(line, poll);
    const cancel = this.#options.clock.after(request.waitMs, end);
    request.signal.addEventListener("abort", end, { once: true });
    this.#lookIn(request.queue, line, 0);
    try {
      return await promise;
    } finally {
      cancel();
      request.signal.removeEventListener("abort", end);
      this.#leave(request.queue, line, poll);
    }
  }

  /** Ends every wait, and all that are asked for from now on. */
  close(): void {
    this.#closed = true;
    for (const line of this.#lines.values()) for (const poll of line.polls) this.#end(line, poll);
  }

  #line(queue: string): Line<T> {
    const known = this.#lines.get(queue);
    if (known !== undefined) return known;
    const line: Line<T> = {
      polls: new Set(),
      current: null,
      again: false,
      cancelLook: () => {},
      lastLookMonoMs: Number.NEGATIVE_INFINITY,
    };
    this.#lines.set(queue, line);
    return line;
  }

  #join(line: Line<T>, poll: Poll<T>): void {
    line.polls.add(poll);
    if (this.#count++ > 0) return;
    this.#unsubscribe = this.#options.store.onHint((hint) => {
      if (hint === "work") for (const [queue, one] of this.#lines) this.#hinted(queue, one);
    });
  }

  #leave(queue: string, line: Line<T>, poll: Poll<T>): void {
    line.polls.delete(poll);
    if (line.polls.size === 0) {
      line.cancelLook();
      this.#lines.delete(queue);
    }
    if (--this.#count === 0) this.#unsubscribe();
  }

  /** A look that is under way for the poll decides it; without one it has found nothing. */
  #end(line: Line<T>, poll: Poll<T>): void {
    poll.over = true;
    if (line.current !== poll) poll.resolve(null);
  }

  #hinted(queue: string, line: Line<T>): void {
    const sinceMs = this.#options.clock.monoMs() - line.lastLookMonoMs;
    this.#lookIn(queue, line, Math.min(Math.max(0, LOOK_GAP_MS - sinceMs), LOOK_GAP_MS));
  }

  #lookIn(queue: string, line: Line<T>, afterMs: number): void {
    if (line.current !== null) {
      line.again = true;
      return;
    }
    line.cancelLook();
    line.cancelLook = this.#options.clock.after(afterMs, () => void this.#look(queue, line));
  }

  /** Looks for one poll after the other, until there is nothing for one: then there is nothing for the others. Never rejects. */
  async #look(queue: string, line: Line<T>): Promise<void> {
    // A timer that was cancelled as it fired comes all the same.
    if (line.current !== null) return;
    line.again = false;
    let nextInMs: number | null = null;
    for (const poll of line.polls) {
      if (poll.over) continue;
      line.current = poll;
      try {
        const look = await poll.look();
        nextInMs = look.nextInMs;
        if (look.found !== null || poll.over) poll.resolve(look.found);
        if (look.found === null) break;
      } catch (thrown) {
        poll.reject(thrown);
      } finally {
        line.current = null;
      }
    }
    line.lastLookMonoMs = this.#options.clock.monoMs();
    const waitMs = line.again ? LOOK_GAP_MS : Math.max(LOOK_GAP_MS, nextInMs ?? LOOK_EVERY_MS);
    if (line.polls.size > 0 && this.#lines.get(queue) === line) {
      this.#lookIn(queue, line, Math.min(waitMs, LOOK_EVERY_MS));
    }
  }
}
