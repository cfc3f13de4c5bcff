/** The books of a failover proof: what was acknowledged, what was delivered, and why anything was delivered twice. */

import { TaskRunnerError } from "../../src/core/errors.ts";

/** Why a task may have been delivered again. */
export type Reason = "its lease ran out" | "its claim or its end was on no replica";

/** How an enqueue ended. */
export type Answer =
  | { readonly kind: "accepted"; readonly id: string }
  | { readonly kind: "refused" }
  /** What a caller should never see. */
  | { readonly kind: "odd"; readonly what: string };

/** The books of a round, closed. */
export interface RoundReport {
  readonly acknowledged: number;
  /** Acknowledged tasks that were delivered. */
  readonly delivered: number;
  /** Acknowledged and never delivered. */
  readonly lost: readonly string[];
  /** Tasks delivered more than once, by the reason there is for it. */
  readonly repeated: Readonly<Record<Reason, number>>;
  /** Delivered more than once without a reason. */
  readonly unexplained: readonly string[];
  /** Enqueues answered 503 with a time to come back after. */
  readonly refused: number;
  /** Enqueues that ended in any other way. */
  readonly odd: readonly string[];
  readonly longestRequestMs: number;
  /** From Sentinel's switch to the next acknowledgement; negative when that came first. Null without a switch. */
  readonly acceptedAgainMs: number | null;
  /** From Sentinel's switch to the next delivery; deliveries of what was claimed before the fault do not count. */
  readonly deliveredAgainMs: number | null;
  /** From the last moment at which an acknowledgement was possible to the next one. */
  readonly outageMs: number;
  /** From the end of the load until everything that was acknowledged had been delivered. */
  readonly drainedMs: number;
}

/** What was on its way when a fault came, an answer or a delivery, arrives within this time of it. */
const UNDER_WAY_MS = 200;

export class Books {
  readonly acknowledged = new Set<string>();
  /** When each task was delivered, on the monotonic clock. */
  readonly deliveries = new Map<string, number[]>();
  refused = 0;
  longestRequestMs = 0;
  readonly odd: string[] = [];
  readonly #reasons = new Map<string, Reason>();
  readonly #acceptedAt: number[] = [];
  readonly #deliveredAt: number[] = [];
  #faultAt: number | null = null;
  #goneAt: number | null = null;

  /** Keeps the answer of an enqueue that was begun at `beganAt` on the monotonic clock. */
  answered(beganAt: number, answer: Answer): void {
    const now = performance.now();
    this.longestRequestMs = Math.max(this.longestRequestMs, now - beganAt);
    if (answer.kind === "accepted") {
      this.acknowledged.add(answer.id);
      this.#acceptedAt.push(now);
    } else if (answer.kind === "refused") this.refused++;
    else this.odd.push(answer.what);
  }

  delivered(id: string): void {
    const now = performance.now();
    const times = this.deliveries.get(id);
    if (times === undefined) this.deliveries.set(id, [now]);
    else times.push(now);
    this.#deliveredAt.push(now);
  }

  /** From now on nothing can be acknowledged until the fault is over. */
  faultBegins(): void {
    this.#faultAt = performance.now();
  }

  /** From now on the primary hands out nothing, until another one does. */
  primaryGone(): void {
    this.#goneAt = performance.now();
  }

  /** A delivery of the task from now on is no surprise. */
  mayRepeat(id: string, reason: Reason): void {
    if (!this.#reasons.has(id)) this.#reasons.set(id, reason);
  }

  /** Whether the task was under way for the first time while no replica confirmed anything. */
  wasUnsafe(id: string): boolean {
    const [first] = this.deliveries.get(id) ?? [];
    if (first === undefined || this.#faultAt === null) return false;
    return first > this.#faultAt - UNDER_WAY_MS && first < this.#acceptedAgainAt();
  }

  /** Acknowledged and not delivered so far. */
  missing(): string[] {
    return [...this.acknowledged].filter((id) => !this.deliveries.has(id));
  }

  /** Delivered more than once so far. */
  repeated(): string[] {
    return [...this.deliveries].filter(([, times]) => times.length > 1).map(([id]) => id);
  }

  close(switchedAt: number | null, drainedMs: number): RoundReport {
    const lost = this.missing();
    const repeated: Record<Reason, number> = {
      "its lease ran out": 0,
      "its claim or its end was on no replica": 0,
    };
    const unexplained: string[] = [];
    for (const id of this.repeated()) {
      const reason = this.#reasons.get(id);
      if (reason === undefined) unexplained.push(id);
      else repeated[reason]++;
    }
    const faultAt = this.#faultAt ?? 0;
    const goneAt = this.#goneAt ?? faultAt;
    const acceptedAgainAt = this.#acceptedAgainAt();
    const deliveredAgainAt =
      this.#deliveredAt.find((at) => at > goneAt + UNDER_WAY_MS) ?? Number.POSITIVE_INFINITY;
    return {
      acknowledged: this.acknowledged.size,
      delivered: this.acknowledged.size - lost.length,
      lost,
      repeated,
      unexplained,
      refused: this.refused,
      odd: this.odd,
      longestRequestMs: Math.round(this.longestRequestMs),
      acceptedAgainMs: switchedAt === null ? null : Math.round(acceptedAgainAt - switchedAt),
      deliveredAgainMs: switchedAt === null ? null : Math.round(deliveredAgainAt - switchedAt),
      outageMs: Math.round(acceptedAgainAt - faultAt),
      drainedMs: Math.round(drainedMs),
    };
  }

  /** When the first enqueue after the fault was acknowledged. */
  #acceptedAgainAt(): number {
    const faultAt = this.#faultAt ?? 0;
    return this.#acceptedAt.find((at) => at > faultAt + UNDER_WAY_MS) ?? Number.POSITIVE_INFINITY;
  }
}

/** What a caller of the store may be told while it is away. */
const EXPECTED_CODES = ["store_unavailable", "durability_unavailable"];

/** The answer that a rejected enqueue stands for. */
export function answerOf(thrown: unknown): Answer {
  if (
    thrown instanceof TaskRunnerError &&
    EXPECTED_CODES.includes(thrown.code) &&
    (thrown.retryAfterSec ?? 0) > 0
  ) {
    return { kind: "refused" };
  }
  return { kind: "odd", what: String(thrown) };
}
