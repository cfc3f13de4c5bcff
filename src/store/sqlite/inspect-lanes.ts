/** Inspects lanes: whether each that has something to claim stands where somebody comes to it. */

import { STATE } from "./codec.ts";
import type { Database } from "./database.ts";
import type { Flow, FlowKind } from "./flows.ts";
import { type Looked, type Looking, lookedAt, type Part } from "./inspect-part.ts";
import type { Lane } from "./lanes.ts";

interface Row extends Lane {
  has_ready: 0 | 1;
}

const WAITS_FOR: readonly (FlowKind | null)[] = [null, "client", "queue"];

function prepareAll(db: Database) {
  return {
    rows: db.prepare<Row>(
      `SELECT l.*, EXISTS (SELECT 1 FROM tasks t WHERE t.lane = l.id AND t.state = ${STATE.ready}) AS has_ready
       FROM lanes l WHERE l.id > ? ORDER BY l.id LIMIT ?`,
    ),
    ready: db.prepare<{ n: number }>(
      `SELECT count(*) AS n FROM tasks WHERE lane = ? AND state = ${STATE.ready}`,
    ),
    inRing: {
      client: db.prepare<{ id: number }>(
        "SELECT id FROM lanes WHERE client = ? AND turn IS NOT NULL LIMIT 1",
      ),
      queue: db.prepare<{ id: number }>("SELECT id FROM lanes WHERE queue = ? AND turn IS NOT NULL LIMIT 1"),
    },
  };
}

export class LanePart implements Part {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(db: Database) {
    this.#statements = prepareAll(db);
  }

  look(looking: Looking): Looked {
    const rows = this.#statements.rows.all(Number(looking.after ?? 0), looking.limit);
    const stuck = new Set<Flow>();
    for (const row of rows) this.#one(looking, row, stuck);
    return lookedAt(rows, looking.limit, ({ id }) => id);
  }

  #one({ lanes, report }: Looking, row: Row, seen: Set<Flow>): void {
    const name = laneName(row);
    const stands = row.turn !== null;
    const waitsFor = WAITS_FOR[row.parked] ?? null;
    if (stands && row.parked !== 0) {
      report("stray_lane", name, "it is in its ring and waits for room as well", () => {
        const lane = lanes.get(row.id);
        lane.turn = null;
        lanes.keep(lane);
      });
    } else if (row.has_ready === 1 && !stands && waitsFor === null) {
      report("lost_lane", name, "it has ready tasks and is in no ring", () => {
        const lane = lanes.get(row.id);
        lane.parked = 0;
        // A lane takes its place by what it counts.
        lane.ready = this.#statements.ready.get(row.id)?.n ?? 0;
        lanes.keep(lane);
      });
    } else if (row.has_ready === 0 && row.ready === 0 && (stands || waitsFor !== null)) {
      report("stray_lane", name, "it has nothing ready and stands among those that have", () => {
        lanes.keep(lanes.get(row.id));
      });
    }
    if (waitsFor === null) return;
    const flow = lanes.flows.get(waitsFor, row[waitsFor]);
    if (seen.has(flow)) return;
    seen.add(flow);
    if (flow.stored === null) {
      report("wrong_parked", flowName(flow), "lanes wait for it and it counts none", () => {
        lanes.flows.countParked(flow, 1);
      });
    }
    if (this.#isStuck(lanes.flows.room(flow), flow, lanes.flows.isPull(flow.id))) {
      report("stuck_lane", flowName(flow), "it has room, lanes wait for it and none is in a ring", () => {
        lanes.flows.touch(flow, 1);
      });
    }
  }

  /** Room that comes with time is looked for when the time has come. */
  #isStuck(room: number, flow: Flow, isPull: boolean): boolean {
    if (room <= 0 || flow.next_ms !== null || (flow.kind === "queue" && isPull)) return false;
    return this.#statements.inRing[flow.kind].get(flow.id) === undefined;
  }
}

/** How lanes are named to people. */
export function laneName({ queue, rank, client }: Pick<Lane, "queue" | "rank" | "client">): string {
  return `${rank}/${queue}/${client}`;
}

/** How clients and queues are. */
export function flowName({ kind, id }: { readonly kind: string; readonly id: string }): string {
  return `${kind} ${id}`;
}
