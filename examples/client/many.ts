// Hands in many tasks at once, lists them page by page, and cancels those that wait: bun many.ts https://example.com/hook
import process from "node:process";
import { TaskRunner } from "task-runner/client";

const { TASK_RUNNER_URL: url = "http://127.0.0.1:8080", TASK_RUNNER_ADMIN_KEY: adminKey } = process.env;
const runner = new TaskRunner({ url, ...(adminKey !== undefined && { adminKey }) });

const task = { url: process.argv[2] ?? "", method: "GET" };
const tasks = Array.from({ length: 5 }, () => ({ client_id: "shop", queue: "nightly", task, delay: 3_600 }));
const { results, enqueued } = await runner.enqueueBatch(tasks, { idempotencyKey: "nightly-2030-01-31" });
for (const result of results) {
  if (result.status === "rejected") console.error(result.code, result.detail);
}

let cancelled = 0;
for await (const { task_id: id } of runner.tasks.all({ queue: "nightly", state: "scheduled", limit: 2 })) {
  await runner.tasks.cancel(id);
  cancelled++;
}
console.log(enqueued, cancelled);
