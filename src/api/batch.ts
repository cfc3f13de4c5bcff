/** POST /v1/enqueue/batch: hands in many tasks, each admitted on its own. */

import { Type } from "@sinclair/typebox";
import { TaskRunnerError } from "../core/errors.ts";
import { type EnqueueRequest, EnqueueRequestSchema, MAX_BATCH_ITEMS } from "../service/enqueue-request.ts";
import type { Accepted } from "../service/handover.ts";
import { invalid } from "../service/new-task.ts";
import type { TaskService } from "../service/tasks.ts";
import type { BodyRoom } from "./body-room.ts";
import { acceptedJson, contextOf, DuplicateSchema, ENQUEUE_HEADERS, EnqueuedSchema } from "./enqueue.ts";
import { type Caller, refusalOf } from "./identity.ts";
import { JSON_TYPE, mediaTypeOf, NDJSON_TYPE, parseJson } from "./json-body.ts";
import { ProblemSchema, shownFields } from "./problem.ts";
import { RATE_HEADERS, rateHeaders } from "./rate-headers.ts";
import { json, type Route } from "./route.ts";
import { compile, type Validator } from "./validate.ts";

export const MAX_BATCH_BYTES = 32 * 1024 * 1024;

/** The frame alone: every task in it is checked on its own, so that one wrong task refuses no other. */
const FrameSchema = Type.Object(
  { tasks: Type.Array(Type.Unknown(), { "x-allowed": "a list of tasks" }) },
  { additionalProperties: false, "x-allowed": 'an object {"tasks": […]}' },
);

const BatchRequestSchema = Type.Object(
  { tasks: Type.Array(EnqueueRequestSchema, { minItems: 1, maxItems: MAX_BATCH_ITEMS }) },
  { additionalProperties: false },
);

export const BatchAnswerSchema = Type.Object({
  results: Type.Array(
    Type.Union([
      EnqueuedSchema,
      DuplicateSchema,
      Type.Object({
        status: Type.Literal("rejected"),
        code: Type.Index(ProblemSchema, ["code"]),
        detail: Type.String(),
        errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
      }),
    ]),
    { description: "One per task, in order." },
  ),
  enqueued: Type.Integer(),
  duplicates: Type.Integer(),
  rejected: Type.Integer(),
});

export function batchRoute(service: TaskService, room: BodyRoom): Route {
  const frame = compile(FrameSchema);
  const item = compile(EnqueueRequestSchema);
  return {
    method: "POST",
    path: "/v1/enqueue/batch",
    summary: `Hand in up to ${MAX_BATCH_ITEMS} tasks, each admitted on its own`,
    access: "task",
    headers: {
      ...ENQUEUE_HEADERS,
      "Idempotency-Key": "As for one task: the task at index N has the key {Idempotency-Key}:N.",
    },
    body: [
      { type: JSON_TYPE, schema: BatchRequestSchema },
      { type: NDJSON_TYPE, schema: EnqueueRequestSchema },
    ],
    answers: {
      202: {
        description: "What became of each task. The RateLimit headers where all are of one client.",
        schema: BatchAnswerSchema,
        headers: RATE_HEADERS,
      },
    },
    problems: [400, 401, 413, 415, 429, 503],
    async handle({ request, caller }) {
      const type = mediaTypeOf(request, [JSON_TYPE, NDJSON_TYPE]);
      service.throwWhenOverloaded();
      return room.withText(request, MAX_BATCH_BYTES, async (text) => {
        // What came meanwhile may have filled the line; to take this apart first would be what costs most.
        service.throwWhenOverloaded();
        const values = type === NDJSON_TYPE ? linesOf(text) : itemsOf(parseJson(text), frame);
        if (values.length === 0 || values.length > MAX_BATCH_ITEMS) {
          throw invalid([{ path: "tasks", message: `must be 1 to ${MAX_BATCH_ITEMS} tasks` }]);
        }
        const items = await admitted(
          values.map((value) => checkedItem(value, item)),
          caller,
        );
        const { results, rate } = await service.enqueueBatch(items, contextOf(request));
        return json(202, answerOf(results), rate && rateHeaders(rate));
      });
    },
  };
}

function itemsOf(value: unknown, frame: Validator<{ tasks: unknown[] }>): readonly unknown[] {
  if (!frame.fits(value)) throw invalid(frame.problems(value));
  return value.tasks;
}

/** One value a line; blank lines are passed over. A line that is no JSON stands as its error. */
function linesOf(text: string): readonly unknown[] {
  const values: unknown[] = [];
  for (const line of text.split("\n", MAX_BATCH_ITEMS * 2)) {
    if (line.trim() === "") continue;
    try {
      values.push(parseJson(line));
    } catch (error) {
      values.push(error);
    }
  }
  return values;
}

function checkedItem(value: unknown, item: Validator<EnqueueRequest>): EnqueueRequest | TaskRunnerError {
  if (value instanceof TaskRunnerError || item.fits(value)) return value;
  return invalid(item.problems(value));
}

/** The items, with an error in place of those that the caller may not hand in. Asks once for each client. */
async function admitted(
  items: readonly (EnqueueRequest | TaskRunnerError)[],
  caller: Caller,
): Promise<readonly (EnqueueRequest | TaskRunnerError)[]> {
  if (caller.seesAll) return items;
  const clients = new Set(items.flatMap((one) => (one instanceof TaskRunnerError ? [] : [one.client_id])));
  const refusals = new Map<string, TaskRunnerError>();
  const ask = async (id: string) => {
    if (!(await caller.mayUse(id))) refusals.set(id, refusalOf(caller, id));
  };
  await Promise.all([...clients].map(ask));
  return items.map((one) => (one instanceof TaskRunnerError ? one : (refusals.get(one.client_id) ?? one)));
}

function answerOf(results: readonly (Accepted | TaskRunnerError)[]) {
  const shown = results.map((result, index) =>
    result instanceof TaskRunnerError ? rejectedJson(result, index) : acceptedJson(result),
  );
  const count = (status: string) => shown.filter((result) => result.status === status).length;
  return {
    results: shown,
    enqueued: count("enqueued"),
    duplicates: count("duplicate"),
    rejected: count("rejected"),
  };
}

function rejectedJson(error: TaskRunnerError, index: number) {
  const fields = shownFields(error.fields).map(({ path, message }) => ({
    path: `tasks[${index}].${path}`,
    message,
  }));
  return {
    status: "rejected",
    code: error.code,
    detail: error.message,
    ...(fields.length > 0 && { errors: fields }),
  } as const;
}
