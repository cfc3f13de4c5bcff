/** Pull queues as consumers use them: leasing tasks, waiting for them, and telling what came of them. */

import type { Clock, Random } from "../core/clock.ts";
import type { RetryPolicy } from "../core/retry.ts";
import { type Judge, released, settlementAfter, settlementBefore } from "../core/settling.ts";
import type {
  ClaimedTask,
  ConsumerStore,
  ProducerStore,
  SettingsStore,
  Settlement,
  SettleResult,
  TaskStore,
} from "../core/store.ts";
import { acked, nacked, type Told } from "./consumer-outcomes.ts";
import { admitConsumer, type ConsumerOf, consumerName } from "./consumers.ts";
import { heldTasks } from "./held-leases.ts";
import { leaseToken } from "./lease-token.ts";
import { type Look, Polls } from "./polls.ts";
import {
  type AckRequest,
  DEFAULT_LEASE_SEC,
  type ExtendRequest,
  type LeaseRequest,
  type LeaseResult,
  type NackRequest,
} from "./pull-request.ts";

export interface PullServiceOptions {
  readonly store: Pick<ConsumerStore, "claim" | "settle" | "extend" | "rescue"> &
    Pick<ProducerStore, "get"> &
    Pick<SettingsStore, "read"> &
    Pick<TaskStore, "onHint">;
  readonly clock: Clock;
  readonly random: Random;
  /** Ids of the tasks that follow one that ended. */
  readonly newId: (nowMs: number) => string;
  /** Of tasks that say nothing of their retries, in queues that do not either. */
  readonly retry: RetryPolicy;
  /** Requests that wait for tasks at once, at most. */
  readonly maxPolls?: number;
  /** Told of every settlement and what the store made of it; nobody unless given. */
  readonly onSettled?: (task: ClaimedTask, settlement: Settlement, result: SettleResult) => void;
}

/** A task in the hands of a consumer. */
export interface Leased {
  readonly task: ClaimedTask;
  readonly lease: string;
}

/** Enough for a large fleet; each is a connection that is held. */
const MAX_POLLS = 1_000;
/** Leases that ran out are taken back at most so often here: workers do it too, but there may be none. */
const RESCUE_EVERY_MS = 5_000;
const RESCUE_LIMIT = 100;

export class PullService {
  readonly #options: PullServiceOptions;
  readonly #polls: Polls<readonly Leased[]>;
  #rescuedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PullServiceOptions) {
    const { store, clock, maxPolls = MAX_POLLS } = options;
    this.#options = options;
    this.#polls = new Polls({ store, clock, maxPolls });
  }

  /** How many requests wait for tasks now. */
  get waiting(): number {
    return this.#polls.waiting;
  }

  /**
   * Leases tasks of a pull queue, and where there are none waits for the first. None when the time is up, or when
   * `signal` aborts: then none are kept from others either. Rejects as {@link admitConsumer} does, with
   * `overloaded` when too many wait, or as the store does.
   */
  async lease(
    queue: string,
    request: LeaseRequest,
    by: ConsumerOf,
    signal: AbortSignal,
  ): Promise<readonly Leased[]> {
    await admitConsumer(this.#options.store, by, queue);
    const worker = consumerName(by, request.consumer);
    const look = () => this.#claim(queue, request, worker, signal);
    const waitMs = (request.wait_sec ?? 0) * 1_000;
    const found =
      waitMs === 0 ? (await look()).found : await this.#polls.wait({ queue, waitMs, signal, look });
    return found ?? [];
  }

  /** Tells of tasks that are done: they have succeeded. Rejects as the store does. */
  ack({ leases }: AckRequest, by: ConsumerOf): Promise<readonly LeaseResult[]> {
    return this.#settle(leases.map(acked), by);
  }

  /** Tells of tasks that failed: their retries decide what becomes of them. Rejects as the store does. */
  nack({ leases }: NackRequest, by: ConsumerOf): Promise<readonly LeaseResult[]> {
    return this.#settle(leases.map(nacked), by);
  }

  /** Makes leases hold longer, counted from now. Rejects as the store does. */
  async extend(request: ExtendRequest, by: ConsumerOf): Promise<readonly LeaseResult[]> {
    const { leases, lease_sec: leaseSec = DEFAULT_LEASE_SEC } = request;
    const held = await this.#held(leases, by);
    const good = held.filter((one) => one !== null);
    const lost = good.length === 0 ? [] : await this.#options.store.extend(good, toMs(leaseSec));
    return leases.map((lease, at) => {
      const own = held[at];
      const loss = lost.find(({ taskId, fence }) => taskId === own?.taskId && fence === own.fence);
      if (!own || loss?.why === "stale") return { lease, status: "lost" };
      return { lease, status: loss === undefined ? "extended" : "cancelled" };
    });
  }

  /** Answers all who wait, with nothing, and lets nobody wait from now on. */
  close(): void {
    this.#polls.close();
  }

  async #claim(
    queue: string,
    { max = 1, lease_sec: leaseSec = DEFAULT_LEASE_SEC }: LeaseRequest,
    worker: string,
    signal: AbortSignal,
  ): Promise<Look<readonly Leased[]>> {
    const { store, clock } = this.#options;
    await this.#rescue();
    const claim = await store.claim({ worker, limit: max, leaseMs: toMs(leaseSec), queue });
    if (claim.tasks.length === 0) return { found: null, nextInMs: claim.nextInMs };
    if (signal.aborted) {
      const gone = claim.tasks.map((task) => released(task, "whoever asked for it had gone", "other"));
      this.#tell(claim.tasks, gone, await store.settle(gone));
      return { found: null, nextInMs: 0 };
    }
    const startedAtMs = clock.now();
    const judge = this.#judge(worker);
    const deaths: Settlement[] = [];
    const dead: ClaimedTask[] = [];
    const found: Leased[] = [];
    for (const task of claim.tasks) {
      const death = settlementBefore(task, judge);
      if (death !== null) {
        deaths.push(death);
        dead.push(task);
      } else found.push({ task, lease: leaseToken({ taskId: task.id, fence: task.fence, startedAtMs }) });
    }
    try {
      if (deaths.length > 0) this.#tell(dead, deaths, await store.settle(deaths));
    } catch (thrown) {
      // The others are leased and must not wait for that to run out; these are judged again by whoever has them next.
      if (found.length === 0) throw thrown;
    }
    return { found: found.length === 0 ? null : found, nextInMs: 0 };
  }

  async #rescue(): Promise<void> {
    const nowMs = this.#options.clock.now();
    if (Math.abs(nowMs - this.#rescuedAtMs) < RESCUE_EVERY_MS) return;
    this.#rescuedAtMs = nowMs;
    await this.#options.store.rescue(RESCUE_LIMIT);
  }

  async #settle(told: readonly Told[], by: ConsumerOf): Promise<readonly LeaseResult[]> {
    const held = await this.#held(
      told.map(({ lease }) => lease),
      by,
    );
    const settlements: Settlement[] = [];
    const tasks: ClaimedTask[] = [];
    const places = told.map(({ outcome }, at) => {
      const own = held[at];
      if (!own) return -1;
      tasks.push(own.task);
      return settlements.push(settlementAfter(own, outcome, this.#judge(own.holder))) - 1;
    });
    const results = settlements.length === 0 ? [] : await this.#options.store.settle(settlements);
    this.#tell(tasks, settlements, results);
    return told.map(({ lease, done }, at) => {
      const result = results[places[at] ?? -1] ?? "stale";
      if (result === "cancelled") return { lease, status: result };
      return { lease, status: result === "stale" ? "lost" : done };
    });
  }

  #tell(
    tasks: readonly ClaimedTask[],
    settlements: readonly Settlement[],
    results: readonly SettleResult[],
  ): void {
    const { onSettled } = this.#options;
    if (onSettled === undefined) return;
    for (const [at, settlement] of settlements.entries()) {
      const task = tasks[at];
      if (task !== undefined) onSettled(task, settlement, results[at] ?? "stale");
    }
  }

  #held(leases: readonly string[], by: ConsumerOf) {
    const { store, clock } = this.#options;
    return heldTasks(store, leases, by, clock.now());
  }

  #judge(worker: string): Judge {
    const { retry, random, clock, newId } = this.#options;
    return { worker, retry, random: random(), nowMs: clock.now(), newId };
  }
}

function toMs(sec: number): number {
  return Math.round(sec * 1_000);
}
