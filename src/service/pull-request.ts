/** What consumers may ask and are answered: one schema behind validation, types and the document. */

import { type Static, Type } from "@sinclair/typebox";
import { PRIORITIES, type Priority } from "../core/priority.ts";
import { LEASE_PATTERN } from "./lease-token.ts";
import { says, seconds, TimeSchema, wholeNumber } from "./schema-words.ts";

/** The most tasks that one request leases, and the most leases that one tells of. */
export const MAX_LEASES = 100;
/** The longest that one request waits for tasks. */
export const MAX_WAIT_SEC = 60;
const MAX_LEASE_SEC = 43_200;
export const DEFAULT_LEASE_SEC = 30;
/** More of an answer than is kept of one may be sent, so that nobody has to count bytes. */
const MAX_RESPONSE_CHARS = 8_192;
const MAX_ERROR_CHARS = 1_024;
const MAX_RETRY_AFTER_SEC = 31 * 86_400;

const leaseSec = seconds(
  1,
  MAX_LEASE_SEC,
  `How long the leases hold unless extended. Default ${DEFAULT_LEASE_SEC}.`,
);

export const LeaseRequestSchema = says(
  "a JSON object",
  Type.Object(
    {
      max: Type.Optional(wholeNumber(1, MAX_LEASES, "Tasks to lease at most. Default 1.")),
      lease_sec: Type.Optional(leaseSec),
      wait_sec: Type.Optional(
        seconds(0, MAX_WAIT_SEC, "How long to wait for the first task where there is none. Default 0."),
      ),
      consumer: Type.Optional(
        says(
          "1 to 100 characters of A-Z a-z 0-9 . _ -",
          Type.String({
            minLength: 1,
            maxLength: 100,
            pattern: "^[A-Za-z0-9._-]+$",
            description: "Who asks, as the tasks' attempts will name him.",
          }),
        ),
      ),
    },
    { $id: "LeaseRequest", additionalProperties: false },
  ),
);
export type LeaseRequest = Static<typeof LeaseRequestSchema>;

const LeaseSchema = says(
  "a lease, as it was given with its task",
  Type.String({ maxLength: 64, pattern: LEASE_PATTERN, description: "The lease that came with the task." }),
);

const list = <T extends Parameters<typeof Type.Array>[0]>(item: T) =>
  says(
    `a list of 1 to ${MAX_LEASES} leases`,
    Type.Array(item, { minItems: 1, maxItems: MAX_LEASES, description: "Answered one by one, in order." }),
  );

export const AckRequestSchema = says(
  "an object with leases",
  Type.Object(
    {
      leases: list(
        says(
          "a lease, or an object with lease and response",
          Type.Union([
            LeaseSchema,
            Type.Object(
              {
                lease: LeaseSchema,
                response: Type.Optional(
                  says(
                    `text of at most ${MAX_RESPONSE_CHARS} characters`,
                    Type.String({
                      maxLength: MAX_RESPONSE_CHARS,
                      description: "What came of it; the first KiB is kept with the attempt.",
                    }),
                  ),
                ),
              },
              { additionalProperties: false },
            ),
          ]),
        ),
      ),
    },
    { $id: "AckRequest", additionalProperties: false },
  ),
);
export type AckRequest = Static<typeof AckRequestSchema>;

export const NackRequestSchema = says(
  "an object with leases",
  Type.Object(
    {
      leases: list(
        says(
          "a lease, or an object with lease, error, permanent and retry_after_sec",
          Type.Union([
            LeaseSchema,
            Type.Object(
              {
                lease: LeaseSchema,
                error: Type.Optional(
                  says(
                    `text of 1 to ${MAX_ERROR_CHARS} characters`,
                    Type.String({
                      minLength: 1,
                      maxLength: MAX_ERROR_CHARS,
                      description: "Why it failed, as it is kept with the attempt.",
                    }),
                  ),
                ),
                permanent: Type.Optional(
                  says(
                    "true or false",
                    Type.Boolean({ description: "true: it is dead, for repeating it cannot help." }),
                  ),
                ),
                retry_after_sec: Type.Optional(
                  seconds(
                    0,
                    MAX_RETRY_AFTER_SEC,
                    "Not before this many seconds from now, at most its max_backoff_sec.",
                  ),
                ),
              },
              { additionalProperties: false },
            ),
          ]),
        ),
      ),
    },
    { $id: "NackRequest", additionalProperties: false },
  ),
);
export type NackRequest = Static<typeof NackRequestSchema>;

export const ExtendRequestSchema = says(
  "an object with leases and lease_sec",
  Type.Object(
    {
      leases: list(LeaseSchema),
      lease_sec: Type.Optional({ ...leaseSec, description: "From now on. Default 30." }),
    },
    { $id: "ExtendRequest", additionalProperties: false },
  ),
);
export type ExtendRequest = Static<typeof ExtendRequestSchema>;

/** What became of a lease that somebody told of. */
export type LeaseStatus = "acked" | "nacked" | "extended" | "lost" | "cancelled";

const STATUSES: Readonly<Record<LeaseStatus, string>> = {
  acked: "the task has succeeded",
  nacked: "the task is tried again, or is dead, as its retries say",
  extended: "the lease holds for lease_sec from now",
  lost: "the lease is over, or never was: it changed nothing, and another may have the task",
  cancelled: "the task was cancelled meanwhile: leave it",
};

export const LeaseResultsSchema = Type.Object({
  results: Type.Array(
    Type.Object({
      lease: Type.String(),
      status: Type.Unsafe<LeaseStatus>(
        Type.String({
          enum: Object.keys(STATUSES),
          description: Object.entries(STATUSES)
            .map(([status, meaning]) => `${status}: ${meaning}`)
            .join("; "),
        }),
      ),
    }),
    { description: "One per lease, in order." },
  ),
});
export type LeaseResult = Static<typeof LeaseResultsSchema>["results"][number];

export const LeasedTaskSchema = Type.Object(
  {
    task_id: Type.String(),
    lease: Type.String({ description: "To be told of the task with: ack, nack or extend." }),
    lease_until: TimeSchema,
    queue: Type.String(),
    client_id: Type.String(),
    priority: Type.Unsafe<Priority>(Type.String({ enum: [...PRIORITIES] })),
    attempt: Type.Integer({ description: "1 for the first." }),
    crashes: Type.Integer({ description: "Leases of it that ran out." }),
    scheduled_at: TimeSchema,
    metadata: Type.Record(Type.String(), Type.String()),
    traceparent: Type.Union([Type.String(), Type.Null()], { description: "W3C trace context." }),
    task: Type.Object({
      url: Type.String({ description: "Empty where it has none." }),
      method: Type.String(),
      headers: Type.Record(Type.String(), Type.String()),
      body: Type.Optional(Type.String()),
      body_base64: Type.Optional(Type.String({ contentEncoding: "base64" })),
    }),
  },
  { $id: "LeasedTask" },
);
export type LeasedTaskJson = Static<typeof LeasedTaskSchema>;
