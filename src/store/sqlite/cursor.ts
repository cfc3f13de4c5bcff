/** The refusal of a cursor that no page of this store gave out, in one wording for all listings. */

import { TaskRunnerError } from "../../core/errors.ts";

export function badCursor(): TaskRunnerError {
  return new TaskRunnerError("validation_failed", "the cursor is not one that a listing gave", {
    fields: [{ path: "cursor", message: "is not a cursor from an earlier page; leave it out to start over" }],
  });
}
