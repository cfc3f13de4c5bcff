/** Inspects counters: what clients and queues use, and how many tasks each lane has in each state. */

import { SOON_COUNTED } from "../../core/inspection.ts";
import { STATE, type StoredState } from "./codec.ts";
import type { Database } from "./database.ts";
import { flowName, laneName } from "./inspect-lanes.ts";
import { type Looked, type Looking, lookedAt, type Part } from "./inspect-part.ts";
import type { Lane } from "./lanes.ts";

interface Counted {
  kind: "client" | "queue";
  id: string;
  counted: number;
  there: number;
}

/** Wrong ones that one step tells; more than a few are a sign of something that is wrong with all. */
const MOST_WRONG = 1_000;
const COUNTERS = Object.keys(STATE) as StoredState[];

const LEASES = `
  SELECT 'client' AS kind, l.client AS id, count(*) AS there FROM tasks t JOIN lanes l ON l.id = t.lane
  WHERE t.lease_ms IS NOT NULL GROUP BY l.client
  UNION ALL
  SELECT 'queue', l.queue, count(*) FROM tasks t JOIN lanes l ON l.id = t.lane
  WHERE t.lease_ms IS NOT NULL GROUP BY l.queue`;

function prepareAll(db: Database) {
  return {
    slots: db.prepare<Counted>(
      `WITH leases AS (${LEASES})
       SELECT s.kind, s.id, coalesce(f.running, 0) AS counted, s.there FROM leases s
       LEFT JOIN flows f ON f.kind = s.kind AND f.id = s.id WHERE coalesce(f.running, 0) <> s.there
       UNION ALL
       SELECT f.kind, f.id, f.running, 0 FROM flows f LEFT JOIN leases s ON s.kind = f.kind AND s.id = f.id
       WHERE f.running <> 0 AND s.id IS NULL LIMIT ?`,
    ),
    setRunning: db.prepare(
      `INSERT INTO flows (kind, id, running, parked) VALUES (?, ?, ?, 0)
       ON CONFLICT (kind, id) DO UPDATE SET running = excluded.running`,
    ),
    dropUnused: db.prepare(
      "DELETE FROM flows WHERE kind = ? AND id = ? AND running = 0 AND parked = 0 AND tokens IS NULL",
    ),
    parked: db.prepare<Counted>(
      `SELECT kind, id, parked AS counted, CASE kind
         WHEN 'client' THEN (SELECT count(*) FROM lanes WHERE client = f.id AND parked = 1)
         ELSE (SELECT count(*) FROM lanes WHERE queue = f.id AND parked = 2) END AS there
       FROM flows f WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?`,
    ),
    setParked: db.prepare("UPDATE flows SET parked = ? WHERE kind = ? AND id = ?"),
    span: db.prepare<{ span: number }>(
      "SELECT coalesce((SELECT max(seq) FROM tasks) - (SELECT min(seq) FROM tasks) + 1, 0) AS span",
    ),
    lanes: db.prepare<Pick<Lane, "id" | "queue" | "rank" | "client"> & Record<string, number | string>>(
      `SELECT l.id, l.queue, l.rank, l.client,
         ${COUNTERS.map((name) => `l.${name}, coalesce(c.${name}, 0) AS ${name}_there`).join(", ")}
       FROM lanes l LEFT JOIN (
         SELECT lane, ${COUNTERS.map((name) => `sum(state = ${STATE[name]}) AS ${name}`).join(", ")}
         FROM tasks GROUP BY lane
       ) c ON c.lane = l.id
       WHERE ${COUNTERS.map((name) => `l.${name} <> coalesce(c.${name}, 0)`).join(" OR ")} LIMIT ?`,
    ),
    // A task that is over may hold its key still; of others that are over the key may be another by now.
    keys: db.prepare<{ id: number; queue: string; key: string; live: number; there: number }>(
      `SELECT o.id, o.queue, o.key, o.live, coalesce(c.there, 0) AS there
       FROM orderings o LEFT JOIN (
         SELECT t.ordering, count(*) AS there FROM tasks t JOIN orderings k ON k.id = t.ordering
         WHERE t.state NOT IN (${STATE.succeeded}, ${STATE.dead}, ${STATE.cancelled})
           OR t.lease_ms IS NOT NULL OR k.holder = t.seq GROUP BY t.ordering
       ) c ON c.ordering = o.id
       WHERE o.live <> coalesce(c.there, 0) LIMIT ?`,
    ),
    setLive: db.prepare("UPDATE orderings SET live = ? WHERE id = ?"),
    dropKey: db.prepare("DELETE FROM orderings WHERE id = ? AND live <= 0"),
  };
}

/** Tasks running, by client and queue, against the leases: those are few enough to be counted in one step. */
export class SlotPart implements Part {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  look({ report, lanes }: Looking): Looked {
    const wrong = this.#statements.slots.all(MOST_WRONG);
    for (const { kind, id, counted, there } of wrong) {
      const detail = `it counts ${counted} running and has ${there} leases`;
      report("wrong_slots", flowName({ kind, id }), detail, () => {
        this.#statements.setRunning.run(kind, id, there);
        this.#statements.dropUnused.run(kind, id);
        // Lanes may wait for what was never used.
        lanes.flows.touch(lanes.flows.get(kind, id), 1);
      });
    }
    return { records: wrong.length, next: null };
  }
}

/** Lanes that wait, by client and queue. */
export class ParkedPart implements Part {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  look({ after, limit, report }: Looking): Looked {
    const [kind = "", id = ""] = String(after ?? "").split("/");
    const rows = this.#statements.parked.all(kind, id, limit);
    for (const row of rows) {
      if (row.counted === row.there) continue;
      const detail = `it counts ${row.counted} waiting lanes and there are ${row.there}`;
      report("wrong_parked", flowName(row), detail, () => {
        this.#statements.setParked.run(row.there, row.kind, row.id);
      });
    }
    return lookedAt(rows, limit, (row) => `${row.kind}/${row.id}`);
  }
}

/** Tasks of each lane by state, against all tasks: in one statement, which sees all of them at one instant. */
export class CountPart implements Part {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #thorough: boolean;

  constructor(db: Database, thorough: boolean) {
    this.#statements = prepareAll(db);
    this.#thorough = thorough;
  }

  look({ report, skip, lanes }: Looking): Looked {
    if (!this.#thorough && (this.#statements.span.get()?.span ?? 0) > SOON_COUNTED) {
      skip();
      return { records: 0, next: null };
    }
    const wrong = this.#statements.lanes.all(MOST_WRONG);
    for (const row of wrong) {
      const different = COUNTERS.filter((name) => row[name] !== row[`${name}_there`]);
      const detail = different.map((name) => `${name} ${row[name]} for ${row[`${name}_there`]}`).join(", ");
      report("wrong_count", laneName(row), `it counts ${detail}`, () => {
        const lane = lanes.get(row.id);
        for (const name of different) lane[name] = Number(row[`${name}_there`]);
        lanes.keep(lane);
      });
    }
    const wrongKeys = this.#statements.keys.all(MOST_WRONG);
    for (const { id, queue, key, live, there } of wrongKeys) {
      report("wrong_count", `key ${queue}/${key}`, `it counts ${live} tasks and has ${there}`, () => {
        this.#statements.setLive.run(there, id);
        this.#statements.dropKey.run(id);
      });
    }
    return { records: wrong.length + wrongKeys.length, next: null };
  }
}
