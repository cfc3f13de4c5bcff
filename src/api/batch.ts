/** POST /v1/enqueue/batch: hands in many tasks, each admitted on its own. */

import { Type } from "@sinclair/typebox";
import { TaskRunnerError } from "../core/errors.ts";
import { type EnqueueRequest, EnqueueRequestSchema, MAX_BATCH_ITEMS } from "../service/enqueue-request.ts";
import { invalid } from "../service/new-task.ts";
import type { Accepted, TaskService } from "../service/tasks.ts";
import { acceptedJson, contextOf, DuplicateSchema, ENQUEUE_HEADERS, EnqueuedSchema } from "./enqueue.ts";
import { JSON_TYPE, mediaTypeOf, NDJSON_TYPE, parseJson, readText } from "./json-body.ts";
import { ProblemSchema, shownFields } from "./problem.ts";
import { json, type Route } from "./route.ts";
import { compile, type Validator } from "./validate.ts";

const MAX_BATCH_BYTES = 32 * 1024 * 1024;

/** The frame alone: every task in it is checked on its own, so that one wrong task refuses no other. */
const FrameSchema = Type.Object(
  { tasks: Type.Array(Type.Unknown(), { "x-allowed": "a list of tasks" }) },
  { additionalProperties: false, "x-allowed": 'an object {"tasks": […]}' },
);

const BatchRequestSchema = Type.Object(
  { tasks: Type.Array(EnqueueRequestSchema, { minItems: 1, maxItems: MAX_BATCH_ITEMS }) },
  { additionalProperties: false },
);

const BatchAnswerSchema = Type.Object({
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

export function batchRoute(service: TaskService): Route {
  const frame = compile(FrameSchema);
  const item = compile(EnqueueRequestSchema);
  return {
    method: "POST",
    path: "/v1/enqueue/batch",
    summary: `Hand in up to ${MAX_BATCH_ITEMS} tasks, each admitted on its own`,
    admin: false,
    headers: {
      ...ENQUEUE_HEADERS,
      "Idempotency-Key": "As for one task: the task at index N has the key {Idempotency-Key}:N.",
    },
    body: [
      { type: JSON_TYPE, schema: BatchRequestSchema },
      { type: NDJSON_TYPE, schema: EnqueueRequestSchema },
    ],
    answers: { 202: { description: "What became of each task.", schema: BatchAnswerSchema } },
    problems: [400, 413, 415, 503],
    async handle({ request }) {
      const type = mediaTypeOf(request, [JSON_TYPE, NDJSON_TYPE]);
      const text = await readText(request, MAX_BATCH_BYTES);
      const values = type === NDJSON_TYPE ? linesOf(text) : itemsOf(parseJson(text), frame);
      if (values.length === 0 || values.length > MAX_BATCH_ITEMS) {
        throw invalid([{ path: "tasks", message: `must be 1 to ${MAX_BATCH_ITEMS} tasks` }]);
      }
      const items = values.map((value) => checkedItem(value, item));
      const results = await service.enqueueBatch(items, contextOf(request));
      return json(202, answerOf(results));
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
