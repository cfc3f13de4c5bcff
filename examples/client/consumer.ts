// Works off a pull queue until it is stopped: bun consumer.ts render
import process from "node:process";
import { type LeasedTask, TaskRunner } from "task-runner/client";

const { TASK_RUNNER_URL: url = "http://127.0.0.1:8080", TASK_RUNNER_API_KEY: apiKey } = process.env;
const runner = new TaskRunner({ url, ...(apiKey !== undefined && { apiKey }) });
const queue = process.argv[2] ?? "render";

async function render({ task_id: id, task }: LeasedTask): Promise<string> {
  return `rendered ${task.body} of ${id}`;
}

const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const { signal } = stopping;
console.log("ready");
while (!signal.aborted) {
  const leased = await runner.pull.lease(queue, { max: 10, wait_sec: 20 }, { signal }).catch((error) => {
    if (signal.aborted) return [];
    throw error;
  });
  for (const task of leased) {
    try {
      const response = await render(task);
      const [result] = await runner.pull.ack([{ lease: task.lease, response }]);
      console.log(result?.status, response);
    } catch (error) {
      await runner.pull.nack([{ lease: task.lease, error: String(error).slice(0, 1_000) }]);
    }
  }
}
