/** What spans say of tasks, under the names that OpenTelemetry's conventions have for it. */

import {
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_REQUEST_RESEND_COUNT,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_URL_FULL,
} from "@opentelemetry/semantic-conventions";
import type { ClaimedTask } from "../core/store.ts";
import type { NewTask, Target } from "../core/task.ts";

/**
 * Names of the messaging conventions, which are not stable yet: instrumentations are asked to keep copies
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
 */
const MESSAGING_SYSTEM = "messaging.system";
const MESSAGING_DESTINATION = "messaging.destination.name";
const MESSAGING_OPERATION_NAME = "messaging.operation.name";
const MESSAGING_OPERATION_TYPE = "messaging.operation.type";
const MESSAGING_MESSAGE_ID = "messaging.message.id";
const SYSTEM = "task_runner";

/** Names of our own. */
export const CLIENT_ID = "task_runner.client_id";
export const ATTEMPT = "task_runner.attempt";
export const OUTCOME = "task_runner.outcome";
export const RETRY_AFTER_MS = "task_runner.retry_after_ms";
export const DUPLICATE_OF = "task_runner.duplicate_of";

const DEFAULT_PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };
/** Methods that may be named in full; others could be anything. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Of a producer's span. */
export function sendAttributes({ id, queue, clientId }: NewTask) {
  return {
    [MESSAGING_SYSTEM]: SYSTEM,
    [MESSAGING_OPERATION_NAME]: "enqueue",
    [MESSAGING_OPERATION_TYPE]: "send",
    [MESSAGING_DESTINATION]: queue,
    [MESSAGING_MESSAGE_ID]: id,
    [CLIENT_ID]: clientId,
  };
}

/** Of a consumer's span. */
export function attemptAttributes({ id, queue, clientId, attempt }: ClaimedTask) {
  return {
    [MESSAGING_SYSTEM]: SYSTEM,
    [MESSAGING_OPERATION_NAME]: "deliver",
    [MESSAGING_OPERATION_TYPE]: "process",
    [MESSAGING_DESTINATION]: queue,
    [MESSAGING_MESSAGE_ID]: id,
    [CLIENT_ID]: clientId,
    [ATTEMPT]: attempt,
  };
}

/** Of the call of a target. Where it goes is told without login, query and fragment: each may hold a secret. */
export function callAttributes({ url: text, method }: Target, attempt: number) {
  const url = URL.parse(text);
  if (url === null) return {};
  const { protocol, host, hostname, pathname, port } = url;
  const server = {
    [ATTR_URL_FULL]: `${protocol}//${host}${pathname}`,
    [ATTR_SERVER_ADDRESS]: hostname,
    ...(port === "" ? {} : { [ATTR_SERVER_PORT]: Number(port) }),
  };
  const standard = DEFAULT_PORTS[protocol];
  if (standard === undefined) return server;
  return {
    ...server,
    [ATTR_SERVER_PORT]: port === "" ? standard : Number(port),
    [ATTR_HTTP_REQUEST_METHOD]: methodName(method),
    ...(attempt > 1 && { [ATTR_HTTP_REQUEST_RESEND_COUNT]: attempt - 1 }),
  };
}

/** The name of the span of a call: of HTTP its method, else the scheme. */
export function callName({ url, method }: Target): string {
  if (/^https?:/i.test(url)) return METHODS.has(method) ? method : "HTTP";
  return /^[a-z][a-z0-9+.-]*/i.exec(url)?.[0] ?? "call";
}

function methodName(method: string): string {
  return METHODS.has(method) ? method : "_OTHER";
}
