/** What a caller may say when handing in a task: the one schema behind validation, types and OpenAPI. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { PRIORITIES } from "../core/priority.ts";
import { MAX_METADATA_CHARS, MAX_METADATA_ENTRIES, RESERVED_METADATA } from "../core/task.ts";

/** The furthest a task may be planned ahead. */
export const MAX_AHEAD_DAYS = 366;
/** The longest a finished task may be asked to stay readable. */
export const MAX_RETENTION_DAYS = 31;
/** The longest one attempt may be asked to take. */
export const MAX_TIMEOUT_SEC = 1_800;
/** The most tasks one batch holds. */
export const MAX_BATCH_ITEMS = 1_000;
/** The methods a task may use. CONNECT and TRACE are refused by every HTTP client worth the name. */
export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

const DAY_SEC = 86_400;

/**
 * Says beside a schema, in words for a person, which values it takes: the text of its error. `allowed`
 * completes the sentence "must be …".
 */
function says<T extends TSchema>(allowed: string, schema: T): T {
  return Object.assign(schema, { "x-allowed": allowed });
}

/** A number of seconds between two bounds, fractions allowed. */
function seconds(minimum: number, maximum: number, description: string) {
  return says(
    `a number of seconds from ${minimum} to ${maximum}`,
    Type.Number({ minimum, maximum, description }),
  );
}

export const ClientIdSchema = says(
  "1 to 128 characters of A-Z a-z 0-9 . _ : -",
  Type.String({
    minLength: 1,
    maxLength: 128,
    pattern: "^[A-Za-z0-9._:-]+$",
    description: "Who hands the task in.",
  }),
);

export const QueueNameSchema = says(
  "1 to 100 characters of A-Z a-z 0-9 _ -",
  Type.String({
    minLength: 1,
    maxLength: 100,
    pattern: "^[A-Za-z0-9_-]+$",
    default: "default",
    description: "The queue it waits in, made on first use unless QUEUE_AUTO_CREATE is false.",
  }),
);

export const PrioritySchema = says(
  `one of ${PRIORITIES.join(", ")}`,
  Type.Unsafe<(typeof PRIORITIES)[number]>(
    Type.Union(
      PRIORITIES.map((priority) => Type.Literal(priority)),
      { default: "normal", description: "Served in weighted order, so that nothing starves." },
    ),
  ),
);

export const DelaySchema = seconds(
  0,
  MAX_AHEAD_DAYS * DAY_SEC,
  "Run this many seconds from now. Not together with scheduled_at.",
);

export const ScheduledAtSchema = says(
  "a time as RFC 3339 (2030-01-31T08:00:00Z) or as seconds since 1970",
  Type.Union([Type.String({ maxLength: 64 }), Type.Number({ minimum: 0 })], {
    description: `Run at this time, at most ${MAX_AHEAD_DAYS} days ahead; a time past means now. RFC 3339, or seconds since 1970.`,
  }),
);

const HeadersSchema = says(
  'an object of text values, e.g. {"Authorization": "Bearer …"}',
  Type.Record(Type.String(), says("text", Type.String()), {
    default: {},
    description:
      "Sent with the task, at most 64 and 32 KiB in all. Host, Content-Length, Connection and the other " +
      "hop-by-hop headers, and X-Task-*, are left out.",
  }),
);

export const RetrySchema = says(
  "an object",
  Type.Object(
    {
      max_attempts: Type.Optional(
        says(
          "a whole number from 1 to 1000000, or -1 for no limit",
          Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Literal(-1)], {
            description: "Deliveries in all, the first included; -1 for no limit.",
          }),
        ),
      ),
      min_backoff_sec: Type.Optional(seconds(0, 31 * DAY_SEC, "The wait before the first retry. Default 1.")),
      max_backoff_sec: Type.Optional(
        seconds(0, 31 * DAY_SEC, "The longest wait between tries. Default 3600."),
      ),
      max_doublings: Type.Optional(
        says(
          "a whole number from 0 to 64",
          Type.Integer({
            minimum: 0,
            maximum: 64,
            description: "How often the wait doubles before it grows evenly. Default 16.",
          }),
        ),
      ),
      max_duration_sec: Type.Optional(
        seconds(
          0,
          MAX_AHEAD_DAYS * DAY_SEC,
          "Keep trying at least this long after the first attempt, even when max_attempts is used up.",
        ),
      ),
      jitter: Type.Optional(
        says(
          "a number from 0 to 1",
          Type.Number({
            minimum: 0,
            maximum: 1,
            description: "The fraction by which each wait is varied. Default 0.1.",
          }),
        ),
      ),
    },
    { additionalProperties: false, description: "What is left out is the worker's default." },
  ),
);

function url(description: string) {
  return says(
    "an absolute URL of at most 8192 characters, e.g. https://example.com/hook",
    Type.String({ minLength: 1, maxLength: 8_192, description }),
  );
}

export const TargetSchema = says(
  "an object with the url to call",
  Type.Object(
    {
      url: Type.Optional(url("Where to call. Only tasks of a pull queue may be without one.")),
      method: Type.Optional(
        says(
          `one of ${METHODS.join(", ")}`,
          Type.String({
            pattern: `^(?:${METHODS.map(anyCase).join("|")})$`,
            default: "POST",
            description: `One of ${METHODS.join(", ")}, in any case.`,
          }),
        ),
      ),
      headers: Type.Optional(HeadersSchema),
      body: Type.Optional(
        Type.Unknown({
          description:
            "What to send. A string is sent as it is, as text/plain;charset=UTF-8 unless headers give a " +
            "Content-Type; any other value is sent as JSON, as application/json unless headers give one. " +
            "Null is the same as none.",
        }),
      ),
      body_base64: Type.Optional(
        says(
          "base64 (RFC 4648, with padding)",
          Type.String({
            contentEncoding: "base64",
            description:
              "Bytes to send, in place of body; sent without a Content-Type unless headers give one.",
          }),
        ),
      ),
      timeout_sec: Type.Optional(
        seconds(
          1,
          MAX_TIMEOUT_SEC,
          "The limit of one attempt; the worker's own limit (TASK_TIMEOUT_SEC) caps it.",
        ),
      ),
    },
    { additionalProperties: false, description: "The call to make." },
  ),
);

export const EnqueueRequestSchema = says(
  "a JSON object",
  Type.Object(
    {
      client_id: ClientIdSchema,
      queue: Type.Optional(QueueNameSchema),
      task: TargetSchema,
      delay: Type.Optional(DelaySchema),
      scheduled_at: Type.Optional(ScheduledAtSchema),
      priority: Type.Optional(PrioritySchema),
      name: Type.Optional(
        says(
          "1 to 500 characters of A-Z a-z 0-9 . _ : ~ / @ + = -",
          Type.String({
            minLength: 1,
            maxLength: 500,
            pattern: "^[A-Za-z0-9._:~/@+=-]+$",
            description:
              "A name of the caller's choosing: a second task of that name in the queue is not made.",
          }),
        ),
      ),
      ordering_key: Type.Optional(
        says(
          "1 to 256 characters without control characters",
          Type.String({
            minLength: 1,
            maxLength: 256,
            pattern: "^[^\\u0000-\\u001f\\u007f]+$",
            description: "Tasks of one key in a queue run one at a time, in order.",
          }),
        ),
      ),
      retry: Type.Optional(RetrySchema),
      retention_sec: Type.Optional(
        seconds(
          0,
          MAX_RETENTION_DAYS * DAY_SEC,
          "How long the task stays readable once it ended; 0 drops it at once.",
        ),
      ),
      metadata: Type.Optional(
        says(
          "an object of text values",
          Type.Record(Type.String(), says("text", Type.String()), {
            default: {},
            description:
              `Kept with the task and shown with it; at most ${MAX_METADATA_ENTRIES} entries and ` +
              `${MAX_METADATA_CHARS} characters in all. Names that begin with "${RESERVED_METADATA}" are not taken.`,
          }),
        ),
      ),
      callback_url: Type.Optional(
        url(
          "Sent a report once the task has succeeded, and once it is dead where failure_callback_url is not given.",
        ),
      ),
      failure_callback_url: Type.Optional(url("Sent a report once the task is dead.")),
    },
    { $id: "EnqueueRequest", additionalProperties: false },
  ),
);
export type EnqueueRequest = Static<typeof EnqueueRequestSchema>;

/** A change to a waiting task. */
export const RescheduleRequestSchema = says(
  "a JSON object with scheduled_at or delay, or priority, or a time and priority",
  Type.Object(
    {
      scheduled_at: Type.Optional(ScheduledAtSchema),
      delay: Type.Optional(DelaySchema),
      priority: Type.Optional(PrioritySchema),
    },
    { additionalProperties: false, minProperties: 1 },
  ),
);
export type RescheduleRequest = Static<typeof RescheduleRequestSchema>;

/** A pattern that matches a word in any case; JSON Schema has no flag for it. */
function anyCase(word: string): string {
  return word.replace(/[A-Z]/g, (letter) => `[${letter}${letter.toLowerCase()}]`);
}
