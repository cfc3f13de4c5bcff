/** Requests in any sixty seconds: a sliding window that is exact to the second and never lets more through. */

/** The window's length. */
export const RATE_WINDOW_MS = 60_000;
/** Requests this close to the first of their entry are counted in it, so that a window is sixty-one entries at most. */
const ENTRY_MS = 1_000;

/** Requests counted together, as [time of the first, time of the last, how many]; oldest first. */
export type RateWindow = readonly (readonly [firstMs: number, lastMs: number, count: number])[];

/**
 * What of a window still counts. An entry leaves sixty seconds after its last request: so no sixty seconds ever see
 * more than the limit, and a request is counted for less than a second too long at most.
 */
export function windowNow(window: RateWindow, nowMs: number): RateWindow {
  return window.filter(([, lastMs]) => lastMs + RATE_WINDOW_MS > nowMs);
}

/** Requests in a window that {@link windowNow} has brought up to date. */
export function requestsIn(window: RateWindow): number {
  return window.reduce((sum, [, , count]) => sum + count, 0);
}

/** The window with one request more. */
export function withRequest(window: RateWindow, nowMs: number): RateWindow {
  const last = window.at(-1);
  if (last === undefined || nowMs - last[0] >= ENTRY_MS) return [...window, [nowMs, nowMs, 1]];
  return [...window.slice(0, -1), [last[0], Math.max(last[1], nowMs), last[2] + 1]];
}

/** Milliseconds until a window that is full lets the next request in; 0 when it is not full. */
export function roomAfterMs(window: RateWindow, limit: number, nowMs: number): number {
  let over = requestsIn(window) - limit + 1;
  if (over <= 0) return 0;
  for (const [, lastMs, count] of window) {
    over -= count;
    if (over <= 0) return lastMs + RATE_WINDOW_MS - nowMs;
  }
  // A limit of nought never has room.
  return RATE_WINDOW_MS;
}
