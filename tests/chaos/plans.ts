/** The mix of tasks that a chaos run hands in, and the limits that some of them meet. */

import type { Plan, TaskKind } from "./history.ts";

/** Tasks of this client that run at once, at most. */
export const NARROW_AT_ONCE = 4;
/** The same of this queue. */
export const THIN_AT_ONCE = 3;
/** Tasks of the paced queue that begin in a second, and at once after a rest. */
export const PACED_PER_SEC = 8;
export const PACED_BURST = 8;
/** Requests of the metered client in any minute. */
export const METERED_PER_MINUTE = 120;
/** Clients and queues of tasks that meet no limit. */
const WIDE_CLIENTS = ["wide-1", "wide-2", "wide-3", "wide-4"] as const;
const WIDE_QUEUES = ["main", "side", "default"] as const;
export const ORDERING_KEYS = ["key-1", "key-2", "key-3", "key-4", "key-5", "key-6"] as const;
const PRIORITIES = ["critical", "high", "normal", "low"] as const;

/** Enough for a target that fails for all of a fault. */
const ATTEMPTS = 50;
const DOOMED_ATTEMPTS = 2;

/** How many tasks a second there are of each kind; the plain ones take what is left of the rate. */
const PER_SEC: readonly (readonly [TaskKind, number])[] = [
  ["delayed", 10],
  ["failing", 6],
  ["doomed", 0.5],
  ["slow", 2],
  ["narrow", 12],
  ["thin", 10],
  ["paced", 5],
  ["metered", 4],
];

export class Planner {
  readonly #random: () => number;
  readonly #perSec: number;
  #next = 1;

  /** `perSec` is the rate of all tasks that {@link next} is asked for. */
  constructor(random: () => number, perSec: number) {
    this.#random = random;
    this.#perSec = perSec;
  }

  next(): Plan {
    let share = this.#random() * this.#perSec;
    for (const [kind, perSec] of PER_SEC) {
      share -= perSec;
      if (share < 0) return this.of(kind);
    }
    return this.of("plain");
  }

  of(kind: TaskKind, key: string | null = null, place = 0): Plan {
    return {
      n: this.#next++,
      kind,
      client: kind === "narrow" || kind === "metered" ? kind : this.#one(WIDE_CLIENTS),
      queue: kind === "thin" || kind === "paced" ? kind : key === null ? this.#one(WIDE_QUEUES) : "main",
      priority: key === null ? this.#one(PRIORITIES) : "normal",
      delayMs: kind === "delayed" ? 1_000 + Math.floor(this.#random() * 5_000) : 0,
      fails: this.#failsOf(kind),
      attempts: kind === "doomed" ? DOOMED_ATTEMPTS : ATTEMPTS,
      answerMs: this.#answerMsOf(kind),
      key,
      place,
      named: this.#random() < 0.1,
    };
  }

  #failsOf(kind: TaskKind): number {
    if (kind === "failing") return 1 + Math.floor(this.#random() * 2);
    return kind === "doomed" ? DOOMED_ATTEMPTS : 0;
  }

  #answerMsOf(kind: TaskKind): number {
    // Some take longer than a lease, which is then to be renewed.
    if (kind === "slow") return 500 + Math.floor(this.#random() * 4_000);
    if (kind === "narrow" || kind === "thin") return 20 + Math.floor(this.#random() * 100);
    return Math.floor(this.#random() * 30);
  }

  #one<T>(list: readonly [T, ...T[]]): T {
    return list[Math.floor(this.#random() * list.length)] ?? list[0];
  }
}

/** A task as the API takes it. The target goes by its URL alone. */
export function taskBody(plan: Plan, targets: { readonly steady: string; readonly flaky: string }): object {
  const base = plan.fails > 0 ? targets.flaky : targets.steady;
  const told = { n: plan.n, c: plan.client, q: plan.queue, f: plan.fails, ms: plan.answerMs };
  const query = Object.entries(told).map(([name, value]) => `${name}=${value}`);
  return {
    client_id: plan.client,
    queue: plan.queue,
    priority: plan.priority,
    task: { url: `${base}/t?${query.join("&")}`, body: { n: plan.n }, timeout_sec: 10 },
    retry: { max_attempts: plan.attempts, min_backoff_sec: 0.2, max_backoff_sec: 2 },
    ...(plan.delayMs > 0 && { delay: plan.delayMs / 1_000 }),
    ...(plan.key !== null && { ordering_key: plan.key }),
    ...(plan.named && { name: nameOf(plan) }),
  };
}

/** What the task is known by: its name, or the idempotency key of the request. */
export function nameOf({ n }: Plan): string {
  return `chaos-${n}`;
}
