/** The targets and the transport to them: they answer, fail, hang or are dead for a while, and watch who calls them how often. */

import type { ClaimedTask, Settlement, SettleResult } from "../../src/core/store.ts";
import { MAX_CRASHES } from "../../src/core/task.ts";
import type { Delivery, Outcome, Transport } from "../../src/core/transport.ts";
import { isConsumer } from "../../src/service/consumers.ts";
import { problemOfFailure, problemOfFollowers } from "./expectations.ts";
import type { Journal } from "./journal.ts";
import type { SimNode } from "./node.ts";
import { short } from "./observe.ts";
import type { Chance } from "./random.ts";
import type { Shadow } from "./shadow.ts";

export const HOSTS = ["http://a.sim", "http://b.sim", "http://c.sim", "http://d.sim"] as const;
/** A task whose path says so takes its worker down with it, until all faults stop. */
export const POISON = "/poison";

/** What came of a task under one lease: as a target answered a worker, or as a consumer tells it. */
interface Run {
  readonly outcome: Outcome | null;
  /** Whether the answer came so long after the worker broke it off that it may have given up waiting. */
  readonly isTooLate: boolean;
}

interface Call extends Run {
  readonly delivery: Delivery;
  readonly node: SimNode;
  outcome: Outcome | null;
  isTooLate: boolean;
}

export interface TargetsOptions {
  readonly shadow: Shadow;
  readonly journal: Journal;
  readonly chance: Chance;
  readonly maxRetries: number;
  readonly onDeath: (node: SimNode) => void;
}

/** How often a target of an ordinary day does what. */
const ORDINARY = {
  ok: 60,
  slow: 12,
  failed: 8,
  later: 3,
  permanent: 3,
  timeout: 4,
  hangs: 2,
  deaf: 1,
  late: 2,
  throws: 1,
};
const MAX_LATE_MS = 3_000;
/** A worker waits at least so long for a transport to let go of what was broken off; one that stops, so long. */
const LET_GO_MS = 10_000;
const STOP_LET_GO_MS = 1_000;

export class Targets {
  readonly dead = new Set<string>();
  readonly #options: TargetsOptions;
  readonly #runs = new Map<string, Run>();
  readonly #active = new Set<Call>();
  /** Until when each lease was first given, on the monotonic clock. */
  readonly #leases = new Map<string, number>();
  readonly #settled = new Set<string>();
  #behaved = false;

  constructor(options: TargetsOptions) {
    this.#options = options;
  }

  get delivered(): number {
    return this.#runs.size;
  }

  /** From now on every target answers at once, and well. */
  behave(): void {
    this.#behaved = true;
    this.dead.clear();
  }

  /** The transport as one worker has it. */
  from(node: SimNode): Transport {
    return {
      name: "simulated",
      schemes: ["http:"],
      check: () => [],
      deliver: (delivery, signal) => this.#deliver(node, delivery, signal),
      close: async () => {},
    };
  }

  /** Leases were given; a call that begins once one is over by the worker's own reckoning should not have begun. */
  handedOut(tasks: readonly ClaimedTask[], untilMonoMs: number): void {
    for (const { id, fence } of tasks) this.#leases.set(`${id} ${fence}`, untilMonoMs);
  }

  /** A consumer is about to tell what came of a task. */
  told({ id, fence }: ClaimedTask, outcome: Outcome): void {
    this.#runs.set(`${id} ${fence}`, { outcome, isTooLate: false });
  }

  /** Whether the lease of a task ended by a settlement. */
  isSettled({ id, fence }: ClaimedTask): boolean {
    return this.#settled.has(`${id} ${fence}`);
  }

  /** A worker settles what the model has yet to be told of: what it says must be what it was answered. */
  settled(settlements: readonly Settlement[], results: readonly SettleResult[]): void {
    for (const [at, settlement] of settlements.entries()) {
      const { lease, verdict, attempt } = settlement;
      const { shadow } = this.#options;
      const { claimed, worker, settingsChanges } = shadow.tasks.get(lease.taskId)?.lease ?? {};
      if (results[at] !== "settled" || claimed?.fence !== lease.fence) continue;
      this.#settled.add(`${lease.taskId} ${lease.fence}`);
      // A consumer's word is judged by the rules as they are by then.
      if (isConsumer(worker ?? "") && settingsChanges !== shadow.limits.changes) continue;
      const problem = this.#problemOf(settlement, claimed);
      if (problem !== null)
        this.#options.journal.broken(
          `${lease.taskId} #${lease.fence} ${verdict.kind} (${attempt?.error ?? ""}): ${problem}`,
        );
    }
  }

  #problemOf(settlement: Settlement, claimed: ClaimedTask): string | null {
    const { lease, verdict, attempt } = settlement;
    const following = problemOfFollowers(claimed, settlement);
    if (following !== null) return following;
    const run = this.#runs.get(`${lease.taskId} ${lease.fence}`);
    if (run === undefined) {
      // A queue that is for workers by now: they cannot call it, and say so.
      if (claimed.target.url === "")
        return verdict.kind === "succeeded" ? "it has nothing to be delivered to" : null;
      if (attempt !== null) return "an attempt is charged that was never made";
      if (verdict.kind === "released") return null;
      return verdict.kind === "dead" && claimed.crashes >= MAX_CRASHES ? null : "it was never delivered";
    }
    if (claimed.crashes >= MAX_CRASHES)
      return `it was delivered after ${claimed.crashes} workers had died with it`;
    const { outcome } = run;
    if (run.isTooLate) return null;
    if (outcome?.kind === "delivered") {
      return verdict.kind === "succeeded" && attempt !== null ? null : "it was delivered";
    }
    if (verdict.kind === "succeeded") return "it was not delivered";
    if (verdict.kind === "released") return attempt === null ? null : "a release is charged";
    // Broken off because it overran, or a transport that broke its contract: the worker's own judgement.
    if (outcome?.kind !== "failed") return attempt === null ? "nothing was charged" : null;
    return problemOfFailure(claimed, settlement, outcome, this.#options.maxRetries);
  }

  async #deliver(node: SimNode, delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
    const { journal } = this.#options;
    const { taskId, fence } = delivery;
    const name = `${taskId} ${fence}`;
    const call: Call = { delivery, node, outcome: null, isTooLate: false };
    let abortedMs = Number.POSITIVE_INFINITY;
    signal.addEventListener("abort", () => {
      abortedMs = node.clock.monoMs();
    });
    if (this.#runs.has(name)) journal.broken(`${taskId} is delivered twice with fence ${fence}`);
    this.#runs.set(name, call);
    this.#active.add(call);
    this.#checkCall(node, delivery);
    this.#checkRunning();
    try {
      call.outcome = await this.#answer(node, delivery, signal);
      call.isTooLate = node.clock.monoMs() - abortedMs >= (node.isStopping ? STOP_LET_GO_MS : LET_GO_MS);
      journal.write(node.name, `target ${short(taskId)} #${fence} ${call.outcome.kind}`);
      return call.outcome;
    } finally {
      this.#active.delete(call);
    }
  }

  #checkCall(node: SimNode, { taskId, fence, attempt }: Delivery): void {
    const { shadow, journal } = this.#options;
    const task = shadow.tasks.get(taskId);
    if ((this.#leases.get(`${taskId} ${fence}`) ?? 0) <= node.clock.monoMs())
      journal.broken(`${taskId} #${fence} is delivered on a lease that must be over, or was never given`);
    journal.write(node.name, `calls ${short(taskId)} #${fence} attempt ${attempt}`);
    if (task === undefined && !shadow.knew(taskId)) {
      journal.broken(`${taskId} is delivered and was never taken`);
      return;
    }
    if (task === undefined || task.fence !== fence || task.lease === null) return;
    if (task.lease.worker !== node.name)
      journal.broken(`${taskId} is delivered by ${node.name} and leased by ${task.lease.worker}`);
    if (attempt !== task.attempts + 1) journal.broken(`${taskId} is delivered as attempt ${attempt}`);
  }

  /** Calls whose leases stand are never more than the client's and the queue's leases, which are within their limits. */
  #checkRunning(): void {
    const { shadow, journal } = this.#options;
    const counts = new Map<string, number>();
    for (const { delivery, node } of this.#active) {
      const task = shadow.tasks.get(delivery.taskId);
      if (node.isDead || task === undefined || task.lease === null || task.fence !== delivery.fence) continue;
      const { clientId, queue } = task.spec;
      for (const [kind, id] of [
        ["client", clientId],
        ["queue", queue],
      ] as const) {
        const count = (counts.get(`${kind} ${id}`) ?? 0) + 1;
        counts.set(`${kind} ${id}`, count);
        const leased = shadow.limits.running(kind, id);
        if (count > leased) journal.broken(`${count} calls of ${kind} ${id} with ${leased} leases`);
      }
    }
  }

  #answer(node: SimNode, { target, timeoutMs }: Delivery, signal: AbortSignal): Promise<Outcome> {
    const { chance, onDeath } = this.#options;
    const { clock } = node;
    if (!this.#behaved && target.url.endsWith(POISON)) {
      onDeath(node);
      return new Promise(() => {});
    }
    const host = HOSTS.find((name) => target.url.startsWith(name)) ?? "";
    const manner = this.#behaved ? "ok" : this.dead.has(host) ? "dead" : chance.weighted(ORDINARY);
    const after = (delayMs: number, outcome: Outcome, isDeaf = false) =>
      new Promise<Outcome>((resolve) => {
        const finish = (how: Outcome) => {
          cancel();
          signal.removeEventListener("abort", aborted);
          resolve(how);
        };
        const aborted = () => finish(BROKEN_OFF);
        const cancel = clock.after(delayMs, () => finish(outcome));
        if (isDeaf) return;
        if (signal.aborted) aborted();
        else signal.addEventListener("abort", aborted, { once: true });
      });
    switch (manner) {
      case "ok":
        return after(chance.whole(0, 50), OK);
      case "slow":
        return after(chance.whole(50, timeoutMs), OK);
      case "failed":
        return after(chance.whole(0, 500), failed(500));
      case "later":
        return after(chance.whole(0, 100), {
          ...failed(429),
          hostAtFault: false,
          retryAfterMs: chance.whole(0, 9_000),
        });
      case "permanent":
        return after(chance.whole(0, 100), { ...failed(400), hostAtFault: false, permanent: true });
      case "timeout":
        return after(timeoutMs, failed(null));
      case "dead":
        return after(chance.whole(0, 5), failed(null));
      case "hangs":
        return after(Number.MAX_SAFE_INTEGER, OK);
      case "deaf":
        return after(timeoutMs + chance.whole(1, 30_000), OK, true);
      case "late":
        return after(timeoutMs + chance.whole(1, MAX_LATE_MS), OK);
      case "throws":
        return Promise.reject(new Error("a transport that breaks its contract"));
    }
  }
}

const OK: Outcome = { kind: "delivered", status: 200, responseExcerpt: null };
const BROKEN_OFF: Outcome = { kind: "deferred", afterMs: 0, reason: "broken off" };

const failed = (status: number | null) =>
  ({
    kind: "failed",
    status,
    error: status === null ? "no answer" : `answered ${status}`,
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: true,
  }) as const;
