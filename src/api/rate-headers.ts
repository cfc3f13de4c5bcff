/** Tells a client how it stands with its requests a minute, in the headers that clients of other services know. */

import { RATE_WINDOW_MS } from "../core/rate-window.ts";
import type { RateState } from "../core/store.ts";

/** The fields of draft-ietf-httpapi-ratelimit-headers-07. Seconds are rounded up. */
export function rateHeaders({ limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    "ratelimit-limit": String(limit),
    "ratelimit-remaining": String(remaining),
    "ratelimit-reset": String(Math.ceil(resetMs / 1_000)),
    "ratelimit-policy": `${limit};w=${RATE_WINDOW_MS / 1_000}`,
  };
}

/** Their names and meanings, for the document. */
export const RATE_HEADERS: Readonly<Record<string, string>> = {
  "RateLimit-Limit":
    "Tasks that the client may hand in in any minute; none of these headers where it has no limit.",
  "RateLimit-Remaining": "Tasks that it may hand in now.",
  "RateLimit-Reset": "Seconds until all of the limit is there again.",
  "RateLimit-Policy": "The limit and its window in seconds.",
};
