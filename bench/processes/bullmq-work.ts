/** BullMQ's worker, whose processor delivers. */

import { Worker } from "bullmq";
import { BULLMQ_QUEUE, type BullmqOptions, connectionOf, type JobData } from "./bullmq.ts";
import { deliver } from "./deliver.ts";
import { endOnStop, optionsOf, say } from "./messages.ts";

const options = optionsOf<BullmqOptions>();
const worker = new Worker<JobData>(BULLMQ_QUEUE, (job) => deliver(job.data), {
  connection: connectionOf(options),
  concurrency: options.concurrency ?? 1,
});
worker.on("error", (error) => console.error(`bullmq: ${error.message}`));
worker.on("failed", (_job, error) => console.error(`bullmq: a job failed: ${error.message}`));
await worker.waitUntilReady();
endOnStop(() => worker.close());
say("ready");
