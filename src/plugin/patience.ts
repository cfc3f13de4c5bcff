/** Bounds how long a plugin is waited for at start. */

import type { Clock } from "../core/clock.ts";

/** A plugin that waits for something while it is loaded, or makes its transports, gets this long. */
export const PATIENCE_SEC = 10;

/** What `work` resolves to, or `late()` as the rejection when it takes longer; then nobody hears of its end. */
export async function withPatience<T>(
  clock: Pick<Clock, "after">,
  work: Promise<T>,
  late: () => Error,
): Promise<T> {
  const over = Promise.withResolvers<never>();
  const cancel = clock.after(PATIENCE_SEC * 1_000, () => over.reject(late()));
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    cancel();
    work.catch(() => {});
  }
}
