/** What a scrape brought, by name and labels, for tests to add up. */

export class Samples {
  readonly #values: ReadonlyMap<string, number>;

  /** Of the text format of Prometheus. */
  static of(text: string): Samples {
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Samples(
      new Map(
        lines.map((line) => {
          const at = line.lastIndexOf(" ");
          return [line.slice(0, at), Number(line.slice(at + 1))] as const;
        }),
      ),
    );
  }

  constructor(values: ReadonlyMap<string, number>) {
    this.#values = values;
  }

  get size(): number {
    return this.#values.size;
  }

  /** The sum of all samples of a metric whose labels hold every one of `labels`. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    let total = 0;
    for (const [key, value] of this.#values) {
      if (key !== name && !key.startsWith(`${name}{`)) continue;
      if (Object.entries(labels).every(([label, text]) => key.includes(`${label}="${text}"`))) total += value;
    }
    return total;
  }

  /** How many different values each label has. */
  labels(): ReadonlyMap<string, number> {
    const values = new Map<string, Set<string>>();
    for (const key of this.#values.keys()) {
      for (const [, label = "", value = ""] of key.matchAll(/[{,]([a-z_]+)="([^"]*)"/g)) {
        const known = values.get(label) ?? new Set();
        values.set(label, known.add(value));
      }
    }
    return new Map([...values].map(([label, { size }]) => [label, size]));
  }
}
