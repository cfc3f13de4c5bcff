/** Time as a dependency: the core never reads a clock, so a test or a simulation can own every instant. */

/** Cancels a timer; calling it twice, or after the timer fired, does nothing. */
export type CancelTimer = () => void;

/** The source of time for everything that waits or stamps. */
export interface Clock {
  /** Milliseconds since the Unix epoch, an integer. */
  now(): number;
  /** Milliseconds since some moment, which may be fractions; never goes back, whatever becomes of `now`. */
  monoMs(): number;
  /** Calls `fire` once, `delayMs` from now (soon when it is zero or negative, but never within this call). */
  after(delayMs: number, fire: () => void): CancelTimer;
}

/** A number in [0, 1), as `Math.random` gives; injected so that a seed replays a run. */
export type Random = () => number;

/**
 * Resolves after `delayMs`, or as soon as `signal` aborts; it never rejects, so a loop that waits
 * can look at its own stop condition in one place.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = clock.after(delayMs, finish);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
