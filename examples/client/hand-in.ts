// Hands in a task and waits for its end: bun hand-in.ts https://example.com/hook
import process from "node:process";
import { ApiError, TaskRunner } from "task-runner/client";

const { TASK_RUNNER_URL: url = "http://127.0.0.1:8080", TASK_RUNNER_API_KEY: apiKey } = process.env;
const runner = new TaskRunner({ url, ...(apiKey !== undefined && { apiKey }) });

try {
  const { status, task_id: id } = await runner.enqueue({
    client_id: "shop",
    name: "order-4711",
    task: { url: process.argv[2] ?? "", body: { order: 4711 } },
  });
  console.log(status);
  const task = await runner.tasks.wait(id, { withinMs: 30_000 });
  console.log(task.state, task.attempts.length);
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
