/** Deliberate faults, one line each: whatever watches the program must find every one of them. */

export interface Mutation {
  readonly name: string;
  /** Relative to the root; `find` stands in it exactly once. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const SQLITE = "src/store/sqlite";

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "settling skips the fence",
    file: `${SQLITE}/settlements.ts`,
    find: `if (row === undefined || row.lease_ms === null || row.fence !== lease.fence) return "stale";`,
    replace: `if (row === undefined || row.lease_ms === null) return "stale";`,
  },
  {
    name: "extending accepts a stale lease",
    file: `${SQLITE}/settlements.ts`,
    find: `if (row === undefined || row.lease_ms === null || row.fence !== lease.fence)\n      return { ...lease`,
    replace: `if (row === undefined || row.lease_ms === null)\n      return { ...lease`,
  },
  {
    name: "a fence does not grow",
    file: `${SQLITE}/claims.ts`,
    find: "const fence = Math.max(row.fence + 1, nowMs);",
    replace: "const fence = Math.max(row.fence, nowMs - (nowMs % 1_000));",
  },
  {
    name: "a client's slot is not given back",
    file: `${SQLITE}/lanes.ts`,
    find: `this.flows.giveBack(this.flows.get("client", lane.client));`,
    replace: "",
  },
  {
    name: "a queue's slot is not given back",
    file: `${SQLITE}/lanes.ts`,
    find: `this.flows.giveBack(this.flows.get("queue", lane.queue));`,
    replace: "",
  },
  {
    name: "a batch's last task is dropped",
    file: `${SQLITE}/accept.ts`,
    find: "this.#insert(lanes, task, seq, dueMs, nowMs, scopes);",
    replace:
      "if (tasks.length === 1 || task !== tasks.at(-1)) this.#insert(lanes, task, seq, dueMs, nowMs, scopes);",
  },
  {
    name: "due tasks are promoted early",
    file: `${SQLITE}/promotions.ts`,
    find: "this.#statements.due.all(nowMs, limit)",
    replace: "this.#statements.due.all(nowMs + 300, limit)",
  },
  {
    name: "due tasks are promoted late",
    file: `${SQLITE}/promotions.ts`,
    find: "this.#statements.due.all(nowMs, limit)",
    replace: "this.#statements.due.all(nowMs - 300, limit)",
  },
  {
    name: "parked lanes never go on",
    file: `${SQLITE}/lanes.ts`,
    find: "if (room > 0 && !isPull) this.#unpark(flow, Math.min(room, Math.max(1, freed)));",
    replace: "",
  },
  {
    name: "only lanes that wait for a queue go on",
    file: `${SQLITE}/lanes.ts`,
    find: "if (room > 0 && !isPull) this.#unpark",
    replace: `if (room > 0 && !isPull && flow.kind === "queue") this.#unpark`,
  },
  {
    name: "a rescue charges an attempt",
    file: `${SQLITE}/settlements.ts`,
    find: "const record = { attempts: row.attempts, firstAttemptMs",
    replace: "const record = { attempts: row.attempts + 1, firstAttemptMs",
  },
  {
    name: "a death keeps its ordering key",
    file: `${SQLITE}/settlements.ts`,
    find: "if (!keepsKey) this.#orderings.leave(lanes, row);",
    replace: `if (!keepsKey && state === "succeeded") this.#orderings.leave(lanes, row);`,
  },
  {
    name: "a second task of a key is handed out",
    file: `${SQLITE}/orderings.ts`,
    find: `if (holder !== null && holder !== task.seq) return "held";`,
    replace: "",
  },
  {
    name: "a task that fell due is overtaken by a later one of its key",
    file: `${SQLITE}/accept.ts`,
    find: "this.#promotions.promote(lanes, MAX_PROMOTED, nowMs);",
    replace: "nextDueMs = undefined;",
  },
  {
    name: "the store forgets the backoff",
    file: `${SQLITE}/settlements.ts`,
    find: "nowMs + verdict.afterMs,\n          record,",
    replace: "nowMs,\n          record,",
  },
  {
    name: "the policy forgets the backoff",
    file: "src/core/retry.ts",
    find: 'return { kind: "retry", afterMs: Math.max(backoff, asked), reason: outcome.error };',
    replace: 'return { kind: "retry", afterMs: asked, reason: outcome.error };',
  },
  {
    name: "one attempt too many",
    file: "src/core/retry.ts",
    find: "attempt >= retry.maxAttempts",
    replace: "attempt > retry.maxAttempts",
  },
  {
    name: "a name that is taken is accepted",
    file: `${SQLITE}/accept.ts`,
    find: "this.#duplicate(scopes, nowMs) ?? admission.refusal(task)",
    replace: "admission.refusal(task)",
  },
  {
    name: "the window of requests is off by one",
    file: `${SQLITE}/admission.ts`,
    find: "standing.used >= limit",
    replace: "standing.used > limit",
  },
  {
    name: "a follow-up is dropped",
    file: `${SQLITE}/settlements.ts`,
    find: "if (followUps !== undefined) this.#acceptance.follow",
    replace: "if (followUps !== undefined && followUps.length > 1) this.#acceptance.follow",
  },
  {
    name: "a follow-up is not asked for",
    file: "src/core/settling.ts",
    find: "return followUps.length === 0 ? settlement : { ...settlement, followUps };",
    replace: "return settlement;",
  },
  {
    name: "a cancelled task is delivered",
    file: `${SQLITE}/changes.ts`,
    find: "row.state = STATE.cancelled;\n    row.finished_ms = nowMs;",
    replace: "if (running) row.state = STATE.cancelled;\n    row.finished_ms = nowMs;",
  },
  {
    name: "counters are not decremented",
    file: `${SQLITE}/settlements.ts`,
    find: "lanes.count(lanes.get(row.lane), state, null);",
    replace: "",
  },
  {
    name: "a queue's rate costs nothing",
    file: `${SQLITE}/flows.ts`,
    find: "flow.tokens = (flow.tokens ?? 0) - n;",
    replace: "flow.tokens = flow.tokens ?? 0;",
  },
  {
    name: "a purge takes what was started over",
    file: `${SQLITE}/purges.ts`,
    find: "return this.#statements.isSpared.get(queue, row.seq) === undefined;",
    replace: "return true;",
  },
  {
    name: "a disabled client's tasks go on",
    file: `${SQLITE}/flows.ts`,
    find: "isOpen: client.enabled,",
    replace: "isOpen: true,",
  },
  {
    name: "callers of one group get each other's answers",
    file: "src/service/enqueue-group.ts",
    find: "results: results.slice(start, end)",
    replace: "results: results.slice(0, end - start)",
  },
  {
    name: "settlements are forgotten when the store fails",
    file: "src/worker/loop.ts",
    find: "this.#ended = [...ended, ...this.#ended];",
    replace: "",
  },
  {
    name: "a delivery begins on a lease that is over",
    file: "src/worker/loop.ts",
    find: "const isOver = clock.monoMs() - askedAtMonoMs >= leaseMs;",
    replace: "const isOver = false && clock.monoMs() - askedAtMonoMs >= leaseMs;",
  },
  {
    name: "a success that was being broken off is given back",
    file: "src/worker/settlement.ts",
    find: `if (outcome.kind === "delivered") return settlementAfter(run, outcome, judge);`,
    replace: `if (outcome.kind === "delivered" && run.brokenOff === null) return settlementAfter(run, outcome, judge);`,
  },
  {
    name: "a poisonous task gets another worker",
    file: "src/core/retry.ts",
    find: "if (crashes < MAX_CRASHES) return null;",
    replace: "if (crashes <= MAX_CRASHES) return null;",
  },
  {
    name: "workers take what is for consumers",
    file: `${SQLITE}/lanes.ts`,
    find: `if (this.flows.isPull(lane.queue)) this.park(lane, this.flows.get("queue", lane.queue));`,
    replace: "",
  },
  {
    name: "a lost lease is told to be acknowledged",
    file: "src/service/pull.ts",
    find: `status: result === "stale" ? "lost" : done`,
    replace: "status: done",
  },
];
