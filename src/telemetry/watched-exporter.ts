/** An exporter whose failures are told once: a collector that is down is a warning, not a flood, and never an error of ours. */

import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "./logger.ts";

type Report = Parameters<SpanExporter["export"]>[1];
/** The code of a success, of which the package that names it is not one of ours. */
const SUCCESS = 0;

export class WatchedExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #logger: Logger;
  /** Spans that the collector took, and those that it did not. */
  sent = 0;
  refused = 0;
  /** Of those lost, how many since it last worked. */
  #lostInRow = 0;

  constructor(exporter: SpanExporter, logger: Logger) {
    this.#exporter = exporter;
    this.#logger = logger;
  }

  export(spans: ReadableSpan[], report: Report): void {
    this.#exporter.export(spans, ({ code, error }) => {
      if (code === SUCCESS) this.#sent(spans.length);
      else this.#failed(spans.length, error);
      // Told here; the library would tell it again, each time.
      report({ code: SUCCESS });
    });
  }

  forceFlush(): Promise<void> {
    return this.#exporter.forceFlush?.() ?? Promise.resolve();
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  #sent(spans: number): void {
    this.sent += spans;
    if (this.#lostInRow === 0) return;
    this.#logger.info({ spans_lost: this.#lostInRow }, "the trace collector takes spans again");
    this.#lostInRow = 0;
  }

  #failed(spans: number, error: Error | undefined): void {
    if (this.#lostInRow === 0) {
      const reason = error === undefined ? "no reason given" : messageOf(error);
      this.#logger.warn(
        { reason },
        "the trace collector does not take spans; they are lost until it does, and nothing else is affected",
      );
    }
    this.refused += spans;
    this.#lostInRow += spans;
  }
}
