/** The one clear line that a plugin stops the start with. */

import { stripVTControlCharacters } from "node:util";
import { messageOf, TaskRunnerError } from "../core/errors.ts";

/** A plugin that cannot be used; ends the start with exit status 2, like a wrong setting. */
export function pluginFault(message: string, cause?: unknown): TaskRunnerError {
  return new TaskRunnerError("validation_failed", message, cause === undefined ? {} : { cause });
}

const LONGEST_REASON = 300;

/** What was thrown, on one line, without colours and of bounded length. */
export function reasonOf(thrown: unknown): string {
  const line = stripVTControlCharacters(messageOf(thrown));
  return line.length > LONGEST_REASON ? `${line.slice(0, LONGEST_REASON)}…` : line || "it gave no reason";
}
