/** Handing tasks out: due ones are promoted, then the rings of lanes are walked in turn. */

import { PRIORITIES, PriorityTurns } from "../../core/priority.ts";
import type { Claim, ClaimedTask, ClaimRequest } from "../../core/store.ts";
import type { Aside, Asides } from "./aside.ts";
import { type ClaimRow, claimedTaskOf, STATE } from "./codec.ts";
import type { Database } from "./database.ts";
import { deal, type Room, type Seat } from "./deal.ts";
import type { Flow } from "./flows.ts";
import type { Holds } from "./holds.ts";
import type { Lane, LaneSet } from "./lanes.ts";
import type { Promotions } from "./promotions.ts";

/** Due tasks promoted in one claim, as a multiple of those it takes: enough that waiting for promotion never limits it. */
const PROMOTE_FACTOR = 2;
const MIN_PROMOTED = 100;

/** Lanes that turn out to be held back, and are parked, in one claim; those behind them are left to the next. */
const MAX_HELD_BACK = 1_000;
/** Lanes looked at together once those before were all held back. */
const WIDE_LOOK = 256;

const SELECT_CLAIM = `
  SELECT t.seq, t.id, t.due_ms, t.scheduled_ms, t.attempts, t.crashes, t.fence, t.first_attempt_ms, s.spec, s.body
  FROM tasks t JOIN specs s ON s.seq = t.seq`;

const RANKS = PRIORITIES.map((_, rank) => rank);

function prepareAll(db: Database) {
  return {
    nextDue: db.prepare<{ due: number | null }>(
      `SELECT min(due_ms) AS due FROM tasks WHERE state IN (${STATE.scheduled}, ${STATE.retrying})`,
    ),
    head: db.prepare<ClaimRow>(
      `${SELECT_CLAIM} WHERE t.lane = ? AND t.state = ${STATE.ready} ORDER BY t.due_ms, t.seq LIMIT ?`,
    ),
    barred: db.prepare<ClaimRow>(`${SELECT_CLAIM} WHERE t.seq = ?`),
    lease: db.prepare(
      `UPDATE tasks SET state = ${STATE.running}, hold = NULL, fence = ?, lease_ms = ?, worker = ? WHERE seq = ?`,
    ),
  };
}

/** One claim under way. */
interface Taking {
  readonly lanes: LaneSet;
  readonly request: ClaimRequest;
  readonly nowMs: number;
  readonly tasks: ClaimedTask[];
  /** The pull queue they are taken from; null for the rings. */
  readonly pulled: Flow | null;
  /** What sets tasks of held hosts aside; null where none is held, or the tasks are not for workers. */
  readonly aside: Aside | null;
  /** Lanes that were looked at and gave nothing. */
  heldBack: number;
}

/** Leases waiting tasks to workers. */
export class Claims {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #promotions: Promotions;
  readonly #holds: Holds;
  readonly #asides: Asides;
  /** Whose turn it is among the priorities; each process keeps its own, so all of them together keep the weights. */
  readonly #turns = new PriorityTurns();

  constructor(db: Database, promotions: Promotions, holds: Holds, asides: Asides) {
    this.#statements = prepareAll(db);
    this.#promotions = promotions;
    this.#holds = holds;
    this.#asides = asides;
  }

  /** Promotes and leases within the caller's transaction. */
  take(lanes: LaneSet, request: ClaimRequest, nowMs: number): Claim {
    const pulled = request.queue === undefined ? null : lanes.flows.pullFrom(request.queue);
    // From a queue that is for workers nothing is handed out by its name.
    if (pulled !== null && !lanes.flows.isPull(pulled.id)) return { tasks: [], nextInMs: null };
    const promoted = Math.max(request.limit * PROMOTE_FACTOR, MIN_PROMOTED);
    this.#promotions.promote(lanes, promoted, nowMs);
    const hosts = this.#holds.outline();
    if (hosts.ended === 1) this.#holds.bringBack(lanes, promoted);
    for (const queue of lanes.flows.due()) lanes.flows.touch(queue, request.limit);
    lanes.settle();
    const aside = pulled === null && hosts.held === 1 ? this.#asides.begin(lanes, nowMs) : null;
    const taking: Taking = { lanes, request, nowMs, tasks: [], pulled, aside, heldBack: 0 };
    const { tasks } = taking;
    if ((hosts.next_ms ?? Number.POSITIVE_INFINITY) <= nowMs)
      aside?.probe(request.limit, (lane, seq) => this.#takeProbe(taking, lane, seq));
    const hasWork = (rank: number) =>
      pulled === null
        ? lanes.hasWork(rank)
        : lanes.flows.room(pulled) > 0 && lanes.pulled(pulled.id, rank, 1).length > 0;
    let active = RANKS.filter(hasWork);
    let asked: readonly number[] = active;
    // Each round fills the claim, or empties the ring of a priority, or parks lanes or sets tasks aside, which it may
    // only so often.
    while (tasks.length < request.limit && asked.length > 0 && taking.heldBack < MAX_HELD_BACK) {
      const dealt = this.#turns.deal(request.limit - tasks.length, asked);
      for (const rank of asked) this.#takeRank(taking, rank, dealt[rank] ?? 0);
      const { unparked } = lanes;
      lanes.settle();
      active = (lanes.unparked > unparked || pulled !== null ? RANKS : active).filter(hasWork);
      asked = aside === null ? active : aside.toAsk(active);
    }
    lanes.flows.flush();
    return { tasks, nextInMs: active.length > 0 ? 0 : this.#nextInMs(taking) };
  }

  /** Takes up to `turns` tasks from one priority: every lane of the ring has its turn before any has a second. */
  #takeRank(taking: Taking, rank: number, turns: number): void {
    const { lanes, tasks, pulled, aside } = taking;
    const wanted = tasks.length + turns;
    let width = turns;
    let fruitless = 0;
    while (tasks.length < wanted && taking.heldBack < MAX_HELD_BACK) {
      // Lanes that rest are passed over, and must not take the place of others.
      const size = width + (aside?.resting ?? 0);
      const ring = pulled === null ? lanes.ring(rank, size) : this.#pulledLanes(taking, pulled, rank, size);
      if (ring.length === 0) return;
      const before = tasks.length;
      const whole = ring.length < size;
      const awake = aside?.awake(ring) ?? ring;
      if (awake.length > 0) this.#takeRound(taking, awake, wanted - before, whole);
      fruitless = tasks.length > before ? 0 : fruitless + 1;
      if (aside?.endsRank(rank, fruitless, whole ? ring.length : size)) return;
      width = tasks.length > before ? wanted - tasks.length : Math.max(width, WIDE_LOOK);
    }
  }

  /** The next lanes of a pull queue, while it has room. */
  #pulledLanes({ lanes }: Taking, pulled: Flow, rank: number, width: number): Lane[] {
    return lanes.flows.room(pulled) > 0 ? lanes.pulled(pulled.id, rank, width) : [];
  }

  /** Deals `count` tasks to the first lanes of a ring, and takes them. `whole` says that there are no others. */
  #takeRound(taking: Taking, ring: readonly Lane[], count: number, whole: boolean): void {
    const { lanes } = taking;
    const { flows } = lanes;
    const rooms = new Map<Flow, Room>();
    const roomOf = (flow: Flow): Room => {
      let room = rooms.get(flow);
      if (room === undefined) {
        room = { left: flows.room(flow) };
        rooms.set(flow, room);
      }
      return room;
    };
    const seats = ring.map((lane): Seat<Lane> => {
      const { weight } = lanes.rules.queue(lane.queue);
      return {
        lane,
        weight,
        client: roomOf(flows.get("client", lane.client)),
        queue: roomOf(flows.get("queue", lane.queue)),
        ready: lane.ready,
        credit: Math.min(lane.credit, weight),
        taken: 0,
        hadTurn: false,
      };
    });
    const { out, staying } = deal(seats, count, whole);
    for (const seat of seats) if (seat.taken > 0) this.#takeLane(taking, seat.lane, seat.taken);
    for (const seat of out) this.#place(taking, seat, false);
    for (const seat of staying) if (seat.taken > 0) this.#place(taking, seat, staying.length > 1 || !whole);
  }

  /** Puts a lane where it belongs once it was looked at: parked, at the end of its ring, or where it was. */
  #place(taking: Taking, { lane, credit, taken, hadTurn }: Seat<Lane>, mayRotate: boolean): void {
    const { lanes, pulled } = taking;
    const client = lanes.flows.get("client", lane.client);
    const queue = lanes.flows.get("queue", lane.queue);
    lane.credit = credit;
    if (hadTurn) lane.since = null;
    if (taken === 0) taking.heldBack += 1;
    if (pulled !== null) {
      if (lane.ready === 0) lanes.keep(lane);
      else lanes.parkAgain(lane, lanes.flows.room(client) <= 0 ? client : pulled);
      lanes.flows.touch(client, 0);
      // It may be its next token that consumers wait for from now on.
      lanes.flows.touch(pulled, 0);
      return;
    }
    const blocks = [client, queue].find((flow) => lanes.flows.room(flow) <= 0);
    if (lane.ready === 0 || blocks === undefined) {
      if (hadTurn && mayRotate) lanes.rotate(lane);
      else lanes.keep(lane);
    } else {
      lanes.park(lane, blocks);
    }
    lanes.flows.touch(client, 0);
    lanes.flows.touch(queue, 0);
  }

  /** Takes `count` tasks from the head of a lane, or fewer where their hosts are held back. */
  #takeLane(taking: Taking, lane: Lane, count: number): void {
    const { aside } = taking;
    const { head } = this.#statements;
    let rows = head.all(lane.id, count);
    let isAll = rows.length < count;
    let probes: ReadonlySet<number> | null = null;
    if (aside !== null && !aside.areFree(lane, rows)) {
      const chosen = aside.choose(lane, count);
      rows = head.all(lane.id, chosen.count);
      ({ isAll, probes } = chosen);
    }
    for (const row of rows) this.#lease(taking, lane, row, probes?.has(row.seq) ?? false);
    this.#countTaken(taking, lane, "ready", rows.length);
    aside?.gave(rows.length);
    // A counter that promises more than is there would keep an empty lane in the ring for ever.
    if (isAll) lane.ready = 0;
  }

  /** Takes a task that was set aside, to try its host with it. */
  #takeProbe(taking: Taking, lane: Lane, seq: number): void {
    const row = this.#statements.barred.get(seq);
    if (row === undefined) throw new Error("a task that was set aside is missing from the store");
    this.#lease(taking, lane, row, true);
    this.#countTaken(taking, lane, "barred", 1);
  }

  #lease({ lanes, request, nowMs, tasks }: Taking, lane: Lane, row: ClaimRow, isProbe: boolean): void {
    // The time makes the fence grow even where a power cut has undone the record of an earlier lease.
    const fence = Math.max(row.fence + 1, nowMs);
    const leaseUntilMs = nowMs + request.leaseMs;
    this.#statements.lease.run(fence, leaseUntilMs, request.worker, row.seq);
    const rules = lanes.rules.ofClaimed(lane.queue);
    const clientRules = lanes.rules.ofClaimant(lane.client);
    tasks.push(claimedTaskOf(row, lane, rules, clientRules, fence, leaseUntilMs, isProbe));
  }

  #countTaken({ lanes }: Taking, lane: Lane, from: "ready" | "barred", count: number): void {
    lanes.count(lane, from, "running", count);
    lanes.flows.take(lanes.flows.get("client", lane.client), count);
    lanes.flows.take(lanes.flows.get("queue", lane.queue), count);
  }

  /** How long until a task falls due, a queue's next token comes or a host is probed: 0 when it is time already. */
  #nextInMs({ lanes, nowMs, pulled }: Taking): number | null {
    const hosts = this.#holds.outline();
    if (hosts.ended === 1) return 0;
    const dueMs = this.#statements.nextDue.get()?.due ?? null;
    // Only workers probe, and only tasks that are for them.
    const probeMs = pulled === null ? hosts.next_ms : null;
    const times = [dueMs, probeMs].flatMap((atMs) => (atMs === null ? [] : [Math.max(0, atMs - nowMs)]));
    const tokenInMs = lanes.flows.nextInMs();
    if (tokenInMs !== null) times.push(tokenInMs);
    return times.length === 0 ? null : Math.min(...times);
  }
}
