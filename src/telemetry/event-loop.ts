/** Measures how late the event loop is: the time that everything else here waits, whatever it waits for. */

import type { CancelTimer, Clock } from "../core/clock.ts";
import type { Spread } from "./tallies.ts";

const EVERY_MS = 250;

/** Puts the lag into `lagSec`, four times a second, until the returned function is called. */
export function watchEventLoop(clock: Clock, lagSec: Spread): () => void {
  let cancel: CancelTimer = () => {};
  const arm = () => {
    const dueMonoMs = performance.now() + EVERY_MS;
    cancel = clock.after(EVERY_MS, () => {
      lagSec.observe(Math.max(0, performance.now() - dueMonoMs) / 1_000);
      arm();
    });
  };
  arm();
  return () => cancel();
}
