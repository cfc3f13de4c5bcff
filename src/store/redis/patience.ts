/** Patience at the start: a bounded number of tries, and pauses between them that end when nobody waits any more. */

import { ConstantBackoff, handleWhen, retry } from "cockatiel";
import { messageOf } from "../../core/errors.ts";

export interface Patience {
  /** At least one is made. */
  readonly tries: number;
  readonly pauseMs: number;
  /** Ends the pauses and the tries; one under way is for `attempt` to end. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the next try may go better. */
  readonly isPassing: (thrown: unknown) => boolean;
  /** Called for each try that failed, the first being number 1, with the reason in one line. */
  readonly onFailedTry: (reason: string, number: number) => void;
}

/**
 * What the first try that goes well gives; rejects with the error of the last. When `signal` aborts it rejects at
 * once during a pause, otherwise as soon as the try under way has failed.
 */
export async function patiently<T>(patience: Patience, attempt: () => Promise<T>): Promise<T> {
  const { tries, pauseMs, signal, isPassing, onFailedTry } = patience;
  const brokenOff = Promise.withResolvers<never>();
  // Nobody may be racing by the time it is told.
  brokenOff.promise.catch(() => {});
  let trying = false;
  const breakOff = () => {
    if (!trying) brokenOff.reject(new Error("broken off"));
  };
  const policy = retry(
    handleWhen((thrown) => signal?.aborted !== true && isPassing(thrown)),
    { maxAttempts: Math.max(tries, 1) - 1, backoff: new ConstantBackoff(pauseMs) },
  );
  const tried = policy.execute(async ({ attempt: before }) => {
    if (signal?.aborted) throw new Error("broken off");
    trying = true;
    try {
      return await attempt();
    } catch (thrown) {
      // Why a try failed that was broken off says nothing.
      if (signal?.aborted !== true) onFailedTry(messageOf(thrown), before + 1);
      throw thrown;
    } finally {
      trying = false;
    }
  });
  // The policy's own pause cannot be broken off: it is left to end by itself, and finds nobody waiting.
  signal?.addEventListener("abort", breakOff);
  try {
    return await Promise.race([tried, brokenOff.promise]);
  } finally {
    signal?.removeEventListener("abort", breakOff);
    tried.catch(() => {});
  }
}
