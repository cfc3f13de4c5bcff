/** A worker whose deliveries never leave the process, for tests of what lies between it and its store. */

import pino from "pino";
import type { Delivery, Transport } from "../../src/core/transport.ts";
import { systemClock } from "../../src/runtime.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";
import { newTarget, newTaskId } from "./tasks.ts";

const SCHEME = "test:";

/** The target of tasks for a {@link localWorker}. */
export const LOCAL_TARGET = newTarget({ url: `${SCHEME}delivery` });

/** A worker, not yet started, that hands its tasks to `deliver`: each ends well once that resolves. */
export function localWorker(
  store: WorkerOptions["store"],
  deliver: (delivery: Delivery) => Promise<void>,
  options: Partial<WorkerOptions> = {},
): Worker {
  const transport: Transport = {
    name: "test",
    schemes: [SCHEME],
    check: () => [],
    deliver: async (delivery) => {
      await deliver(delivery);
      return { kind: "delivered", status: 200, responseExcerpt: null };
    },
    close: async () => {},
  };
  return new Worker({
    id: "worker",
    version: "test",
    store,
    transports: { for: () => transport },
    clock: systemClock,
    random: Math.random,
    logger: pino({ level: "silent" }),
    concurrency: 1,
    leaseMs: 30_000,
    taskTimeoutMs: 10_000,
    maxRetries: 0,
    allowPrivateUrls: true,
    newId: newTaskId,
    breaker: { failureThreshold: 100, openMs: 1_000 },
    sealer: null,
    ...options,
  });
}
