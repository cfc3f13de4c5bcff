/** Tasks as the API makes them of our enqueue requests, for scenarios that ask the store itself. */

import { idGenerator } from "../../src/core/id.ts";
import type { NewTask } from "../../src/core/task.ts";
import { NOWHERE, PAYLOAD } from "../load-shape.ts";

export const newId = idGenerator((bytes) => crypto.getRandomValues(bytes));

/** Each call makes a task that is due at once, of one client after the other, in one queue after the other. */
export function taskMaker(clients: number, queues = 1): () => NewTask {
  let made = 0;
  return () => ({
    id: newId(Date.now()),
    queue: queues === 1 ? "default" : `queue-${made % queues}`,
    clientId: `client-${made++ % clients}`,
    clientRevision: null,
    priority: "normal",
    target: {
      url: NOWHERE,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: PAYLOAD,
    },
    timeoutMs: null,
    scheduledAtMs: null,
    name: null,
    idempotencyKey: null,
    orderingKey: null,
    retry: {},
    retentionMs: null,
    metadata: {},
    traceparent: null,
    callbackUrl: null,
    failureCallbackUrl: null,
  });
}
