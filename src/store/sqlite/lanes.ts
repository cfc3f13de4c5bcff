/** Lanes, the waiting lines of tasks: one per queue, priority and client, changed in memory, and written once. */

import { PRIORITIES } from "../../core/priority.ts";
import type { StoredState } from "./codec.ts";
import type { Database } from "./database.ts";
import type { Flow, FlowKind, FlowSet, Flows } from "./flows.ts";
import type { RuleSet, Rules } from "./rules.ts";

/** A lane as it is stored: where it stands and how many tasks it has in each state. */
export interface Lane extends Record<StoredState, number> {
  readonly id: number;
  readonly queue: string;
  readonly rank: number;
  readonly client: string;
  /** Its place in the ring; null while it has nothing to claim, or is parked. */
  turn: number | null;
  /** What it waits for, one of {@link PARKED}. */
  parked: number;
  /** Its place among those that wait; null once it has had a whole turn since. */
  since: number | null;
  /** Tasks that are left to it of a turn that has begun. */
  credit: number;
}

/** What a lane waits for; the partial indexes in migrations.ts name these numbers. */
const PARKED = { nothing: 0, client: 1, queue: 2 } as const;
/** How the number is read back. */
const PARKED_WITH: readonly (FlowKind | null)[] = [null, "client", "queue"];

const COUNTERS = [
  "scheduled",
  "ready",
  "running",
  "retrying",
  "succeeded",
  "dead",
  "cancelled",
  "held",
  "barred",
] as const;

function prepareAll(db: Database) {
  // Every parked column has an index of its own, so each is found by a statement of its own.
  const parked = (column: FlowKind) =>
    db.prepare<Lane>(
      `SELECT * FROM lanes WHERE ${column} = ? AND rank = ? AND parked = ${PARKED[column]} ORDER BY since LIMIT ?`,
    );
  return {
    byId: db.prepare<Lane>("SELECT * FROM lanes WHERE id = ?"),
    byName: db.prepare<Lane>("SELECT * FROM lanes WHERE queue = ? AND rank = ? AND client = ?"),
    create: db.prepare<Lane>("INSERT INTO lanes (queue, rank, client) VALUES (?, ?, ?) RETURNING *"),
    write: db.prepare(
      `UPDATE lanes SET turn = ?, parked = ?, since = ?, credit = ?, ${COUNTERS.map((name) => `${name} = ?`).join(", ")}
       WHERE id = ?`,
    ),
    remove: db.prepare("DELETE FROM lanes WHERE id = ?"),
    ring: db.prepare<Lane>("SELECT * FROM lanes WHERE rank = ? AND turn IS NOT NULL ORDER BY turn LIMIT ?"),
    anyInRing: db.prepare<{ id: number }>("SELECT id FROM lanes WHERE rank = ? AND turn IS NOT NULL LIMIT 1"),
    lastTurn: db.prepare<{ turn: number | null }>(
      "SELECT max(turn) AS turn FROM lanes WHERE rank = ? AND turn IS NOT NULL",
    ),
    firstTurn: db.prepare<{ turn: number | null }>(
      "SELECT min(turn) AS turn FROM lanes WHERE rank = ? AND turn IS NOT NULL",
    ),
    parked: { client: parked("client"), queue: parked("queue") },
    ringed: db.prepare<Lane>("SELECT * FROM lanes WHERE queue = ? AND turn IS NOT NULL"),
    nextWait: db.prepare<{ value: number }>(
      "UPDATE meta SET value = value + 1 WHERE key = 'waits' RETURNING value",
    ),
  };
}

/** Makes the {@link LaneSet} of each transaction; holds the prepared statements. */
export class Lanes {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #rules: Rules;
  readonly #flows: Flows;

  constructor(db: Database, rules: Rules, flows: Flows) {
    this.#statements = prepareAll(db);
    this.#rules = rules;
    this.#flows = flows;
  }

  /** The lanes of one transaction; `finish` it before the commit. */
  begin(nowMs: number): LaneSet {
    const rules = this.#rules.begin(nowMs);
    return new LaneSet(this.#statements, rules, this.#flows.begin(rules, nowMs));
  }
}

/**
 * The lanes one transaction touches. Nothing is remembered across transactions: another process may have
 * changed any of them meanwhile.
 *
 * A lane with a ready task stands in the ring of its priority, or is parked with its client or its queue, whose
 * limit it has met. Always: where a client or a queue has room and lanes are parked with it, one of its lanes stands
 * in a ring. So whenever a slot is given back, a limit is changed, a token comes, or a lane leaves its ring, the
 * client and the queue are touched, and {@link settle} lets as many go on as were freed, but at least one of each
 * priority: never all, for thousands may wait for one slot.
 */
export class LaneSet {
  readonly rules: RuleSet;
  readonly flows: FlowSet;
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #byId = new Map<number, Lane>();
  readonly #byName = new Map<string, Lane>();
  readonly #dirty = new Set<Lane>();
  readonly #lastTurns: (number | undefined)[] = PRIORITIES.map(() => undefined);
  readonly #firstTurns: (number | undefined)[] = PRIORITIES.map(() => undefined);
  #unparked = 0;

  constructor(statements: ReturnType<typeof prepareAll>, rules: RuleSet, flows: FlowSet) {
    this.#statements = statements;
    this.rules = rules;
    this.flows = flows;
  }

  /** Lanes that this transaction has let go on. */
  get unparked(): number {
    return this.#unparked;
  }

  /** The lane of that name, made when there is none. */
  named(queue: string, rank: number, client: string): Lane {
    const name = `${rank}/${queue}/${client}`;
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const { byName, create } = this.#statements;
    const row = byName.get(queue, rank, client) ?? create.get(queue, rank, client);
    if (row === undefined) throw new Error("an insert into lanes returned no row");
    const lane = this.#byId.get(row.id) ?? this.#remember(row);
    this.#byName.set(name, lane);
    return lane;
  }

  /** The lane of that id; every task's lane exists as long as the task does. */
  get(id: number): Lane {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const row = this.#statements.byId.get(id);
    if (row === undefined) throw new Error(`lane ${id} is missing from the store`);
    return this.#remember(row);
  }

  /** The first lanes of a ring, at most `limit`, as this transaction has left them so far. */
  ring(rank: number, limit: number): Lane[] {
    this.flush();
    return this.#statements.ring.all(rank, limit).map((row) => this.#byId.get(row.id) ?? this.#remember(row));
  }

  /** Whether a ring has any lane; call it after a flush. */
  hasWork(rank: number): boolean {
    return this.#statements.anyInRing.get(rank) !== undefined;
  }

  /** Counts `n` tasks of a lane from one state into another; null stands for not existing. */
  count(lane: Lane, from: StoredState | null, to: StoredState | null, n = 1): void {
    if (from !== null) lane[from] -= n;
    if (to !== null) lane[to] += n;
    this.#dirty.add(lane);
  }

  /** Sends a lane to the end of its ring: it has had its turn. */
  rotate(lane: Lane): void {
    lane.turn = this.#nextTurn(lane.rank);
    this.#dirty.add(lane);
  }

  /** Has a lane written that was changed otherwise. */
  keep(lane: Lane): void {
    this.#dirty.add(lane);
  }

  /** The lanes of a rank that wait to be asked for by their pull queue's name, at most `limit`, in turn. */
  pulled(queue: string, rank: number, limit: number): Lane[] {
    this.flush();
    const rows = this.#statements.parked.queue.all(queue, rank, limit);
    return rows.map((row) => this.#byId.get(row.id) ?? this.#remember(row));
  }

  /** Takes all lanes of a queue out of their rings: it is for consumers from now on. */
  parkAll(queue: string): void {
    this.flush();
    const flow = this.flows.get("queue", queue);
    for (const row of this.#statements.ringed.all(queue)) {
      this.park(this.#byId.get(row.id) ?? this.#remember(row), flow);
    }
  }

  /** Has a parked lane wait for something else, or for the same in its next turn. */
  parkAgain(lane: Lane, flow: Flow): void {
    this.#endParking(lane);
    this.park(lane, flow);
  }

  /** Takes a lane out of its ring until its client or its queue has room. */
  park(lane: Lane, flow: Flow): void {
    lane.turn = null;
    lane.parked = PARKED[flow.kind];
    lane.since ??= this.#nextWait();
    this.flows.countParked(flow, 1);
    this.#dirty.add(lane);
  }

  /** A task of the lane is no longer leased: its client and its queue have a slot more. */
  giveBackSlot(lane: Lane): void {
    this.flows.giveBack(this.flows.get("client", lane.client));
    this.flows.giveBack(this.flows.get("queue", lane.queue));
  }

  /** Lets parked lanes go on where there is room; what was changed is written. */
  settle(): void {
    this.flush();
    for (const [flow, freed] of this.flows.takeTouched()) {
      if (flow.parked > 0) {
        const room = this.flows.room(flow);
        // Lanes of a pull queue wait where they are for whoever asks.
        const isPull = flow.kind === "queue" && this.flows.isPull(flow.id);
        if (room > 0 && !isPull) this.#unpark(flow, Math.min(room, Math.max(1, freed)));
      }
      if (flow.kind === "queue") this.flows.planNext(flow);
    }
    this.flush();
  }

  /** Everything that is left to write; the commit follows. */
  finish(): void {
    this.settle();
    this.flows.flush();
  }

  /** Writes the lanes that have changed. One without a ready task stands nowhere; an empty one goes. */
  flush(): void {
    const { write, remove } = this.#statements;
    for (const lane of this.#dirty) {
      if (lane.ready === 0) this.#leave(lane);
      else if (lane.parked === PARKED.nothing) this.#stand(lane);
      if (COUNTERS.every((name) => lane[name] === 0)) {
        remove.run(lane.id);
        this.#byId.delete(lane.id);
        this.#byName.delete(`${lane.rank}/${lane.queue}/${lane.client}`);
      } else {
        write.run(
          lane.turn,
          lane.parked,
          lane.since,
          lane.credit,
          lane.scheduled,
          lane.ready,
          lane.running,
          lane.retrying,
          lane.succeeded,
          lane.dead,
          lane.cancelled,
          lane.held,
          lane.barred,
          lane.id,
        );
      }
    }
    this.#dirty.clear();
  }

  /** Lets lanes go on that wait for a client or a queue: of each priority the `count` that have waited longest. */
  #unpark(flow: Flow, count: number): void {
    for (const rank of PRIORITIES.keys()) {
      let left = count;
      while (left > 0) {
        const rows = this.#statements.parked[flow.kind].all(flow.id, rank, left);
        const whole = rows.length < left;
        for (const row of rows) {
          const lane = this.#byId.get(row.id) ?? this.#remember(row);
          this.#endParking(lane);
          this.#dirty.add(lane);
          // One that waits with its pull queue from now on may wait there for good: it takes no other lane's place.
          if (this.flows.isPull(lane.queue)) continue;
          // A turn that its limit has cut short is gone on with before others have theirs.
          if (lane.credit > 0) lane.turn = this.#turnBefore(rank);
          this.#unparked += 1;
          left -= 1;
        }
        if (whole) break;
        this.flush();
      }
    }
  }

  /** A lane that has something to claim takes its place: in its ring, or with its pull queue. */
  #stand(lane: Lane): void {
    if (lane.turn !== null) return;
    if (this.flows.isPull(lane.queue)) this.park(lane, this.flows.get("queue", lane.queue));
    else lane.turn = this.#nextTurn(lane.rank);
  }

  /** A lane has nothing to claim: it stands in no ring and waits for nothing. */
  #leave(lane: Lane): void {
    this.#endParking(lane);
    if (lane.turn !== null) {
      // It may have been the one through which others of its client or its queue would have gone on.
      this.flows.touch(this.flows.get("client", lane.client), 0);
      this.flows.touch(this.flows.get("queue", lane.queue), 0);
    }
    lane.turn = null;
    lane.since = null;
    lane.credit = 0;
  }

  #endParking(lane: Lane): void {
    const kind = PARKED_WITH[lane.parked] ?? null;
    if (kind !== null) this.flows.countParked(this.flows.get(kind, lane[kind]), -1);
    lane.parked = PARKED.nothing;
  }

  #remember(row: Lane): Lane {
    this.#byId.set(row.id, row);
    return row;
  }

  #nextTurn(rank: number): number {
    const last = this.#lastTurns[rank] ?? this.#statements.lastTurn.get(rank)?.turn ?? 0;
    this.#lastTurns[rank] = last + 1;
    return last + 1;
  }

  #turnBefore(rank: number): number {
    const first = this.#firstTurns[rank] ?? this.#statements.firstTurn.get(rank)?.turn ?? 0;
    this.#firstTurns[rank] = first - 1;
    return first - 1;
  }

  #nextWait(): number {
    const row = this.#statements.nextWait.get();
    if (row === undefined) throw new Error("the store's count of waits is missing");
    return row.value;
  }
}
