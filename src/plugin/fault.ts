/** The one clear line that a plugin stops the start with. */

import { stripVTControlCharacters } from "node:util";
import { messageOf, TaskRunnerError } from "../core/errors.ts";

const faults = new WeakSet<object>();

/** A plugin that cannot be used; ends the start with exit status 2, like a wrong setting. */
export function pluginFault(message: string, cause?: unknown): TaskRunnerError {
  const fault = new TaskRunnerError("validation_failed", message, cause === undefined ? {} : { cause });
  faults.add(fault);
  return fault;
}

/** What `look` finds out about a plugin. What a plugin's own parts throw while they are looked at becomes its fault. */
export function lookingAt<T>(given: string, look: () => T): T {
  try {
    return look();
  } catch (thrown) {
    // Not by instanceof, which asks what was thrown for its prototype: it may throw again.
    if (typeof thrown === "object" && thrown !== null && faults.has(thrown)) throw thrown;
    throw pluginFault(
      `plugin ${given} is not usable: a part of it threw when it was read: ${reasonOf(thrown)}`,
      thrown,
    );
  }
}

const LONGEST_REASON = 300;

/** What was thrown, on one line, without colours and of bounded length. */
export function reasonOf(thrown: unknown): string {
  const line = stripVTControlCharacters(messageOf(thrown));
  return line.length > LONGEST_REASON ? `${line.slice(0, LONGEST_REASON)}…` : line || "it gave no reason";
}
