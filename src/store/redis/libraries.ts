/** Takes away the libraries that other builds have left on the server: nobody else would, and each upgrade leaves some. */

import { RedisReplyError } from "./command-error.ts";
import { LIBRARY_PREFIX } from "./script.ts";
import { SCRIPTS } from "./scripts.ts";

interface Commands {
  command(name: string, ...args: string[]): Promise<unknown>;
}

const OURS = new Set(Object.values(SCRIPTS).map(({ library }) => library?.name));

/**
 * Deletes every library of ours but this build's. A process of another build that still runs loads its own again with
 * its next call. A server without functions, or one that does not let us, is left as it is: a library that stays costs
 * some memory and nothing else.
 */
export async function dropOtherLibraries(connection: Commands): Promise<void> {
  try {
    const listed = (await connection.command(
      "FUNCTION",
      "LIST",
      "LIBRARYNAME",
      `${LIBRARY_PREFIX}*`,
    )) as unknown[][];
    for (const facts of listed) {
      const name = String(facts[facts.indexOf("library_name") + 1]);
      if (!OURS.has(name)) await connection.command("FUNCTION", "DELETE", name);
    }
  } catch (thrown) {
    if (!(thrown instanceof RedisReplyError)) throw thrown;
  }
}
