/** What a caller may ask for, checked alike for every listing. */

import { TaskRunnerError } from "../../core/errors.ts";

/** Throws a RangeError unless `value` is a whole number from 1 to `max`. */
export function assertWithin(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new RangeError(`${name} is ${value}; it must be a whole number from 1 to ${max}`);
}

/** The error of a cursor that no listing gave. */
export function cursorError(): TaskRunnerError {
  return new TaskRunnerError("validation_failed", "the cursor is not one that a listing gave", {
    fields: [{ path: "cursor", message: "is not a cursor from an earlier page; leave it out to start over" }],
  });
}
