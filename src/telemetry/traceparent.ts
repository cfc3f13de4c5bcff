/** W3C trace context as it travels with tasks: read and written. */

/** What a traceparent says (https://www.w3.org/TR/trace-context/#traceparent-header). */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits: the span that what follows is a child of. */
  readonly spanId: string;
  /** Whether whoever made that span records it. */
  readonly isSampled: boolean;
}

const FORM = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const SAMPLED = 1;

/** Null for a text that is none. */
export function parseTraceparent(text: string): TraceContext | null {
  const found = FORM.exec(text);
  if (found === null) return null;
  const [, traceId = "", spanId = "", flags = ""] = found;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED };
}

export function traceparentOf({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;
}

/** The trace that a traceparent belongs to; null where there is none. */
export function traceIdIn(traceparent: string | null): string | null {
  return traceparent === null ? null : (parseTraceparent(traceparent)?.traceId ?? null);
}
