/** A queue's rules as callers write and see them: one schema behind validation, types and the document. */

import { type Static, Type } from "@sinclair/typebox";
import { MAX_WEIGHT, MIN_WEIGHT } from "../core/queue.ts";
import { TASK_STATES, type TaskState } from "../core/task.ts";
import {
  MAX_RETENTION_DAYS,
  MAX_TIMEOUT_SEC,
  QueueNameSchema,
  RetrySchema,
  TargetSchema,
} from "./enqueue-request.ts";
import { orNull, says, seconds, secondsToDays, TimeSchema, wholeNumber, yesOrNo } from "./schema-words.ts";
import { SigningSchema } from "./signing-json.ts";

const MAX_RATE = 1_000_000;
/** One in eleven days: slower is meant to be none, which is what pausing is for. */
const MIN_RATE = 0.000_001;
const MAX_LIMIT = 1_000_000_000;
const MAX_PERMANENT_STATUSES = 100;

const { default: _unnamed, ...RequiredNameSchema } = QueueNameSchema;
/** The name of a queue that has to be told. */
export const QueueIdSchema = { ...RequiredNameSchema, description: "The queue's name." };

const { url, method, headers } = TargetSchema.properties;

const TargetOverrideSchema = orNull(
  says(
    "an object with url, method or headers",
    Type.Object(
      {
        url: Type.Optional({ ...url, description: "Called instead of the tasks' own." }),
        method: Type.Optional({ ...method, default: undefined }),
        headers: Type.Optional({
          ...headers,
          default: undefined,
          description:
            "Sent beside the tasks' own, in whose place they stand where the names are alike. As of a task: at most " +
            "64 and 32 KiB, some are left out.",
        }),
      },
      { additionalProperties: false, description: "What of the tasks' targets is replaced." },
    ),
  ),
  "no replacement",
);

const DeadTargetSchema = orNull(
  says(
    "an object with either queue or url",
    Type.Object(
      {
        queue: Type.Optional({ ...QueueIdSchema, description: "Gets a copy of each dead task." }),
        url: Type.Optional({ ...url, description: "Gets a report of each dead task." }),
      },
      {
        additionalProperties: false,
        minProperties: 1,
        maxProperties: 1,
        description: "Where word of a dead task goes.",
      },
    ),
  ),
  "nowhere",
);

const STORE_RETENTION = "what the task says, or else the store's settings do";

const RULES = {
  enabled: yesOrNo("false: it refuses new tasks; those it has go on."),
  paused: yesOrNo("true: it takes tasks and hands none out."),
  max_dispatches_per_sec: orNull(
    says(
      `a number from ${MIN_RATE} to ${MAX_RATE}`,
      Type.Number({
        minimum: MIN_RATE,
        maximum: MAX_RATE,
        description: "Tasks begun a second, over all workers; a fraction is one in so many seconds.",
      }),
    ),
    "no limit",
  ),
  max_burst: orNull(
    wholeNumber(1, MAX_RATE, "Tasks that may begin at once after a rest."),
    "those of one second",
  ),
  max_concurrent: orNull(wholeNumber(0, MAX_LIMIT, "Tasks running at once, over all workers."), "no limit"),
  weight: wholeNumber(MIN_WEIGHT, MAX_WEIGHT, "How many tasks each of its clients gets in a turn."),
  retry: { ...RetrySchema, description: "Of tasks that do not say. Replaced as a whole." },
  timeout_sec: orNull(
    seconds(1, MAX_TIMEOUT_SEC, "The limit of one attempt, of tasks that do not say."),
    "the worker's",
  ),
  target: TargetOverrideSchema,
  retention_succeeded_sec: orNull(
    secondsToDays(0, MAX_RETENTION_DAYS, "How long a succeeded task stays readable; 0 drops it at once."),
    STORE_RETENTION,
  ),
  retention_dead_sec: orNull(
    secondsToDays(0, MAX_RETENTION_DAYS, "How long a dead task stays readable; 0 drops it at once."),
    STORE_RETENTION,
  ),
  permanent_statuses: says(
    `a list of at most ${MAX_PERMANENT_STATUSES} different statuses`,
    Type.Array(says("a status from 300 to 599", Type.Integer({ minimum: 300, maximum: 599 })), {
      maxItems: MAX_PERMANENT_STATUSES,
      uniqueItems: true,
      description: "Answers after which a task is not tried again.",
    }),
  ),
  after_death: says(
    'one of "next", "hold"',
    Type.Union([Type.Literal("next"), Type.Literal("hold")], {
      description:
        "What becomes of an ordering key whose task has died. next: its next task gets it. hold: nobody does, until " +
        "the dead one is replayed or removed.",
    }),
  ),
  dead_target: DeadTargetSchema,
  mode: says(
    'one of "push", "pull"',
    Type.Union([Type.Literal("push"), Type.Literal("pull")], {
      description:
        "Who takes its tasks. push: workers, which call their URLs. pull: consumers, which lease them; its tasks need " +
        "no URL.",
    }),
  ),
};

const RulesSchema = Type.Object(RULES);
export type RulesJson = Static<typeof RulesSchema>;

export const QueueSetSchema = says(
  "a JSON object",
  Type.Object(
    { queue: QueueIdSchema, ...Type.Partial(RulesSchema).properties },
    {
      $id: "QueueSetRequest",
      additionalProperties: false,
      description: "What is left out stays as it is; of a new queue it is the default.",
    },
  ),
);
export type QueueSetRequest = Static<typeof QueueSetSchema>;

const COUNTS = Object.fromEntries(TASK_STATES.map((state) => [state, Type.Integer()]));

export const QueueSchema = Type.Object(
  {
    queue: Type.String(),
    ...RULES,
    signing: SigningSchema,
    created_at: TimeSchema,
    running: Type.Integer({ description: "What counts towards max_concurrent now." }),
    counts: Type.Unsafe<Record<TaskState, number>>(
      Type.Object(COUNTS, { description: "Its tasks, by state." }),
    ),
    next_dispatch_at: Type.Union([TimeSchema, Type.Null()], {
      description: "When its rate lets the next task begin; null when it does now.",
    }),
    purge: Type.Union(
      [
        Type.Object({
          started_at: TimeSchema,
          removed: Type.Integer(),
          share: Type.Number({ description: "How far it is, 0 to 1." }),
        }),
        Type.Null(),
      ],
      { description: "The purge that is under way." },
    ),
  },
  { $id: "Queue" },
);
export type QueueJson = Static<typeof QueueSchema>;
