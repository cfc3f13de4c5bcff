/** Tracing by OpenTelemetry: spans recorded within a budget and sent in batches over OTLP. Imported only when it is wanted. */

import {
  type Context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  type SpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_VERSION,
} from "@opentelemetry/semantic-conventions";
import { messageOf, TaskRunnerError } from "../core/errors.ts";
import type { ClaimedTask, Settlement } from "../core/store.ts";
import type { NewTask, Target } from "../core/task.ts";
import type { Outcome } from "../core/transport.ts";
import {
  attemptAttributes,
  callAttributes,
  callName,
  DUPLICATE_OF,
  OUTCOME,
  RETRY_AFTER_MS,
  sendAttributes,
} from "./attributes.ts";
import { Budget } from "./budget.ts";
import { causeOf, causeOfFailure } from "./causes.ts";
import { parseTraceparent, type TraceContext, traceparentOf } from "./traceparent.ts";
import type { AttemptTrace, CallTrace, Sending, SpanCounts, Tracing, TracingOptions } from "./tracing.ts";
import { WatchedExporter } from "./watched-exporter.ts";

const SERVICE_NAME = "task-runner";
/** `service.instance.id` is not stable yet in the conventions. */
const SERVICE_INSTANCE_ID = "service.instance.id";
const ROLE = "task_runner.role";

/** Spans that wait to be sent; past it they are dropped, so that a collector that hangs costs this much and no more. */
const MAX_WAITING_SPANS = 8_192;
const MAX_BATCH_SPANS = 512;
const SEND_EVERY_MS = 1_000;
const SEND_TIMEOUT_MS = 5_000;
/** What is told of an error is a line, not a page. */
const MAX_ATTRIBUTE_CHARS = 1_024;

export class OtelTracing implements Tracing {
  readonly #provider: BasicTracerProvider;
  readonly #exporter: WatchedExporter;
  readonly #counted = new CountedSpans();
  readonly #tracer: Tracer;
  readonly #sends: Budget;
  readonly #attempts: Budget;

  constructor({ url, perSec, role, version, instance, logger }: TracingOptions) {
    const exporter = new OTLPTraceExporter({ url, timeoutMillis: SEND_TIMEOUT_MS });
    this.#exporter = new WatchedExporter(exporter, logger);
    this.#provider = new BasicTracerProvider({
      // What the environment says of the service (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) goes above ours.
      resource: resourceFromAttributes({
        [ATTR_SERVICE_NAME]: SERVICE_NAME,
        [ATTR_SERVICE_VERSION]: version,
        [SERVICE_INSTANCE_ID]: instance,
        [ROLE]: role,
      }).merge(detectResources({ detectors: [envDetector] })),
      // Whether to record is decided before a span is made: that is what keeps the others cheap.
      sampler: new AlwaysOnSampler(),
      spanLimits: { attributeValueLengthLimit: MAX_ATTRIBUTE_CHARS },
      spanProcessors: [
        this.#counted,
        new BatchSpanProcessor(this.#exporter, {
          maxQueueSize: MAX_WAITING_SPANS,
          maxExportBatchSize: MAX_BATCH_SPANS,
          scheduledDelayMillis: SEND_EVERY_MS,
          exportTimeoutMillis: SEND_TIMEOUT_MS * 2,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer(SERVICE_NAME, version);
    this.#sends = new Budget(perSec);
    this.#attempts = new Budget(perSec);
  }

  send(task: NewTask): Sending {
    const caller = task.traceparent === null ? null : parseTraceparent(task.traceparent);
    // A caller's own trace goes on past the gap. A task without one stays without: to tell its worker and its target
    // that nobody records would cost every task more than all that is recorded.
    if (caller?.isSampled === false || !this.#sends.take()) return new UnrecordedSending(task);
    const span = this.#tracer.startSpan(
      `enqueue ${task.queue}`,
      { kind: SpanKind.PRODUCER, attributes: sendAttributes(task) },
      caller === null ? ROOT_CONTEXT : contextOf(caller),
    );
    return new RecordedSending(span, { ...task, traceparent: traceparentIn(span) });
  }

  attempt(task: ClaimedTask): AttemptTrace | null {
    const producer = task.traceparent === null ? null : parseTraceparent(task.traceparent);
    if (producer?.isSampled === false) return null;
    // A trace that was begun comes before one that would lack its start.
    if (!(producer === null ? this.#attempts.takeSpare() : this.#attempts.take())) return null;
    // Linked, as the messaging conventions ask of every consumer; and its child as well, as they allow where a span
    // processes one message, so that a task is one trace from its caller to its target.
    const links: Link[] = producer === null ? [] : [{ context: spanContextOf(producer) }];
    const span = this.#tracer.startSpan(
      `deliver ${task.queue}`,
      { kind: SpanKind.CONSUMER, links, attributes: attemptAttributes(task) },
      producer === null ? ROOT_CONTEXT : contextOf(producer),
    );
    return new RecordedAttempt(this.#tracer, span, task);
  }

  spans(): SpanCounts {
    const { sent, refused } = this.#exporter;
    return { recorded: this.#counted.recorded, sent, refused };
  }

  async close(withinMs: number): Promise<void> {
    const given = Promise.withResolvers<void>();
    const timer = setTimeout(given.resolve, withinMs);
    // What cannot be sent has been told by the exporter.
    const closed = this.#provider.shutdown().catch(() => {});
    await Promise.race([closed, given.promise]);
    clearTimeout(timer);
  }
}

/** Counts the spans that end. */
class CountedSpans implements SpanProcessor {
  recorded = 0;

  onStart(): void {}

  onEnd(): void {
    this.recorded++;
  }

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}

class UnrecordedSending implements Sending {
  readonly task: NewTask;

  constructor(task: NewTask) {
    this.task = task;
  }

  kept(): void {}

  refused(): void {}
}

class RecordedSending implements Sending {
  readonly task: NewTask;
  readonly #span: Span;

  constructor(span: Span, task: NewTask) {
    this.#span = span;
    this.task = task;
  }

  kept(duplicateOf: string | null): void {
    if (duplicateOf !== null) this.#span.setAttribute(DUPLICATE_OF, duplicateOf);
    this.#span.end();
  }

  refused(error: unknown): void {
    const type = error instanceof TaskRunnerError ? error.code : "internal_error";
    endBadly(this.#span, type, messageOf(error));
  }
}

class RecordedAttempt implements AttemptTrace {
  readonly traceparent: string;
  readonly #tracer: Tracer;
  readonly #span: Span;
  readonly #task: ClaimedTask;

  constructor(tracer: Tracer, span: Span, task: ClaimedTask) {
    this.#tracer = tracer;
    this.#span = span;
    this.#task = task;
    this.traceparent = traceparentIn(span);
  }

  call(target: Target): CallTrace {
    const span = this.#tracer.startSpan(
      callName(target),
      { kind: SpanKind.CLIENT, attributes: callAttributes(target, this.#task.attempt) },
      trace.setSpan(ROOT_CONTEXT, this.#span),
    );
    return new RecordedCall(span);
  }

  end(settlement: Settlement | null): void {
    const span = this.#span;
    if (settlement === null) {
      span.setAttribute(OUTCOME, "lost");
      endBadly(span, "lease_lost", "the lease was lost: another worker may have the task");
      return;
    }
    const { verdict } = settlement;
    span.setAttribute(OUTCOME, verdict.kind);
    switch (verdict.kind) {
      case "succeeded":
        span.end();
        return;
      case "released":
        // Nothing went wrong with the task: it comes again, uncharged.
        span.addEvent("released", { reason: verdict.reason });
        span.end();
        return;
      case "retry":
        span.setAttribute(RETRY_AFTER_MS, verdict.afterMs);
        break;
      case "dead":
        break;
    }
    endBadly(span, causeOf(settlement), verdict.reason);
  }
}

class RecordedCall implements CallTrace {
  readonly traceparent: string;
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
    this.traceparent = traceparentIn(span);
  }

  end(outcome: Outcome): void {
    const span = this.#span;
    if (outcome.kind === "deferred") {
      endBadly(span, "broken_off", outcome.reason);
      return;
    }
    const { status } = outcome;
    if (status !== null) span.setAttribute(ATTR_HTTP_RESPONSE_STATUS_CODE, status);
    if (outcome.kind === "delivered") span.end();
    else endBadly(span, status === null ? causeOfFailure(outcome) : String(status), outcome.error);
  }
}

/** The conventions ask for a word of few values in `error.type`, and for the text elsewhere. */
function endBadly(span: Span, type: string, message: string): void {
  span.setAttribute(ATTR_ERROR_TYPE, type);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.recordException({ name: type, message });
  span.end();
}

function spanContextOf({ traceId, spanId, isSampled }: TraceContext) {
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return { traceId, spanId, traceFlags, isRemote: true };
}

function contextOf(parent: TraceContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, spanContextOf(parent));
}

function traceparentIn(span: Span): string {
  const { traceId, spanId } = span.spanContext();
  return traceparentOf({ traceId, spanId, isSampled: true });
}
