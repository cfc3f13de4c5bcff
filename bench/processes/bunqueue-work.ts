/** bunqueue's embedded worker, whose processor delivers. */

import { Worker } from "bunqueue/client";
import type { JobData } from "./bullmq.ts";
import { BUNQUEUE_QUEUE, type BunqueueOptions } from "./bunqueue.ts";
import { deliver } from "./deliver.ts";
import { optionsOf, say } from "./messages.ts";

const { dataPath, concurrency = 1 } = optionsOf<BunqueueOptions>();
// As many pulled at once as its documents show.
const worker = new Worker<JobData>(BUNQUEUE_QUEUE, (job) => deliver(job.data), {
  embedded: true,
  dataPath,
  concurrency,
  batchSize: 100,
});
worker.on("error", (error) => console.error(`bunqueue: ${error.message}`));
say("ready");
