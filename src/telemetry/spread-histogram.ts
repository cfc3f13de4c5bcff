/** A histogram of the metrics library whose values were counted elsewhere. */

import { Histogram, type MetricObjectWithValues, type MetricValueWithName } from "prom-client";
import type { Spread } from "./tallies.ts";

type Labels = Partial<Record<string, string | number>>;
type Told = MetricObjectWithValues<MetricValueWithName<string>>;

export interface SpreadHistogramOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  /** Asked at every scrape. */
  readonly spreads: () => Iterable<readonly [Labels, Spread]>;
}

export class SpreadHistogram extends Histogram {
  readonly #options: SpreadHistogramOptions;
  /** Says what every histogram says of itself, and holds no value. */
  readonly #empty: Histogram;

  constructor(options: SpreadHistogramOptions) {
    const { name, help, labelNames } = options;
    const plain = { name, help, labelNames: [...labelNames], registers: [] };
    super(plain);
    this.#empty = new Histogram(plain);
    this.#options = options;
  }

  override async get(): Promise<Told> {
    const told = await this.#empty.get();
    const { name, spreads } = this.#options;
    const values = [...spreads()].flatMap(([labels, spread]) =>
      spread.isEmpty ? [] : valuesOf(name, labels, spread),
    );
    return { ...told, values };
  }

  /** What a registry asks when it writes text; the library's types do not know it. */
  getForPromString(): Promise<Told> {
    return this.get();
  }
}

function valuesOf(name: string, labels: Labels, spread: Spread): MetricValueWithName<string>[] {
  const cumulative = spread.cumulative();
  const buckets = cumulative.map((value, at) => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le: spread.bounds[at] ?? "+Inf" },
    value,
  }));
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: spread.sum },
    { metricName: `${name}_count`, labels, value: cumulative.at(-1) ?? 0 },
  ];
}
