// Sets a client and a queue up, shows what they have, and starts dead tasks over: bun set-up.ts
import process from "node:process";
import { TaskRunner } from "task-runner/client";

const { TASK_RUNNER_URL: url = "http://127.0.0.1:8080", TASK_RUNNER_ADMIN_KEY: adminKey } = process.env;
const runner = new TaskRunner({ url, ...(adminKey !== undefined && { adminKey }) });

await runner.tiers.set({ tier: "partner", requests_per_minute: 300, max_concurrent: null });
const { limits } = await runner.clients.set({ client_id: "partner-7", tier: "partner" });
console.log(limits.requests_per_minute);
const { key } = await runner.clients.createKey({ client_id: "partner-7", label: "web" });
console.log(key.startsWith("trk.partner-7."));

await runner.queues.set({ queue: "mail", max_dispatches_per_sec: 5, retry: { max_attempts: 3 } });
for await (const { queue, counts } of runner.queues.all()) console.log(queue, counts.ready);

const { replayed } = await runner.dead.replay({ queue: "mail", rate_per_sec: 5 });
console.log(replayed);
