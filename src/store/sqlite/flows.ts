/** What clients and queues use and may use: tasks running, a queue's tokens, and how many lanes wait for either. */

import { burstOf } from "../../core/queue.ts";
import type { Database } from "./database.ts";
import type { RuleSet } from "./rules.ts";

export type FlowKind = "client" | "queue";

/** The use of one client or one queue, as it is stored. */
interface FlowRow {
  running: number;
  parked: number;
  tokens: number | null;
  tokens_ms: number | null;
  next_ms: number | null;
}

/** How much a client or a queue may use. */
interface Gate {
  /** Whether tasks may begin in this transaction: those of a pull queue only where they are asked for by its name. */
  readonly isOpen: boolean;
  /** Whether tasks may begin in any. */
  readonly isRunning: boolean;
  readonly maxRunning: number;
  /** Tokens a millisecond; null for no rate. */
  readonly ratePerMs: number | null;
}

/** One client or queue within a transaction. */
export interface Flow extends FlowRow {
  readonly kind: FlowKind;
  readonly id: string;
  /** As it is in the table; null when it is not. */
  stored: FlowRow | null;
  gate: Gate | null;
}

/** Tokens are fractions: what is missing to a whole one by rounding alone is not missed. */
const TOKEN_SLACK = 1e-6;
/** Queues whose next token has come that one claim sees to; the others are seen to by the next. */
const MAX_DUE = 100;

function prepareAll(db: Database) {
  return {
    read: db.prepare<FlowRow>(
      "SELECT running, parked, tokens, tokens_ms, next_ms FROM flows WHERE kind = ? AND id = ?",
    ),
    add: db.prepare(
      "INSERT INTO flows (running, parked, tokens, tokens_ms, next_ms, kind, id) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    write: db.prepare(
      `UPDATE flows SET running = ?, parked = ?, tokens = ?, tokens_ms = ?, next_ms = ?
       WHERE kind = ? AND id = ?`,
    ),
    remove: db.prepare("DELETE FROM flows WHERE kind = ? AND id = ?"),
    due: db.prepare<{ id: string }>(
      "SELECT id FROM flows WHERE next_ms IS NOT NULL AND next_ms <= ? ORDER BY next_ms LIMIT ?",
    ),
    next: db.prepare<{ next_ms: number }>(
      "SELECT next_ms FROM flows WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT 1",
    ),
  };
}

/** Makes the {@link FlowSet} of each transaction; holds the prepared statements. */
export class Flows {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  begin(rules: RuleSet, nowMs: number): FlowSet {
    return new FlowSet(this.#statements, rules, nowMs);
  }
}

/** The clients and queues that one transaction touches: each is read once, changed in memory, and written once. */
export class FlowSet {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #rules: RuleSet;
  readonly #nowMs: number;
  readonly #known = { client: new Map<string, Flow>(), queue: new Map<string, Flow>() };
  readonly #dirty = new Set<Flow>();
  #touched = new Map<Flow, number>();
  #pulledFrom: string | null = null;

  constructor(statements: ReturnType<typeof prepareAll>, rules: RuleSet, nowMs: number) {
    this.#statements = statements;
    this.#rules = rules;
    this.#nowMs = nowMs;
  }

  get(kind: FlowKind, id: string): Flow {
    const known = this.#known[kind].get(id);
    if (known !== undefined) return known;
    const row = this.#statements.read.get(kind, id);
    const flow: Flow = {
      kind,
      id,
      running: row?.running ?? 0,
      parked: row?.parked ?? 0,
      tokens: row?.tokens ?? null,
      tokens_ms: row?.tokens_ms ?? null,
      next_ms: row?.next_ms ?? null,
      stored: row ?? null,
      gate: null,
    };
    this.#known[kind].set(id, flow);
    return flow;
  }

  /** Opens a pull queue for this transaction, in which tasks are taken from it by its name. */
  pullFrom(queue: string): Flow {
    this.#pulledFrom = queue;
    const flow = this.get("queue", queue);
    flow.gate = null;
    return flow;
  }

  /** Whether a queue's lanes wait to be asked for, and stand in no ring. */
  isPull(queue: string): boolean {
    return this.#rules.queue(queue).mode === "pull";
  }

  /** How many tasks may begin now; Infinity where nothing limits them. */
  room(flow: Flow): number {
    const { isOpen, maxRunning, ratePerMs } = this.#gate(flow);
    if (!isOpen) return 0;
    const slots = Math.max(0, maxRunning - flow.running);
    return ratePerMs === null ? slots : Math.min(slots, Math.floor((flow.tokens ?? 0) + TOKEN_SLACK));
  }

  /** `n` tasks begin. */
  take(flow: Flow, n: number): void {
    if (n === 0) return;
    flow.running += n;
    if (this.#gate(flow).ratePerMs !== null) flow.tokens = (flow.tokens ?? 0) - n;
    this.#dirty.add(flow);
  }

  /** A task's lease is over: its slot is free. */
  giveBack(flow: Flow): void {
    flow.running = Math.max(0, flow.running - 1);
    this.#dirty.add(flow);
    this.touch(flow, 1);
  }

  /** Counts a lane that begins (1) or ceases (-1) to wait. */
  countParked(flow: Flow, change: 1 | -1): void {
    flow.parked = Math.max(0, flow.parked + change);
    this.#dirty.add(flow);
  }

  /** Says that lanes that wait for this may perhaps go on: at least one, or as many as `freed`. */
  touch(flow: Flow, freed: number): void {
    this.#touched.set(flow, (this.#touched.get(flow) ?? 0) + freed);
  }

  /** What was touched since this was last asked, and how much was freed of each. */
  takeTouched(): ReadonlyMap<Flow, number> {
    const touched = this.#touched;
    if (touched.size > 0) this.#touched = new Map();
    return touched;
  }

  /** The queues whose parked lanes a token has come for, at most {@link MAX_DUE}. */
  due(): Flow[] {
    return this.#statements.due.all(this.#nowMs, MAX_DUE).map(({ id }) => this.get("queue", id));
  }

  /** Keeps the time at which the next token comes, while lanes wait for nothing but that. */
  planNext(flow: Flow): void {
    let nextMs = null;
    if (flow.parked > 0) {
      const { isRunning, maxRunning } = this.#gate(flow);
      if (isRunning && flow.running < maxRunning) nextMs = this.nextTokenAtMs(flow);
    }
    if (nextMs === flow.next_ms) return;
    flow.next_ms = nextMs;
    this.#dirty.add(flow);
  }

  /** When a queue's next token comes; null when there is one, or no rate. */
  nextTokenAtMs(flow: Flow): number | null {
    const { ratePerMs } = this.#gate(flow);
    if (ratePerMs === null) return null;
    const missing = 1 - (flow.tokens ?? 0);
    return missing <= TOKEN_SLACK ? null : this.#nowMs + Math.ceil(missing / ratePerMs);
  }

  /** Its settings have changed: what it has in its bucket stays, as far as the new one holds it. */
  renew(flow: Flow): void {
    flow.gate = null;
    this.#dirty.add(flow);
    this.#gate(flow);
  }

  /** How long until a parked lane's token comes; null when none is waited for. Call it after {@link flush}. */
  nextInMs(): number | null {
    const row = this.#statements.next.get();
    return row === undefined ? null : Math.max(0, row.next_ms - this.#nowMs);
  }

  /** Writes what has changed. What is not in use has no row, so those of forgotten clients do not pile up. */
  flush(): void {
    const { add, write, remove } = this.#statements;
    for (const flow of this.#dirty) {
      const { kind, id, stored, running, parked, tokens, tokens_ms, next_ms } = flow;
      if (running === 0 && parked === 0 && tokens === null) {
        if (stored !== null) remove.run(kind, id);
        flow.stored = null;
        continue;
      }
      // Where as many tasks began as ended there is nothing to write.
      if (stored !== null && isSame(stored, flow)) continue;
      (stored === null ? add : write).run(running, parked, tokens, tokens_ms, next_ms, kind, id);
      flow.stored = { running, parked, tokens, tokens_ms, next_ms };
    }
    this.#dirty.clear();
  }

  /** The limits in force; a queue's bucket is brought up to now with them. */
  #gate(flow: Flow): Gate {
    flow.gate ??= flow.kind === "client" ? this.#clientGate(flow.id) : this.#queueGate(flow);
    return flow.gate;
  }

  #clientGate(id: string): Gate {
    const client = this.#rules.client(id);
    const { maxConcurrent } = this.#rules.limits(client);
    return {
      isOpen: client.enabled,
      isRunning: client.enabled,
      maxRunning: maxConcurrent ?? Number.POSITIVE_INFINITY,
      ratePerMs: null,
    };
  }

  #queueGate(flow: Flow): Gate {
    const queue = this.#rules.queue(flow.id);
    const ratePerMs = queue.maxDispatchesPerSec === null ? null : queue.maxDispatchesPerSec / 1_000;
    if (ratePerMs === null) {
      flow.tokens = null;
      flow.tokens_ms = null;
    } else {
      // A clock that was set back must not stop the bucket from filling until it has caught up.
      const elapsedMs = Math.max(0, this.#nowMs - (flow.tokens_ms ?? this.#nowMs));
      const burst = burstOf(queue);
      flow.tokens = flow.tokens === null ? burst : Math.min(burst, flow.tokens + elapsedMs * ratePerMs);
      if ((flow.tokens_ms ?? 0) > this.#nowMs) this.#dirty.add(flow);
      flow.tokens_ms = this.#nowMs;
    }
    return {
      isOpen: !queue.paused && (queue.mode === "push" || this.#pulledFrom === flow.id),
      isRunning: !queue.paused,
      maxRunning: queue.maxConcurrent ?? Number.POSITIVE_INFINITY,
      ratePerMs,
    };
  }
}

const isSame = (a: FlowRow, b: FlowRow): boolean =>
  a.running === b.running &&
  a.parked === b.parked &&
  a.tokens === b.tokens &&
  a.tokens_ms === b.tokens_ms &&
  a.next_ms === b.next_ms;
