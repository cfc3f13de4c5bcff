/** Takes the limits off new clients, for tests that hand in as one client what no free client may. */

import { FIRST_TIER } from "../../src/core/client.ts";
import { until } from "./redis/until.ts";

/** A process may still be opening its store. */
const OPEN_MS = 15_000;
const ANSWER_MS = 10_000;

/**
 * Gives every client that nobody has put into another tier as many requests a minute, and as many tasks at once, as it
 * likes. `url` is the base of an API, `adminKey` its ADMIN_API_KEY where it has one. Waits for a store that is not open
 * yet; rejects when the API refuses.
 */
export async function liftLimits(url: string, adminKey?: string): Promise<void> {
  const refused = await until("the limits are lifted", OPEN_MS, async () => {
    const answer = await fetch(`${url}/admin/tiers/set`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(adminKey !== undefined && { "x-admin-key": adminKey }),
      },
      body: JSON.stringify({ tier: FIRST_TIER, requests_per_minute: null, max_concurrent: null }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const said = await answer.text();
    if (answer.status === 503) throw new Error(said);
    return { reason: answer.ok ? null : `${answer.status} ${said}` };
  });
  if (refused.reason !== null) throw new Error(`the limits were not lifted: ${refused.reason}`);
}
