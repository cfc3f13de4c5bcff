/** Waiting for something real to become true: by looking again and again, and never for ever. */

import { messageOf } from "../../../src/core/errors.ts";

const LOOK_EVERY_MS = 20;

/**
 * Looks until `look` gives something other than null, undefined or false, and returns that. A look that
 * throws counts as "not yet". Rejects after `withinMs`, naming `what` and the last reason.
 */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let last = "";
  for (;;) {
    try {
      const seen = await look();
      if (seen !== null && seen !== undefined && seen !== false) return seen;
    } catch (thrown) {
      last = `: ${messageOf(thrown)}`;
    }
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}${last}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
