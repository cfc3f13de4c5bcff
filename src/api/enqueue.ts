/** POST /v1/enqueue: hands in one task. */

import { Type } from "@sinclair/typebox";
import type { Durability } from "../core/store.ts";
import { EnqueueRequestSchema } from "../service/enqueue-request.ts";
import type { Accepted } from "../service/handover.ts";
import { invalid, type RequestContext } from "../service/new-task.ts";
import type { TaskService } from "../service/tasks.ts";
import type { BodyRoom } from "./body-room.ts";
import { refusalOf } from "./identity.ts";
import { JSON_TYPE, mediaTypeOf, parseJson } from "./json-body.ts";
import { RATE_HEADERS, rateHeaders } from "./rate-headers.ts";
import { json, type Route } from "./route.ts";
import { compile } from "./validate.ts";

/** Room in a request for everything but the task's body. */
const ENVELOPE_BYTES = 64 * 1024;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
/** https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

export const ENQUEUE_HEADERS = {
  "Idempotency-Key":
    "1 to 255 visible ASCII characters. A second request of the same client with this key makes no second task.",
  traceparent: "W3C trace context, passed on to the task's target.",
} as const;

const DurabilitySchema = Type.Unsafe<Durability>(
  Type.String({
    enum: ["disk", "memory", "primary", "replicated"] satisfies Durability[],
    description: "How safely the task is kept by now.",
  }),
);

export const EnqueuedSchema = Type.Object({
  status: Type.Literal("enqueued"),
  task_id: Type.String(),
  queue: Type.String(),
  state: Type.Union([Type.Literal("ready"), Type.Literal("scheduled")]),
  scheduled_at: Type.String({ format: "date-time" }),
  durability: DurabilitySchema,
});

export const DuplicateSchema = Type.Object({
  status: Type.Literal("duplicate"),
  task_id: Type.String({ description: "The task that has this name or idempotency key already." }),
});

/** The fields of an answer to one task that was handed in. */
export function acceptedJson({ queue, result, durability }: Accepted) {
  if (result.kind === "duplicate") return { status: "duplicate", task_id: result.id } as const;
  return {
    status: "enqueued",
    task_id: result.id,
    queue,
    state: result.state,
    scheduled_at: new Date(result.scheduledAtMs).toISOString(),
    durability,
  } as const;
}

/**
 * What a request's headers say of the task. A key of use to nobody is refused: ignoring it would break the
 * caller's trust in it. A malformed trace is ignored, as its standard asks.
 */
export function contextOf(request: Request): RequestContext {
  const idempotencyKey = request.headers.get("idempotency-key");
  if (idempotencyKey !== null && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
    throw invalid([{ path: "Idempotency-Key", message: "must be 1 to 255 visible ASCII characters" }]);
  }
  const traceparent = request.headers.get("traceparent");
  return {
    idempotencyKey,
    traceparent: traceparent !== null && TRACEPARENT.test(traceparent) ? traceparent : null,
  };
}

/** The most bytes of a request whose task has a body of `maxPayloadBytes`, were it sent as base64. */
export function maxRequestBytes(maxPayloadBytes: number): number {
  return Math.ceil((maxPayloadBytes * 4) / 3) + ENVELOPE_BYTES;
}

export function enqueueRoute(service: TaskService, maxPayloadBytes: number, room: BodyRoom): Route {
  const validator = compile(EnqueueRequestSchema);
  const maxBytes = maxRequestBytes(maxPayloadBytes);
  return {
    method: "POST",
    path: "/v1/enqueue",
    summary: "Hand in a task",
    access: "task",
    headers: ENQUEUE_HEADERS,
    body: [{ type: JSON_TYPE, schema: EnqueueRequestSchema }],
    answers: {
      202: { description: "The task is kept.", schema: EnqueuedSchema, headers: RATE_HEADERS },
      200: {
        description: "There is such a task already; none was made.",
        schema: DuplicateSchema,
        headers: RATE_HEADERS,
      },
    },
    problems: [400, 401, 403, 404, 409, 413, 415, 422, 429, 503],
    async handle({ request, caller }) {
      mediaTypeOf(request, [JSON_TYPE]);
      service.throwWhenOverloaded();
      return room.withText(request, maxBytes, async (text) => {
        const value = parseJson(text);
        if (!validator.fits(value)) throw invalid(validator.problems(value));
        if (!caller.seesAll && !(await caller.mayUse(value.client_id)))
          throw refusalOf(caller, value.client_id);
        const accepted = await service.enqueue(value, contextOf(request));
        const { result, rate } = accepted;
        return json(result.kind === "created" ? 202 : 200, acceptedJson(accepted), rate && rateHeaders(rate));
      });
    },
  };
}
