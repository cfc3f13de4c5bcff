/** What the tests of the HTTP transport share. */

import type { Clock } from "../../src/core/clock.ts";
import { createHttpTransport, type HttpTransportOptions } from "../../src/transport/http/http.ts";

/** Real time. */
export const realClock: Clock = {
  now: () => Date.now(),
  monoMs: () => performance.now(),
  after: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

/** A transport for tests, which may call loopback unless told otherwise. */
export function httpTransport(changes: Partial<HttpTransportOptions> = {}) {
  return createHttpTransport({ allowPrivate: true, version: "1.2.3", clock: realClock, ...changes });
}
