/** What held hosts make of one claim: which of a lane's tasks may go, which go as probes, and which are set aside. */

import { isReport } from "../../core/follow-ups.ts";
import { hostOf } from "../../core/host.ts";
import { type ClaimRow, metadataIn, STATE, urlIn } from "./codec.ts";
import type { Database } from "./database.ts";
import type { BarredRow, Hold, Holds } from "./holds.ts";
import type { Lane, LaneSet } from "./lanes.ts";
import { Rests } from "./rests.ts";

/** Tasks set aside in one claim; what is behind them is left to the next. */
const MAX_SET_ASIDE = 1_000;
/** Tasks looked at beyond those that a lane is to give, in place of those that are set aside. */
const LOOK_PAST = 60;
/** Tasks of a lane looked at together once nothing else was there to be handed out. */
const WIDE_LOOK = 256;
/** Rounds of one priority's lanes that give nothing before the others are asked. */
const MAX_FRUITLESS = 16;
/** Hosts whose probe is looked for among their tasks in one claim. */
const MAX_DUE = 100;
/** Lanes looked at for a host's probe; where none of them may begin a task, the others are looked at later. */
const MAX_LANES = 64;
/** A probe that no client or queue has room for is looked for again after this. */
const NO_ROOM_MS = 1_000;

type PeekRow = Pick<ClaimRow, "seq" | "spec">;

function prepareAll(db: Database) {
  return {
    // Bodies are left where they are: most of what is looked at here is not handed out.
    peek: db.prepare<PeekRow>(
      `SELECT t.seq, s.spec FROM tasks t JOIN specs s ON s.seq = t.seq
       WHERE t.lane = ? AND t.state = ${STATE.ready} ORDER BY t.due_ms, t.seq LIMIT ?`,
    ),
  };
}

/** How many of a lane's first tasks may be handed out, and which of them as probes. */
export interface Chosen {
  readonly count: number;
  readonly probes: ReadonlySet<number>;
  /** Whether the lane has no others. */
  readonly isAll: boolean;
}

/** Makes the {@link Aside} of each claim; holds the prepared statements. */
export class Asides {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #holds: Holds;
  readonly #rests = new Rests();

  constructor(db: Database, holds: Holds) {
    this.#statements = prepareAll(db);
    this.#holds = holds;
  }

  begin(lanes: LaneSet, nowMs: number): Aside {
    return new Aside(this.#statements, this.#holds, this.#rests, lanes, nowMs);
  }
}

export class Aside {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #holds: Holds;
  readonly #rests: Rests;
  readonly #lanes: LaneSet;
  readonly #nowMs: number;
  readonly #known = new Map<string, Hold | null>();
  #left = MAX_SET_ASIDE;
  /** Priorities that were left for now. */
  readonly #ended = new Set<number>();
  /** Whether nothing else is there to be handed out, so that lanes are looked through faster. */
  #isWide = false;
  /** Whether a task of a held host was met since this was last asked. */
  #met = false;

  constructor(
    statements: ReturnType<typeof prepareAll>,
    holds: Holds,
    rests: Rests,
    lanes: LaneSet,
    nowMs: number,
  ) {
    this.#statements = statements;
    this.#holds = holds;
    this.#rests = rests;
    this.#lanes = lanes;
    this.#nowMs = nowMs;
  }

  /** Lanes that rest, as many as are passed over in one look. */
  get resting(): number {
    return this.#isWide ? 0 : Math.min(this.#rests.size, WIDE_LOOK);
  }

  /** Of a ring's first lanes those to be looked at; where there are none of them the ring goes on to the next. */
  awake(ring: readonly Lane[]): readonly Lane[] {
    if (this.#isWide) return ring;
    const awake = ring.filter(({ id }) => !this.#rests.has(id, this.#nowMs));
    if (awake.length === 0) {
      for (const lane of ring) this.#lanes.rotate(lane);
      this.#met = true;
    }
    return awake;
  }

  /**
   * Whether a priority of so many lanes is to be left for now, after `fruitless` rounds in a row that gave nothing,
   * when it was tasks of held hosts that stood there. Others may have something to hand out, and then few are set
   * aside beside it.
   */
  endsRank(rank: number, fruitless: number, lanes: number): boolean {
    const met = this.#met;
    this.#met = false;
    if (!met || fruitless < Math.min(lanes, MAX_FRUITLESS) || fruitless === 0) return false;
    if (this.#isWide && this.#left > 0) return false;
    this.#ended.add(rank);
    return true;
  }

  /** Of the priorities that have tasks those to go on with: first the others, then those that were left. */
  toAsk(active: readonly number[]): readonly number[] {
    const others = active.filter((rank) => !this.#ended.has(rank));
    if (others.length > 0) return others;
    this.#ended.clear();
    this.#isWide = true;
    return this.#left > 0 ? active : [];
  }

  /** Tasks were handed out. */
  gave(count: number): void {
    this.#rests.gave(count);
  }

  /** Whether none of these tasks of a lane is for a held host: so it is of most lanes, which then pay for no more. */
  areFree(lane: Lane, rows: readonly Pick<ClaimRow, "spec">[]): boolean {
    const override = this.#lanes.rules.queue(lane.queue).target?.url;
    return rows.every(({ spec }) => this.#holdOf(hostCalled(spec, override)) === null);
  }

  /**
   * Sets tasks at the head of a lane aside until `count` others stand there or it has looked far enough; how many do.
   * Of a host whose time has come the first one met stays, as its probe.
   */
  choose(lane: Lane, count: number): Chosen {
    const { target } = this.#lanes.rules.queue(lane.queue);
    const look = this.#isWide ? Math.max(count, WIDE_LOOK) : count + LOOK_PAST;
    const rows = this.#statements.peek.all(lane.id, look);
    const aside = new Map<Hold, number[]>();
    const probes = new Set<number>();
    let chosen = 0;
    let seen = 0;
    for (const row of rows) {
      if (chosen === count) break;
      const hold = this.#holdOf(hostCalled(row.spec, target?.url));
      if (hold !== null && hold.next_ms > this.#nowMs) {
        this.#met = true;
        if (this.#left <= 0) break;
        this.#left -= 1;
        const seqs = aside.get(hold);
        if (seqs === undefined) aside.set(hold, [row.seq]);
        else seqs.push(row.seq);
      } else {
        chosen += 1;
        if (hold !== null) {
          this.#holds.probed(hold, this.#nowMs);
          probes.add(row.seq);
        }
      }
      seen += 1;
    }
    if (chosen === 0 && seen > 0) this.#rests.begin(lane.id, seen, this.#nowMs);
    for (const [hold, seqs] of aside) {
      this.#holds.setAside(hold, seqs);
      this.#lanes.count(lane, "ready", "barred", seqs.length);
    }
    return { count: chosen, probes, isAll: seen === rows.length && rows.length < look };
  }

  /**
   * Hands out a probe of every host whose time has come and whose tasks are set aside, at most `limit`: the oldest of
   * those whose client and queue have room.
   */
  probe(limit: number, handOut: (lane: Lane, seq: number) => void): void {
    for (const hold of this.#holds.due(Math.min(limit, MAX_DUE), this.#nowMs)) {
      const ids = this.#holds.lanesOf(hold, hold.looked, MAX_LANES);
      const oldest = this.#oldest(hold, ids);
      if (oldest === null) {
        const looked = ids.length < MAX_LANES ? 0 : (ids.at(-1) ?? 0);
        this.#holds.putOff(hold, this.#nowMs + NO_ROOM_MS, looked);
        continue;
      }
      this.#holds.taken(hold);
      this.#holds.probed(hold, this.#nowMs);
      handOut(oldest.lane, oldest.seq);
    }
  }

  #oldest(hold: Hold, ids: readonly number[]): { readonly lane: Lane; readonly seq: number } | null {
    const { flows } = this.#lanes;
    let oldest: (BarredRow & { readonly lane: Lane }) | null = null;
    for (const id of ids) {
      const lane = this.#lanes.get(id);
      if (flows.room(flows.get("client", lane.client)) <= 0) continue;
      if (flows.room(flows.get("queue", lane.queue)) <= 0) continue;
      const [head] = this.#holds.heads(hold, id, 1);
      if (head === undefined) continue;
      const isOlder =
        oldest === null ||
        head.due_ms < oldest.due_ms ||
        (head.due_ms === oldest.due_ms && head.seq < oldest.seq);
      if (isOlder) oldest = { ...head, lane };
    }
    return oldest;
  }

  #holdOf(host: string): Hold | null {
    let hold = this.#known.get(host);
    if (hold === undefined) {
      hold = this.#holds.of(host);
      this.#known.set(host, hold);
    }
    return hold;
  }
}

/** The host that a worker will call: a report goes where it was meant to, whatever its queue calls instead. */
function hostCalled(spec: string, override: string | undefined): string {
  return hostOf(override === undefined || isReport(metadataIn(spec)) ? urlIn(spec) : override);
}
