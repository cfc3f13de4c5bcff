/** What goes wrong on the way to the store: drawn for each call, more of it in bad times, and nothing once all faults stop. */

import type { StoreMethod } from "./observe.ts";
import type { Chance } from "./random.ts";

/** One call's way: how long it takes to get there and back, and what becomes of it. */
export interface Way {
  readonly thereMs: number;
  readonly backMs: number;
  /** `refused`: not applied, and an error. `lost`: applied, and an error. `dies`: applied, and its process dies. */
  readonly fate: "answered" | "refused" | "lost" | "dies";
}

const STRAIGHT: Way = { thereMs: 0, backMs: 0, fate: "answered" };

export interface FaultRates {
  /** Of a call, each. */
  readonly refused: number;
  readonly lost: number;
  readonly slow: number;
  readonly dies: number;
}

const NONE: FaultRates = { refused: 0, lost: 0, slow: 0, dies: 0 };

export class Faults {
  readonly #chance: Chance;
  readonly #rates: { api: FaultRates; worker: FaultRates };
  /** While it is out of reach every call of this kind of process is refused. */
  readonly outage = { api: false, worker: false };

  constructor(chance: Chance) {
    this.#chance = chance;
    this.#rates = { api: this.#draw(), worker: this.#draw() };
  }

  stop(): void {
    this.#rates.api = NONE;
    this.#rates.worker = NONE;
    this.outage.api = false;
    this.outage.worker = false;
  }

  wayOf(kind: "api" | "worker", method: StoreMethod): Way {
    const { refused, lost, slow, dies } = this.#rates[kind];
    if (refused + lost + slow + dies === 0) return STRAIGHT;
    const chance = this.#chance;
    if (this.outage[kind]) return { thereMs: chance.pick([0, 1, 200]), backMs: 0, fate: "refused" };
    const isSlow = chance.happens(slow);
    const thereMs = isSlow ? chance.whole(1, chance.pick([20, 500, 6_000])) : 0;
    const backMs = isSlow ? chance.whole(0, chance.pick([20, 500, 12_000])) : 0;
    if (chance.happens(refused)) return { thereMs, backMs, fate: "refused" };
    if (chance.happens(lost)) return { thereMs, backMs, fate: "lost" };
    const mayDie = kind === "worker" && method !== "extend" && chance.happens(dies);
    return { thereMs, backMs, fate: mayDie ? "dies" : "answered" };
  }

  /** Some runs have no faults of a kind, so that what only shows without them shows too. */
  #draw(): FaultRates {
    const chance = this.#chance;
    const rate = (most: number) => (chance.happens(0.4) ? 0 : chance.next() * most);
    return { refused: rate(0.1), lost: rate(0.06), slow: rate(0.15), dies: rate(0.01) };
  }
}
