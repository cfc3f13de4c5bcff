/** What a process counts of its tasks, where the store has answered: so that the numbers add up, whoever asked it. */

import type { ViolationKind } from "../core/inspection.ts";
import type { ClaimedTask, EnqueueAnswer, EnqueueResult, Settlement, SettleResult } from "../core/store.ts";
import type { NewTask } from "../core/task.ts";
import { type Cause, causeOf } from "./causes.ts";
import { Capped, Counts, Spread } from "./tallies.ts";

/** The queues and clients that are told apart. */
const MAX_QUEUES = 100;
const MAX_CLIENTS = 200;
const MAX_TIERS = 50;

/** Upper bounds in seconds. */
const START_BOUNDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
];
const ATTEMPT_BOUNDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const CALL_BOUNDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];
export const LAG_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** What a task that was handed in came to. */
export type EnqueueWord =
  | "created"
  | "duplicate"
  | "rate_limited"
  | "client_disabled"
  | "queue_disabled"
  | "queue_not_found";
/** What a lease came to. */
export type OutcomeWord = "succeeded" | "retry" | "dead" | "released" | "cancelled";
type OutcomeKey = `${OutcomeWord} ${Cause}`;

/** What is counted of one queue. */
export class QueueTally {
  created = 0;
  succeeded = 0;
  leases = 0;
  followUps = 0;
  /** All but `created`. */
  readonly refused = new Counts<EnqueueWord>();
  /** All but the succeeded ones. */
  readonly outcomes = new Counts<OutcomeKey>();
  readonly startSec = new Spread(START_BOUNDS);
  readonly succeededSec = new Spread(ATTEMPT_BOUNDS);
  readonly failedSec = new Spread(ATTEMPT_BOUNDS);
}

/** What is counted of one client. */
export class ClientTally {
  readonly enqueues = new Counts<EnqueueWord>();
  readonly outcomes = new Counts<OutcomeWord>();
}

/** What is counted of one method of the store. */
export class CallTally {
  readonly sec = new Spread(CALL_BOUNDS);
  failed = 0;
}

export interface MetricsOptions {
  /** Whether clients are told apart. */
  readonly byClient: boolean;
}

/** What a worker tells. */
export interface WorkerMetrics {
  settled(task: Settled, settlement: Settlement, result: SettleResult): void;
  /** Leases that ended under a delivery: the store said so, or they must have run out. */
  leasesLost(why: "stale" | "expired", leases: number): void;
  breakerChanged(to: "open" | "closed"): void;
  /** What a whole look through the store has found broken, by kind; null where another worker looks from now on. */
  inspected(found: ReadonlyMap<ViolationKind, number> | null): void;
}

type Settled = Pick<ClaimedTask, "queue" | "clientId">;

export class Metrics implements WorkerMetrics {
  readonly queues = new Capped(MAX_QUEUES, () => new QueueTally());
  /** Null where clients are not told apart. */
  readonly clients: Capped<ClientTally> | null;
  readonly tiersLimited = new Capped(MAX_TIERS, () => ({ times: 0 }));
  readonly leasesLostBy = new Counts<"stale" | "expired">();
  readonly breakersTo = new Counts<"open" | "closed">();
  /** By method. */
  readonly storeCalls = new Map<string, CallTally>();
  readonly loopLagSec = new Spread(LAG_BOUNDS);
  /** As {@link WorkerMetrics.inspected} told it last. */
  violations: ReadonlyMap<ViolationKind, number> | null = null;
  /** Acknowledged tasks that a new primary never had: handed in again, and given up. */
  failoverReplayed = 0;
  failoverLost = 0;
  staleSettles = 0;
  rescues = 0;

  constructor({ byClient }: MetricsOptions) {
    this.clients = byClient ? new Capped(MAX_CLIENTS, () => new ClientTally()) : null;
  }

  /** Tasks that the store was handed, and what it made of each. */
  enqueued(tasks: readonly NewTask[], { results }: Pick<EnqueueAnswer, "results">): void {
    for (const [index, task] of tasks.entries()) {
      const result = results[index];
      // One that must be checked first is handed in again.
      if (result === undefined || result.kind === "unchecked") continue;
      const word = wordOf(result);
      const tally = this.queues.of(task.queue);
      if (word === "created") tally.created++;
      else tally.refused.add(word);
      if (result.kind === "limited") this.tiersLimited.of(result.tier).times++;
      this.clients?.of(task.clientId).enqueues.add(word);
    }
  }

  /** Tasks that were leased. */
  claimed(tasks: readonly ClaimedTask[], nowMs: number): void {
    for (const task of tasks) {
      const tally = this.queues.of(task.queue);
      tally.leases++;
      // One that was given back has been counted when it was leased first.
      if (task.dueMs !== null) tally.startSec.observe(Math.max(0, nowMs - task.dueMs) / 1_000);
    }
  }

  settled({ queue, clientId }: Settled, settlement: Settlement, result: SettleResult): void {
    if (result === "stale") {
      this.staleSettles++;
      return;
    }
    const { verdict, attempt, followUps } = settlement;
    const tally = this.queues.of(queue);
    const outcome = outcomeOf(verdict.kind, result);
    if (outcome === "succeeded") tally.succeeded++;
    else tally.outcomes.add(`${outcome} ${causeOf(settlement)}`);
    if (attempt !== null) {
      const spread = attempt.error === null ? tally.succeededSec : tally.failedSec;
      spread.observe(attempt.durationMs / 1_000);
    }
    if (followUps !== undefined && result === "settled") {
      for (const followUp of followUps) this.queues.of(followUp.queue).followUps++;
    }
    this.clients?.of(clientId).outcomes.add(outcome);
  }

  leasesLost(why: "stale" | "expired", leases: number): void {
    this.leasesLostBy.add(why, leases);
  }

  breakerChanged(to: "open" | "closed"): void {
    this.breakersTo.add(to);
  }

  /** Acknowledged tasks were handed in again after a promotion, and others given up. */
  replayed(replayed: number, lost: number): void {
    this.failoverReplayed += replayed;
    this.failoverLost += lost;
  }

  inspected(found: ReadonlyMap<ViolationKind, number> | null): void {
    this.violations = found;
  }

  /** A call of the store, and how long it took. */
  called(method: string, durationMs: number, failed: boolean): void {
    let tally = this.storeCalls.get(method);
    if (tally === undefined) {
      tally = new CallTally();
      this.storeCalls.set(method, tally);
    }
    tally.sec.observe(durationMs / 1_000);
    if (failed) tally.failed++;
  }
}

function wordOf(result: Exclude<EnqueueResult, { readonly kind: "unchecked" }>): EnqueueWord {
  switch (result.kind) {
    case "created":
    case "duplicate":
      return result.kind;
    case "limited":
      return "rate_limited";
    case "refused":
      return result.why;
  }
}

/** A task that was cancelled while it ran has ended already, whatever its run came to. */
function outcomeOf(verdict: Settlement["verdict"]["kind"], result: "settled" | "cancelled"): OutcomeWord {
  return result === "cancelled" ? "cancelled" : verdict;
}
