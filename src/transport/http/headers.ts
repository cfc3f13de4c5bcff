/** The headers of a delivery: the caller's, less those that are ours to set, and what a target is told of its task. */

import type { Delivery } from "../../core/transport.ts";

/** Hop-by-hop or bound to the connection (RFC 9110, section 7.6.1): the client that sends sets them, never the caller. */
const NEVER_PASSED_ON: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "upgrade",
]);

/** The headers to send, named in lower case. Of the caller's own, `User-Agent` and `Idempotency-Key` win over ours. */
export function deliveryHeaders(delivery: Delivery, userAgent: string): Record<string, string> {
  const headers: Record<string, string> = {
    "user-agent": userAgent,
    // An answer is read only to be shown, at most 64 KiB of it: compression would gain nothing.
    "accept-encoding": "identity",
    "idempotency-key": delivery.taskId,
  };
  const given = delivery.target.headers;
  for (const name in given) {
    const value = given[name];
    const lower = name.toLowerCase();
    if (value !== undefined && isPassedOn(lower)) headers[lower] = value;
  }
  headers["x-task-id"] = delivery.taskId;
  headers["x-task-queue"] = delivery.queue;
  headers["x-task-attempt"] = String(delivery.attempt);
  headers["x-task-scheduled-at"] = new Date(delivery.scheduledAtMs).toISOString();
  headers["x-task-fence"] = String(delivery.fence);
  if (delivery.traceparent !== null) headers.traceparent = delivery.traceparent;
  return headers;
}

function isPassedOn(name: string): boolean {
  return !NEVER_PASSED_ON.has(name) && !name.startsWith("x-task-") && !name.startsWith("proxy-");
}
