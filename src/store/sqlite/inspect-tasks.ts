/** Inspects tasks: whether each can be read, and has the lease, the key and the end that go with its state. */

import { isFinal } from "../../core/task.ts";
import { STATE, stateName, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";
import { type Looked, type Looking, lookedAt, type Part } from "./inspect-part.ts";
import type { Settlements } from "./settlements.ts";

interface Row
  extends Pick<
    TaskRow,
    "seq" | "id" | "lane" | "lease_ms" | "expires_ms" | "retention_ms" | "hold" | "ordering"
  > {
  /** Of a damaged row any number. */
  state: number;
  has_lane: 0 | 1;
  has_spec: 0 | 1;
  has_log: 0 | 1;
  has_key: 0 | 1;
  has_hold: 0 | 1;
  holder: number | null;
}

function prepareAll(db: Database) {
  return {
    rows: db.prepare<Row>(
      `SELECT t.seq, t.id, t.lane, t.state, t.lease_ms, t.expires_ms, t.retention_ms, t.hold, t.ordering,
         l.id IS NOT NULL AS has_lane, s.spec IS NOT NULL AND json_valid(s.spec) AS has_spec,
         t.attempt_log IS NULL OR json_valid(t.attempt_log) AS has_log,
         o.id IS NOT NULL AS has_key, h.id IS NOT NULL AS has_hold, o.holder
       FROM tasks t LEFT JOIN lanes l ON l.id = t.lane LEFT JOIN specs s ON s.seq = t.seq
         LEFT JOIN orderings o ON o.id = t.ordering LEFT JOIN holds h ON h.id = t.hold
       WHERE t.seq > ? ORDER BY t.seq LIMIT ?`,
    ),
    orphans: db.prepare<{ seq: number }>(
      `SELECT s.seq FROM specs s LEFT JOIN tasks t ON t.seq = s.seq
       WHERE s.seq > ? AND s.seq <= ? AND t.seq IS NULL LIMIT ?`,
    ),
    dropSpec: db.prepare("DELETE FROM specs WHERE seq = ?"),
    lease: db.prepare("UPDATE tasks SET lease_ms = ? WHERE seq = ?"),
    endLease: db.prepare("UPDATE tasks SET lease_ms = NULL, worker = NULL WHERE seq = ?"),
    expire: db.prepare("UPDATE tasks SET expires_ms = ? WHERE seq = ?"),
    makeReady: db.prepare(`UPDATE tasks SET state = ${STATE.ready}, hold = NULL WHERE seq = ?`),
    hold: db.prepare("UPDATE orderings SET holder = ? WHERE id = ?"),
  };
}

/** States in which a task has its ordering key, or asks for it at once. */
const HAS_KEY: readonly number[] = [STATE.ready, STATE.running, STATE.retrying, STATE.barred];

export class TaskPart implements Part {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #settlements: Settlements;

  constructor(db: Database, settlements: Settlements) {
    this.#statements = prepareAll(db);
    this.#settlements = settlements;
  }

  look(looking: Looking): Looked {
    const after = Number(looking.after ?? 0);
    const rows = this.#statements.rows.all(after, looking.limit);
    for (const row of rows) this.#one(looking, row);
    const looked = lookedAt(rows, looking.limit, ({ seq }) => seq);
    this.#orphans(looking, after, Number(looked.next ?? Number.MAX_SAFE_INTEGER));
    return looked;
  }

  #orphans({ report, limit }: Looking, after: number, upto: number): void {
    for (const { seq } of this.#statements.orphans.all(after, upto, limit)) {
      report("orphan_record", `spec ${seq}`, "what a task is, without the task", () => {
        this.#statements.dropSpec.run(seq);
      });
    }
  }

  #one(looking: Looking, row: Row): void {
    const { report } = looking;
    const known = Object.values<number>(STATE).includes(row.state);
    if (row.has_lane === 0) report("unreadable_record", row.id, `its lane ${row.lane} is missing`);
    if (row.has_spec === 0) report("unreadable_record", row.id, "what it is cannot be read");
    if (row.has_log === 0) report("unreadable_record", row.id, "its attempts cannot be read");
    if (!known) report("unreadable_record", row.id, `no state has the code ${row.state}`);
    // What else it should be cannot be told of such a one.
    if (row.has_lane === 0 || !known) return;
    this.#lease(looking, row);
    this.#end(looking, row);
    this.#key(looking, row);
    if (row.state === STATE.barred && row.has_hold === 0) {
      report("lost_place", row.id, "it is set aside for a host that is not known", () => {
        this.#statements.makeReady.run(row.seq);
        looking.lanes.count(looking.lanes.get(row.lane), "barred", "ready");
      });
    }
  }

  #lease({ report, nowMs }: Looking, row: Row): void {
    if (row.state === STATE.running && row.lease_ms === null) {
      // One that has run out: then it is taken back as that of a dead worker is.
      report("running_without_lease", row.id, "it runs and has no lease", () => {
        this.#statements.lease.run(nowMs, row.seq);
      });
    }
    if (row.lease_ms !== null && row.state !== STATE.running && row.state !== STATE.cancelled) {
      report("orphan_lease", row.id, `it is ${stateName(row.state)} and has a lease`, () => {
        this.#statements.endLease.run(row.seq);
      });
    }
  }

  #end({ report, lanes, nowMs }: Looking, row: Row): void {
    const state = stateName(row.state);
    if (!isFinal(state)) {
      if (row.expires_ms === null) return;
      report("wrong_retention", row.id, `it is ${state} and is marked to be removed`, () => {
        this.#statements.expire.run(null, row.seq);
      });
    } else if (row.expires_ms === null && row.lease_ms === null) {
      report("wrong_retention", row.id, `it is ${state}, and nothing says until when it is kept`, () => {
        const retentionMs = this.#settlements.retentionMsOf(lanes, lanes.get(row.lane), row, state);
        this.#statements.expire.run(nowMs + retentionMs, row.seq);
      });
    }
  }

  #key({ report, lanes }: Looking, row: Row): void {
    const { ordering, state, seq, id } = row;
    if (ordering === null && state !== STATE.held) return;
    if (state === STATE.held) {
      if (row.has_key === 0) report("lost_order", id, "it waits for an ordering key that is not there");
      if (row.holder !== seq) return;
      report("lost_order", id, "it waits for the ordering key that it holds", () => {
        this.#statements.makeReady.run(seq);
        lanes.count(lanes.get(row.lane), "held", "ready");
      });
    } else if (HAS_KEY.includes(state) && row.holder !== seq) {
      const give = () => {
        this.#statements.hold.run(seq, ordering);
      };
      const isFree = row.has_key === 1 && row.holder === null;
      const problem = `it is ${stateName(state)} and does not hold its ordering key`;
      report("lost_order", id, problem, ...(isFree ? [give] : []));
    }
  }
}
