/** Counting that costs next to nothing where it happens: plain numbers, made into metrics when somebody asks. */

/** What is told of those past a bound. */
export const OTHER = "other";

/** One thing a name, for the first names that come; all others share one. So that no label has more values than that. */
export class Capped<T> {
  readonly #max: number;
  readonly #make: () => T;
  readonly #byName = new Map<string, T>();
  #other: T | null = null;

  constructor(max: number, make: () => T) {
    this.#max = max;
    this.#make = make;
  }

  of(name: string): T {
    return this.#byName.get(name) ?? this.#new(name);
  }

  /** The name that it is told of by: its own, or {@link OTHER}. */
  labelOf(name: string): string {
    return this.of(name) === this.#other ? OTHER : name;
  }

  /** Each with its name, or with {@link OTHER}. */
  *entries(): Iterable<readonly [string, T]> {
    yield* this.#byName;
    if (this.#other !== null) yield [OTHER, this.#other];
  }

  #new(name: string): T {
    if (name === OTHER || this.#byName.size >= this.#max) {
      this.#other ??= this.#make();
      return this.#other;
    }
    const made = this.#make();
    this.#byName.set(name, made);
    return made;
  }
}

/** Counts by a word of few. */
export class Counts<K extends string> {
  readonly #byKey = new Map<K, number>();

  add(key: K, count = 1): void {
    this.#byKey.set(key, (this.#byKey.get(key) ?? 0) + count);
  }

  of(key: K): number {
    return this.#byKey.get(key) ?? 0;
  }

  entries(): Iterable<readonly [K, number]> {
    return this.#byKey;
  }
}

/** How values spread over buckets: a histogram before it is one. */
export class Spread {
  /** Upper bounds of the buckets, ascending; what is above the last is counted beyond them. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const { bounds } = this;
    let at = 0;
    // Most values lie in the first buckets, and there are few: a search would take longer.
    while (at < bounds.length && value > (bounds[at] ?? 0)) at++;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += value;
  }

  get isEmpty(): boolean {
    return this.#counts.every((count) => count === 0);
  }

  get sum(): number {
    return this.#sum;
  }

  /** How many values lie at or below each bound, and last how many there are. */
  cumulative(): readonly number[] {
    let total = 0;
    return this.#counts.map((count) => {
      total += count;
      return total;
    });
  }
}
