/** What a role tells of itself while it runs: traces to a collector, and metrics to whoever scrapes. */

import { hostname } from "node:os";
import process from "node:process";
import { metricsRoute } from "../api/metrics.ts";
import type { Route } from "../api/route.ts";
import { type Config, type Role, tracesUrlOf } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import { runtimeName } from "../runtime.ts";
import { watchEventLoop } from "../telemetry/event-loop.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { StateReader, type StateReaderOptions } from "../telemetry/state.ts";
import { openTracing, type Tracing } from "../telemetry/tracing.ts";
import { VERSION } from "../version.ts";

export interface TelemetryOptions {
  readonly role: Role;
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly store: StateReaderOptions["store"];
  /** The store's short name, open or not. */
  readonly storeName: string;
  /** Tasks that the worker holds now; null where there is none. */
  readonly running: () => number | null;
}

export interface Telemetry {
  readonly metrics: Metrics;
  /** Null where no collector is set. */
  readonly tracing: Tracing | null;
  readonly route: Route;
  /** Hands over what is left of the traces. Never rejects. */
  close(): Promise<void>;
}

/** What the last spans may take: a collector that is down must not hold up a shutdown. */
const FLUSH_MS = 2_000;

/** Names this process in its spans: unique where host names and process ids repeat, as they do in containers. */
function instanceName(): string {
  return `${hostname()}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
}

/** Begins both; a collector that cannot be reached is told in the log, later. */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { role, config, clock, store, storeName, running } = options;
  const startedAtMs = clock.now();
  const metrics = new Metrics({ byClient: config.METRICS_CLIENT_LABELS });
  const tracing = await tracingOf(options);
  const stopWatching = watchEventLoop(clock, metrics.loopLagSec);
  const state = new StateReader({ store, clock });
  const facts = {
    role,
    version: VERSION,
    runtime: runtimeName(),
    store: storeName,
    startedAtMs,
    slots: () => {
      const used = running();
      return used === null ? null : { total: config.WORKER_CONCURRENCY, used };
    },
    spans: () => tracing?.spans() ?? null,
  };
  // Loaded at the first scrape, once.
  const exposition = once(async () => {
    const { Exposition } = await import("../telemetry/exposition.ts");
    return new Exposition({ metrics, state, facts });
  });
  return {
    metrics,
    tracing,
    route: metricsRoute(exposition),
    close: async () => {
      stopWatching();
      await tracing?.close(FLUSH_MS);
    },
  };
}

async function tracingOf({ role, config, logger }: TelemetryOptions): Promise<Tracing | null> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, TRACES_PER_SEC: perSec } = config;
  const url = endpoint === undefined ? null : tracesUrlOf(endpoint);
  if (url === null) return null;
  const tracing = await openTracing({
    url,
    perSec,
    role,
    version: VERSION,
    instance: instanceName(),
    logger,
  });
  logger.info({ url, traces_per_sec: perSec }, "traces are sent to a collector");
  return tracing;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make();
    return made;
  };
}
