/** The few words in which the schemas of settings are written, so that each says in its errors what it takes. */

import { type TSchema, Type } from "@sinclair/typebox";

const DAY_SEC = 86_400;

/**
 * Says beside a schema, in words for a person, which values it takes: the text of its error. `allowed`
 * completes the sentence "must be …".
 */
export function says<T extends TSchema>(allowed: string, schema: T): T {
  return Object.assign(schema, { "x-allowed": allowed });
}

/** What a schema takes, or null. `meaning` says what null stands for. */
export function orNull<T extends TSchema>(schema: T, meaning: string) {
  return says(
    `${schema["x-allowed"]}, or null for ${meaning}`,
    Type.Union([schema, Type.Null()], {
      description: `${schema.description ?? ""} Null: ${meaning}.`.trim(),
    }),
  );
}

export function wholeNumber(minimum: number, maximum: number, description: string) {
  return says(
    `a whole number from ${minimum} to ${maximum}`,
    Type.Integer({ minimum, maximum, description }),
  );
}

/** A number of seconds between two bounds, fractions allowed. */
export function seconds(minimum: number, maximum: number, description: string) {
  return says(
    `a number of seconds from ${minimum} to ${maximum}`,
    Type.Number({ minimum, maximum, description }),
  );
}

/** A number of seconds from `minimum` up to so many days. */
export function secondsToDays(minimum: number, days: number, description: string) {
  return seconds(minimum, days * DAY_SEC, description);
}

export function yesOrNo(description: string) {
  return says("true or false", Type.Boolean({ description }));
}

/** A time as the API shows it. */
export const TimeSchema = Type.String({ format: "date-time" });

export function timeJson(ms: number): string {
  return new Date(ms).toISOString();
}
