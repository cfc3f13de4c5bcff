/** Compares counters with what is there, which no one step can see, without ever taking the work of others for an error. */

/** Tasks of one state in one group: how many, and a sum that changes when any of them does. */
interface Tally {
  readonly n: number;
  readonly print: number;
}
type Group = Map<string, Tally>;

/** A counter, and how many of its tasks came after those that were counted. */
interface Counter {
  readonly value: number;
  readonly late: number;
}

/** What is wrong with the counters of one group. */
export interface Miscount {
  readonly group: string;
  /** Of each state whose counter is wrong what it says, and what it should. */
  readonly states: readonly { readonly state: string; readonly counted: number; readonly there: number }[];
}

/** Groups that are counted at once; past them the rest is left out. */
const MAX_GROUPS = 50_000;
/** Groups whose counters are looked at a second time. */
export const MAX_DOUBTED = 1_000;

const NOTHING: Tally = { n: 0, print: 0 };

/**
 * Tasks accepted until some instant are walked past twice, in steps, and the counters are read between the two walks,
 * in one step with the tasks that were accepted since. A group whose tasks were all the same in both walks, by number
 * and by what changes with every lease and every move, was like that in between too: then its counters are either
 * right or wrong, whatever went on elsewhere. A group that changed is left out.
 */
export class Recount {
  readonly #first = new Map<string, Group>();
  readonly #second = new Map<string, Group>();
  readonly #counters = new Map<string, ReadonlyMap<string, Counter>>();
  #left = 0;

  /** Groups that could not be counted. */
  get skipped(): number {
    return this.#left;
  }

  /** Names groups that have counters, whether or not any task is counted in them. */
  expect(groups: readonly string[]): void {
    for (const group of groups) this.#groupIn(this.#first, group);
  }

  /** Adds what a step of the first walk answers: group, state, number and print, over and over. */
  addFirst(answer: readonly string[]): void {
    for (const [group, state, n, print] of fours(answer)) this.#add(this.#first, group, state, n, print);
  }

  /** The same of the second walk, which only counts for the groups in doubt. */
  addSecond(answer: readonly string[]): void {
    for (const [group, state, n, print] of fours(answer)) {
      if (this.#counters.has(group)) this.#add(this.#second, group, state, n, print);
    }
  }

  get groups(): readonly string[] {
    return [...this.#first.keys()];
  }

  /** Takes counters, as group, state, value and tasks since; keeps the groups where these do not agree. */
  compare(answer: readonly string[]): void {
    const told = new Map<string, Map<string, Counter>>();
    for (const [group, state, value, late] of fours(answer)) {
      const states = told.get(group) ?? new Map<string, Counter>();
      states.set(state, { value: Number(value), late: Number(late) });
      told.set(group, states);
    }
    for (const [group, counters] of told) {
      if (wrongStates(this.#first.get(group), counters).length === 0) continue;
      if (this.#counters.size < MAX_DOUBTED) this.#counters.set(group, counters);
      else this.#left += 1;
    }
  }

  get hasDoubts(): boolean {
    return this.#counters.size > 0;
  }

  /** After the second walk: the groups that are wrong beyond doubt. */
  verdict(): readonly Miscount[] {
    const wrong: Miscount[] = [];
    for (const [group, counters] of this.#counters) {
      const first = this.#first.get(group);
      if (!isSame(first, this.#second.get(group))) this.#left += 1;
      else wrong.push({ group, states: wrongStates(first, counters) });
    }
    return wrong;
  }

  #add(walk: Map<string, Group>, group: string, state: string, n: string, print: string): void {
    const states = this.#groupIn(walk, group);
    const before = states?.get(state) ?? NOTHING;
    states?.set(state, { n: before.n + Number(n), print: (before.print + Number(print)) % PRIME });
  }

  #groupIn(walk: Map<string, Group>, group: string): Group | null {
    const known = walk.get(group);
    if (known !== undefined) return known;
    if (walk.size >= MAX_GROUPS) {
      this.#left += 1;
      return null;
    }
    const states: Group = new Map();
    walk.set(group, states);
    return states;
  }
}

/** Sums are taken modulo this, as in lua/inspect.lua: twice it is still a whole number. */
const PRIME = 4_503_599_627_370_449;

function wrongStates(
  tasks: Group | undefined,
  counters: ReadonlyMap<string, Counter>,
): readonly { readonly state: string; readonly counted: number; readonly there: number }[] {
  const wrong = [];
  for (const [state, { value, late }] of counters) {
    const there = (tasks?.get(state)?.n ?? 0) + late;
    if (there !== value) wrong.push({ state, counted: value, there });
  }
  return wrong;
}

function isSame(a: Group | undefined, b: Group | undefined): boolean {
  const states = new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])]);
  for (const state of states) {
    const [one, other] = [a?.get(state) ?? NOTHING, b?.get(state) ?? NOTHING];
    if (one.n !== other.n || one.print !== other.print) return false;
  }
  return true;
}

function* fours(flat: readonly string[]): Generator<readonly [string, string, string, string]> {
  for (let at = 0; at + 3 < flat.length; at += 4)
    yield [flat[at] ?? "", flat[at + 1] ?? "", flat[at + 2] ?? "", flat[at + 3] ?? ""];
}
