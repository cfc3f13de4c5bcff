/** A Lua command as Redis knows it: a script, by its text the first time and by the digest of its text from then on; or a function of a library. */

import { createHash } from "node:crypto";

export interface Script {
  /** For logs and error messages. */
  readonly name: string;
  readonly lua: string;
  /** Hex SHA-1 of `lua`, which is what EVALSHA takes. */
  readonly sha1: string;
  /**
   * The same command as a function. Redis runs a script from its top at every call, so that all of its Lua functions
   * are made again each time; those of a library are made once.
   */
  readonly library?: Library;
}

/** A library with one function, which has the library's name. */
export interface Library {
  readonly name: string;
  /** What FUNCTION LOAD takes. */
  readonly lua: string;
}

/** How the names of all our libraries begin. */
export const LIBRARY_PREFIX = "task_runner_";

export function defineScript(name: string, lua: string): Script {
  return { name, lua, sha1: sha1(lua) };
}

/**
 * A library that calls itself NAME in `head`. Its name has the digest of its text, so that builds side by side each
 * call their own.
 */
export function defineLibrary(name: string, head: string, lua: string): Library {
  const full = `${LIBRARY_PREFIX}${name}_${sha1(head + lua).slice(0, 16)}`;
  return { name: full, lua: `#!lua name=${full}\n${head.replace("NAME", `'${full}'`)}\n${lua}` };
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
