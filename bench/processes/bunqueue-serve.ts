/** bunqueue's embedded producer behind the enqueue routes, every job durable. */

import { Queue, shutdownManager } from "bunqueue/client";
import type { JobData } from "./bullmq.ts";
import { BUNQUEUE_QUEUE, type BunqueueOptions } from "./bunqueue.ts";
import { endOnStop, optionsOf, say } from "./messages.ts";
import { serveRoutes } from "./routes.ts";

const { dataPath } = optionsOf<BunqueueOptions>();
const queue = new Queue<JobData>(BUNQUEUE_QUEUE, { embedded: true, dataPath });
const opts = { durable: true };

const port = serveRoutes({
  one: async (request) => (await queue.add("task", request.task, opts)).id,
  many: async (requests) => {
    const jobs = await queue.addBulk(requests.map(({ task }) => ({ name: "task", data: task, opts })));
    return jobs.map(({ id }) => id);
  },
});
endOnStop(shutdownManager);
say("ready", port);
