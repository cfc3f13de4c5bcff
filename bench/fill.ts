/** Hands in many tasks beforehand, off the clock, the same way to whatever serves our batch route. */

import { BATCH_PATH, enqueueRequest } from "./load-shape.ts";

/** Tasks of one batch request. */
const BATCH = 1_000;
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Enqueues `total` tasks through the batch route; `more` gives the fields of the i-th beside its target, `body` its
 * payload, where that is not the usual one.
 */
export async function enqueueMany(
  serverUrl: string,
  total: number,
  targetUrl: string,
  more: (i: number) => Readonly<Record<string, unknown>> = () => ({}),
  body: (i: number) => string | undefined = () => undefined,
): Promise<void> {
  for (let done = 0; done < total; done += BATCH) {
    const count = Math.min(BATCH, total - done);
    const tasks = Array.from({ length: count }, (_, i) =>
      enqueueRequest(targetUrl, body(done + i), more(done + i)),
    );
    const answer = await fetch(serverUrl + BATCH_PATH, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ tasks }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await answer.text();
    const result = answer.ok ? JSON.parse(text) : {};
    if (result.enqueued !== count)
      throw new Error(`a batch was not taken: ${answer.status} ${text.slice(0, 500)}`);
  }
}
