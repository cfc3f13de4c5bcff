/** Which dead tasks somebody means: the schemas of the requests that start them over or remove them. */

import { type Static, Type } from "@sinclair/typebox";
import type { FieldProblem } from "../core/errors.ts";
import { ClientIdSchema, QueueNameSchema } from "./enqueue-request.ts";
import { parseInstantMs } from "./instant.ts";
import { invalid } from "./new-task.ts";
import { says, wholeNumber } from "./schema-words.ts";

/** Tasks that one request starts over or removes, unless it says otherwise, and at most. */
export const DEFAULT_DEAD = 1_000;
const MAX_DEAD = 10_000;
const MAX_IDS = 1_000;
const MIN_RATE = 0.01;
const MAX_RATE = 1_000_000;
/** Characters of a cursor: the store's own, and what is put before it. */
const MAX_CURSOR = 640;

const TIME_FORM = "a time as RFC 3339 (2030-01-31T08:00:00Z) or as seconds since 1970";
const { default: _unnamed, ...QueueSchema } = QueueNameSchema;

const timeSchema = (description: string) =>
  says(TIME_FORM, Type.Union([Type.String({ maxLength: 64 }), Type.Number({ minimum: 0 })], { description }));

const FilterSchema = says(
  "an object",
  Type.Object(
    {
      client_id: Type.Optional({ ...ClientIdSchema, description: "Only this client's." }),
      from: Type.Optional(timeSchema("Only those handed in at this time or later.")),
      to: Type.Optional(timeSchema("Only those handed in before this time.")),
      ids: Type.Optional(
        says(
          `a list of 1 to ${MAX_IDS} tasks' ids`,
          Type.Array(says("a task's id", Type.String({ pattern: "^[0-9A-HJKMNP-TV-Z]{26}$" })), {
            minItems: 1,
            maxItems: MAX_IDS,
            description: "Only these, as far as they are dead.",
          }),
        ),
      ),
    },
    { additionalProperties: false },
  ),
);

const SELECTION = {
  queue: Type.Optional({ ...QueueSchema, description: "Only this queue's." }),
  filter: Type.Optional(FilterSchema),
  limit: Type.Optional(wholeNumber(1, MAX_DEAD, `At most so many; ${DEFAULT_DEAD} unless told.`)),
  cursor: Type.Optional(
    says(
      "the next_cursor of the answer before",
      Type.String({
        minLength: 1,
        maxLength: MAX_CURSOR,
        description: "next_cursor of the answer before, to go on.",
      }),
    ),
  ),
};

export const DeadPurgeSchema = says(
  "a JSON object",
  Type.Object(SELECTION, {
    $id: "DeadPurgeRequest",
    additionalProperties: false,
    description: "Of all dead tasks those that fit, the newest first.",
  }),
);
export type DeadPurgeRequest = Static<typeof DeadPurgeSchema>;

export const DeadReplaySchema = says(
  "a JSON object",
  Type.Object(
    {
      ...SELECTION,
      rate_per_sec: Type.Optional(
        says(
          `a number from ${MIN_RATE} to ${MAX_RATE}`,
          Type.Number({
            minimum: MIN_RATE,
            maximum: MAX_RATE,
            description: "Let so many of them begin a second; all at once unless told.",
          }),
        ),
      ),
    },
    {
      $id: "DeadReplayRequest",
      additionalProperties: false,
      description: "Of all dead tasks those that fit, the newest first.",
    },
  ),
);
export type DeadReplayRequest = Static<typeof DeadReplaySchema>;

/** Which dead tasks are meant. What is left out does not matter. */
export interface Selection {
  readonly queue?: string;
  readonly clientId?: string;
  /** Accepted at or after this time, in milliseconds since the epoch. */
  readonly fromMs?: number;
  /** Accepted before this time. */
  readonly toMs?: number;
}

/** Throws `validation_failed` for a time that is none. */
export function selectionOf({ queue, filter = {} }: DeadPurgeRequest): Selection {
  const problems: FieldProblem[] = [];
  const fromMs = instantOf("filter.from", filter.from, problems);
  const toMs = instantOf("filter.to", filter.to, problems);
  if (problems.length > 0) throw invalid(problems);
  return {
    ...(queue !== undefined && { queue }),
    ...(filter.client_id !== undefined && { clientId: filter.client_id }),
    ...(fromMs !== null && { fromMs }),
    ...(toMs !== null && { toMs }),
  };
}

function instantOf(path: string, given: string | number | undefined, problems: FieldProblem[]) {
  if (given === undefined) return null;
  const isSeconds = typeof given === "string" && /^\d{1,12}(?:\.\d{1,9})?$/.test(given);
  const atMs = parseInstantMs(isSeconds ? Number(given) : given);
  if (atMs === null) problems.push({ path, message: `must be ${TIME_FORM}` });
  return atMs;
}
