/** What an explanation of a task looks like: its codes, and the numbers that come with each. */

import { type Static, Type } from "@sinclair/typebox";
import { TASK_STATES, type TaskState } from "../core/task.ts";
import { TimeSchema } from "./schema-words.ts";

/** Every code there is, with what it means. They never change their meaning. */
const REASONS = {
  not_due: "its time has not come",
  queue_paused: "its queue is paused",
  queue_limit: "its queue has as many tasks running as it may",
  queue_rate: "its queue's rate lets the next task begin later",
  client_disabled: "its client is disabled",
  host_held: "its host has failed and is held back until it is tried again",
  client_limit: "its client has as many tasks running as it may",
  key_held: "another task holds its ordering key",
  waiting_turn: "others are ready too, or the workers are busy",
  no_worker: "no worker is there",
  pull_queue: "it waits for a consumer to lease it",
  running: "a worker has it",
  finished: "it is over",
} as const;
type ReasonCode = keyof typeof REASONS;

const meanings = Object.entries(REASONS).map(([code, meaning]) => `${code}: ${meaning}`);

const ReasonSchema = Type.Object({
  code: Type.Unsafe<ReasonCode>(
    Type.String({ enum: Object.keys(REASONS), description: meanings.join("; ") }),
  ),
  detail: Type.String({ description: "The same in words, with what can be done." }),
  running: Type.Optional(Type.Integer({ description: "Tasks running." })),
  limit: Type.Optional(Type.Integer({ description: "The most that may." })),
  host: Type.Optional(Type.String({ description: "The host that is held back." })),
  by: Type.Optional(Type.String({ description: "The task that holds the ordering key." })),
  ready: Type.Optional(
    Type.Integer({
      description: "Other tasks of its queue that are ready, as counted; they are served in turn.",
    }),
  ),
  capacity: Type.Optional(Type.Integer({ description: "Tasks that the workers run at once at most." })),
  worker: Type.Optional(Type.String({ description: "Who has it." })),
  until: Type.Optional(
    Type.String({ format: "date-time", description: "When it is so no longer, where that is known." }),
  ),
});
export type ReasonJson = Static<typeof ReasonSchema>;

export const ExplanationSchema = Type.Object(
  {
    task_id: Type.String(),
    state: Type.Unsafe<TaskState>(Type.String({ enum: [...TASK_STATES] })),
    held: Type.Boolean({ description: "Whether it waits, and something holds it back." }),
    reasons: Type.Array(ReasonSchema, { description: "All that hold it back at once." }),
    next_at: Type.Union([TimeSchema, Type.Null()], {
      description: "When it is likely to run; null where that cannot be told, or it does not wait.",
    }),
  },
  { $id: "Explanation" },
);
export type ExplanationJson = Static<typeof ExplanationSchema>;
