/** Puts a server under load from a process of its own and says what it took. */

import type { LoadOptions, LoadResult } from "./processes/load.ts";
import type { Room } from "./room.ts";

/** Sends for as long as the options say; rejects when anything was refused. */
export async function load(room: Room, options: LoadOptions): Promise<LoadResult> {
  const generator = await room.startHelper("load", options);
  const result = (await generator.event("result")) as LoadResult;
  if (result.refused > 0)
    throw new Error(`${result.refused} requests were refused, the first with ${result.refusal}`);
  return result;
}
