/** Does one fault after another, sometimes two at once, and sees that all is well again before the next. */

import { FAULTS, type FaultKind } from "./faults.ts";
import type { FaultRecord } from "./history.ts";
import type { Load } from "./load.ts";
import { wait } from "./shell.ts";
import type { World } from "./world.ts";

/** Names of {@link FAULTS}, done at the same time. */
export type Round = readonly string[];

const MIN_MS = 2_000;
const SPREAD_MS = 5_000;
const QUIET_MS = 2_000;
const WELL_MS = 120_000;
/** How long after a fault's end something may stand still before the next fault is done all the same. */
const MOVES_MS = 40_000;
const TWO_AT_ONCE = 0.35;
const LOOK_EVERY_MS = 50;

/** Rounds without end, by seed, of what the world can do. */
export function* roundsOf(world: World, random: () => number): Generator<Round> {
  const able = Object.entries(FAULTS).filter(([name]) => canDo(world, [name]));
  for (;;) {
    // Each kind comes once before any comes twice.
    const deck = shuffled(able, random);
    for (const [name, kind] of deck) {
      const partners = able.filter(([, other]) => mayMeet(kind, other));
      const partner = partners[Math.floor(random() * partners.length)];
      yield random() < TWO_AT_ONCE && partner !== undefined ? [name, partner[0]] : [name];
    }
  }
}

/** Whether the machine allows what the round's faults need. */
export function canDo(world: World, round: Round): boolean {
  return round.every((name) => {
    const { needs } = kindOf(name);
    return needs === undefined || (needs === "isolation" ? world.network.isolated : world.movesClocks);
  });
}

function kindOf(name: string): FaultKind {
  const kind = FAULTS[name];
  if (kind === undefined) throw new Error(`there is no fault ${name}`);
  return kind;
}

/**
 * Whether two faults may be done at once. An acknowledgement means one replica of two: it is lost when the primary goes
 * while that replica is away or the other one is behind, as the documents say. So no two of them are harmed at once.
 */
function mayMeet(one: FaultKind, other: FaultKind): boolean {
  const isStore = ({ harms }: FaultKind) => harms.includes("primary") || harms.includes("replica");
  if (isStore(one) && isStore(other)) return false;
  return !one.harms.some((harm) => other.harms.includes(harm));
}

export class Nemesis {
  readonly records: FaultRecord[] = [];
  readonly #world: World;
  readonly #load: Load;
  readonly #random: () => number;
  readonly #tell: (line: string) => void;

  constructor(world: World, load: Load, random: () => number, tell: (line: string) => void) {
    this.#world = world;
    this.#load = load;
    this.#random = random;
    this.#tell = tell;
  }

  /** Does one round, and resolves when all is well and some quiet time has passed. */
  async do(round: Round): Promise<void> {
    const heldMs = MIN_MS + this.#random() * SPREAD_MS;
    const beganMs = Date.now();
    const begun = [];
    for (const name of round) {
      const kind = kindOf(name);
      begun.push({ name, kind, begun: await kind.begin(this.#world, this.#random) });
    }
    await wait(heldMs);
    await Promise.all(begun.map((each) => each.begun.heal()));
    const healedMs = Date.now();
    const [acceptedMs, deliveredMs] = await Promise.all([
      this.#moves(() => this.#load.firstAcknowledgedAfter(healedMs)),
      this.#moves(() => this.#firstDeliveredAfter(healedMs)),
    ]);
    await this.#well();
    const record: FaultRecord = {
      kind: round.join(" + "),
      subject: begun.map((each) => each.begun.subject).join(", "),
      harms: [...new Set(begun.flatMap(({ kind }) => kind.harms))],
      beganMs,
      healedMs,
      wellMs: Date.now(),
      acceptedAfterMs: acceptedMs === null ? null : acceptedMs - healedMs,
      deliveredAfterMs: deliveredMs === null ? null : deliveredMs - healedMs,
    };
    this.records.push(record);
    const after = (ms: number | null) => (ms === null ? "NOT" : `${ms} ms`);
    this.#tell(
      `${record.kind} (${record.subject}) for ${healedMs - beganMs} ms: accepting after ${after(record.acceptedAfterMs)}, ` +
        `delivering after ${after(record.deliveredAfterMs)}, all in step after ${record.wellMs - healedMs} ms`,
    );
    await wait(QUIET_MS);
  }

  /** Everything runs, and Redis is in step; a replica that has just caught up is known to the Sentinels. */
  async #well(): Promise<void> {
    const { redis, apis, workers } = this.#world;
    await redis.healthy(WELL_MS);
    const gone = [...apis, ...workers, ...redis.servers, ...redis.sentinels].filter(
      ({ running }) => !running,
    );
    if (gone.length > 0) throw new Error(`${gone.map(({ name }) => name).join(", ")} ended by itself`);
  }

  async #moves(look: () => number | null): Promise<number | null> {
    const deadline = performance.now() + MOVES_MS;
    while (performance.now() < deadline) {
      const seen = look();
      if (seen !== null) return seen;
      await wait(LOOK_EVERY_MS);
    }
    return null;
  }

  #firstDeliveredAfter(sinceMs: number): number | null {
    const { calls, firstCalledMs } = this.#world.target;
    for (let at = calls.length - 1, found: number | null = null; ; at--) {
      const call = calls[at];
      if (call === undefined || call.endedMs < sinceMs) return found;
      const isFirst = firstCalledMs.get(call.n) === call.arrivedMs;
      if (isFirst && call.arrivedMs >= sinceMs) found = Math.min(found ?? call.arrivedMs, call.arrivedMs);
    }
  }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list];
  const mixed: T[] = [];
  while (left.length > 0) mixed.push(...left.splice(Math.floor(random() * left.length), 1));
  return mixed;
}
