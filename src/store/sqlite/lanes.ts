/** Lanes and their rings within one transaction: each lane is read once, changed in memory, and written once. */

import { PRIORITIES } from "../../core/priority.ts";
import type { StoredState } from "./codec.ts";
import type { Database } from "./database.ts";

/** A lane as it is stored: its place in the ring and how many tasks it has in each state. */
export interface Lane extends Record<StoredState, number> {
  readonly id: number;
  readonly queue: string;
  readonly rank: number;
  readonly client: string;
  turn: number | null;
}

const COUNTERS = [
  "scheduled",
  "ready",
  "running",
  "retrying",
  "succeeded",
  "dead",
  "cancelled",
  "held",
] as const;

function prepareAll(db: Database) {
  return {
    byId: db.prepare<Lane>("SELECT * FROM lanes WHERE id = ?"),
    byName: db.prepare<Lane>("SELECT * FROM lanes WHERE queue = ? AND rank = ? AND client = ?"),
    create: db.prepare<Lane>("INSERT INTO lanes (queue, rank, client) VALUES (?, ?, ?) RETURNING *"),
    write: db.prepare(
      `UPDATE lanes SET turn = ?, ${COUNTERS.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`,
    ),
    remove: db.prepare("DELETE FROM lanes WHERE id = ?"),
    ring: db.prepare<Lane>("SELECT * FROM lanes WHERE rank = ? AND turn IS NOT NULL ORDER BY turn LIMIT ?"),
    lastTurn: db.prepare<{ turn: number | null }>(
      "SELECT max(turn) AS turn FROM lanes WHERE rank = ? AND turn IS NOT NULL",
    ),
  };
}

/** Makes the {@link LaneSet} of each transaction; holds the prepared statements. */
export class Lanes {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  /** The lanes of one transaction; `flush` it before the commit. */
  begin(): LaneSet {
    return new LaneSet(this.#statements);
  }
}

/**
 * The lanes one transaction touches. Nothing is remembered across transactions: another process may have
 * changed any of them meanwhile.
 */
export class LaneSet {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #byId = new Map<number, Lane>();
  readonly #byName = new Map<string, Lane>();
  readonly #dirty = new Set<Lane>();
  readonly #lastTurns: (number | undefined)[] = PRIORITIES.map(() => undefined);

  constructor(statements: ReturnType<typeof prepareAll>) {
    this.#statements = statements;
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
    return this.#statements.ring.get(rank, 1) !== undefined;
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

  /** Writes what has changed. A lane stands in its ring just when it has a ready task; an empty one goes. */
  flush(): void {
    const { write, remove } = this.#statements;
    for (const lane of this.#dirty) {
      if (lane.ready === 0) lane.turn = null;
      else lane.turn ??= this.#nextTurn(lane.rank);
      if (COUNTERS.every((name) => lane[name] === 0)) {
        remove.run(lane.id);
        this.#byId.delete(lane.id);
        this.#byName.delete(`${lane.rank}/${lane.queue}/${lane.client}`);
      } else {
        write.run(
          lane.turn,
          lane.scheduled,
          lane.ready,
          lane.running,
          lane.retrying,
          lane.succeeded,
          lane.dead,
          lane.cancelled,
          lane.held,
          lane.id,
        );
      }
    }
    this.#dirty.clear();
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
}
