/** A worker's turn: settlements in, claimed tasks out, and none of either lost when an answer is. */

import type { ClientRules } from "../../core/client.ts";
import type { Queue } from "../../core/queue.ts";
import type { Claim, ClaimedTask, ClaimRequest, Settlement, SettleResult } from "../../core/store.ts";
import {
  CLAIMED_FIELDS,
  claimedTaskOf,
  encodeAttempt,
  encodeTask,
  parseLane,
  type ToldLane,
} from "./codec.ts";
import type { Argument, Ends, ExchangeReply } from "./scripts.ts";

/** Runs exchange.lua with the arguments after the common ones, and resolves with its reply. */
export type RunExchange = (args: readonly Argument[]) => Promise<ExchangeReply>;

const VERDICT_LETTERS = { succeeded: "k", dead: "d", retry: "t", released: "r" } as const;
const SETTLE_RESULTS: Readonly<Record<string, SettleResult>> = { s: "settled", x: "stale", c: "cancelled" };
/** Turns repeat after a number that every sum of the weights 8, 4, 2 and 1 divides; counting may start over there. */
const TURNS_CYCLE = 360_360;

/** What one exchange came to. */
export interface Exchanged {
  readonly settled: readonly SettleResult[];
  readonly claim: Claim;
}

/**
 * Exchanges of the workers of one process. One whose answer was lost, with its connection or in a failover, may
 * have leased tasks that nobody knows of: the next one asks for that answer first.
 */
export class Exchanges {
  readonly #run: RunExchange;
  readonly #ends: Ends;
  /** Tokens of exchanges whose answer is not known, by worker. */
  readonly #unanswered = new Map<string, string>();
  readonly #origin: string;
  readonly #onLeaseEnd: (inMs: number) => void;
  #count = 0;
  #turns = 0;

  /**
   * `ends` are the milliseconds that names stay taken, succeeded tasks are kept, and dead ones are kept.
   * `onLeaseEnd` is told after each exchange how long no lease can run out.
   */
  constructor(run: RunExchange, ends: Ends, origin: string, onLeaseEnd: (inMs: number) => void) {
    this.#run = run;
    this.#onLeaseEnd = onLeaseEnd;
    this.#ends = ends;
    this.#origin = origin;
  }

  /** Settles without claiming. */
  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (settlements.length === 0) return [];
    return (await this.#send("", "", settlements, 0, 0, "")).settled;
  }

  async settleAndClaim(settlements: readonly Settlement[], request: ClaimRequest): Promise<Exchanged> {
    const { worker, limit, leaseMs, queue } = request;
    // Consumers have any names; what one of them did not hear of waits for the end of its lease.
    if (queue !== undefined) return this.#send(worker, "", settlements, limit, leaseMs, queue);
    const lost = this.#unanswered.get(worker);
    if (lost !== undefined) {
      // Settled first: a failure after that repeats settlements, which is harmless, and still knows the token.
      const settled = await this.settle(settlements);
      const { claim } = await this.#send(worker, lost, [], 0, leaseMs, "");
      this.#unanswered.delete(worker);
      return {
        settled,
        claim: claim.tasks.length > 0 ? claim : (await this.settleAndClaim([], request)).claim,
      };
    }
    this.#count += 1;
    const token = `${this.#origin}.${this.#count.toString(36)}`;
    try {
      return await this.#send(worker, token, settlements, limit, leaseMs, "");
    } catch (thrown) {
      this.#unanswered.set(worker, token);
      throw thrown;
    }
  }

  async #send(
    worker: string,
    token: string,
    settlements: readonly Settlement[],
    limit: number,
    leaseMs: number,
    queue: string,
  ): Promise<Exchanged> {
    const args: Argument[] = [worker, token, ...this.#ends, limit, leaseMs];
    args.push(this.#turns, queue, settlements.length);
    for (const { lease, verdict, attempt } of settlements) {
      args.push(
        lease.taskId,
        lease.fence,
        VERDICT_LETTERS[verdict.kind],
        "afterMs" in verdict ? verdict.afterMs : 0,
        "reason" in verdict ? verdict.reason : "",
        attempt === null ? "" : encodeAttempt(attempt),
      );
    }
    for (const [index, { followUps = [] }] of settlements.entries()) {
      for (const task of followUps) args.push(index + 1, ...encodeTask(task));
    }
    const [letters, next, turns, fields, laneList, now, leaseEnd, probes] = await this.#run(args);
    this.#turns = Number(turns) % TURNS_CYCLE;
    this.#onLeaseEnd(leaseEnd === "-1" ? Number.POSITIVE_INFINITY : Number(leaseEnd) - Number(now));
    const lanes = lanesOf(laneList);
    const tasks: ClaimedTask[] = [];
    const leaseUntilMs = Number(now) + leaseMs;
    for (let at = 0; at < fields.length; at += CLAIMED_FIELDS) {
      tasks.push(claimedTaskOf(fields, at, lanes, leaseUntilMs, probes));
    }
    return {
      settled: settlements.map((_, index) => SETTLE_RESULTS[letters[index] ?? ""] ?? "stale"),
      claim: { tasks, nextInMs: Number(next) < 0 ? null : Number(next) },
    };
  }
}

/** Lanes by their numbers, out of a flat list of numbers, names, rules of their queues and of their clients. */
function lanesOf(list: readonly string[]): Map<string, ToldLane> {
  const lanes = new Map<string, ToldLane>();
  for (let at = 0; at + 3 < list.length; at += 4) {
    lanes.set(list[at] ?? "", {
      ...parseLane(list[at + 1] ?? ""),
      rules: queueRules.of(list[at + 2] ?? ""),
      clientRules: clientRules.of(list[at + 3] ?? ""),
    });
  }
  return lanes;
}

const MAX_PARSED = 1_000;

/** Rules last read, by their text: most exchanges bring the same again. */
class ParsedRules<T> {
  readonly #parsed = new Map<string, T>();

  of(text: string): T | null {
    if (text === "") return null;
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const rules = JSON.parse(text) as T;
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(text, rules);
    return rules;
  }
}

const queueRules = new ParsedRules<Queue>();
const clientRules = new ParsedRules<ClientRules>();
