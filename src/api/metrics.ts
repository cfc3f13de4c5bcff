/** GET /metrics: what this process counted, and what its store holds, as Prometheus reads it. */

import { Type } from "@sinclair/typebox";
import type { Route } from "./route.ts";

/** What is written at a scrape; made by the composition root. */
export interface MetricsSource {
  readonly contentType: string;
  /** Never rejects for a store that is out of reach: that is told among the rest. */
  text(): Promise<string>;
}

/** Open, like health: scrapers carry no key. */
export function metricsRoute(source: () => Promise<MetricsSource>): Route {
  return {
    method: "GET",
    path: "/metrics",
    summary: "Metrics of this process and its store, in the text format of Prometheus",
    access: "open",
    answers: {
      200: {
        description: "The metrics. Of the store every process tells the same.",
        type: "text/plain",
        schema: Type.String({ description: "In version 0.0.4 of the format." }),
      },
    },
    problems: [],
    async handle() {
      const metrics = await source();
      return {
        status: 200,
        body: await metrics.text(),
        headers: { "content-type": metrics.contentType, "cache-control": "no-store" },
      };
    },
  };
}
