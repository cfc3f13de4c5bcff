/** A Lua script as Redis knows it: by its text the first time, by the digest of its text from then on. */

import { createHash } from "node:crypto";

export interface Script {
  /** For logs and error messages. */
  readonly name: string;
  readonly lua: string;
  /** Hex SHA-1 of `lua`, which is what EVALSHA takes. */
  readonly sha1: string;
}

export function defineScript(name: string, lua: string): Script {
  return { name, lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
