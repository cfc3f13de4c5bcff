/** BullMQ's producer behind the enqueue routes. */

import { Queue } from "bullmq";
import { BULLMQ_QUEUE, type BullmqOptions, connectionOf, type JobData } from "./bullmq.ts";
import { endOnStop, optionsOf, say } from "./messages.ts";
import { delayMs, type Request, serveRoutes } from "./routes.ts";

const options = optionsOf<BullmqOptions>();
const queue = new Queue<JobData>(BULLMQ_QUEUE, { connection: connectionOf(options) });
queue.on("error", (error) => console.error(`bullmq: ${error.message}`));
await queue.waitUntilReady();

const settings = (request: Request) => {
  const delay = delayMs(request);
  return delay > 0 ? { delay } : {};
};
const idOf = ({ id }: { id?: string }): string => {
  if (id === undefined) throw new Error("a job was given no id");
  return id;
};

const port = serveRoutes({
  one: async (request) => idOf(await queue.add("task", request.task, settings(request))),
  many: async (requests) => {
    const jobs = requests.map((request) => ({ name: "task", data: request.task, opts: settings(request) }));
    return (await queue.addBulk(jobs)).map(idOf);
  },
});
endOnStop(() => queue.close());
say("ready", port);
