/** Shows Task Runner at work: four tasks against a throwaway server, and the story of each as the API tells it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, startApp } from "./app-process.ts";

/** Until then every task must have ended. */
const DEADLINE_MS = 12_000;
const LOOK_EVERY_MS = 50;
/** The retried task's target refuses this often. */
const REFUSALS = 2;

interface AttemptView {
  readonly number: number;
  readonly started_at: string;
  readonly duration_ms: number;
  readonly status: number | null;
  readonly error: string | null;
}

interface TaskView {
  readonly state: string;
  readonly attempts: readonly AttemptView[];
}

interface DemoTask {
  readonly title: string;
  readonly path: string;
  readonly request: Readonly<Record<string, unknown>>;
}

interface Followed {
  readonly title: string;
  readonly id: string;
  readonly enqueuedAtMs: number;
  view: TaskView;
}

const FINAL_STATES = ["succeeded", "dead", "cancelled"];

function demoTasks(nowMs: number): DemoTask[] {
  const at = new Date(nowMs + 4_000).toISOString();
  return [
    { title: "immediate", path: "/immediate", request: {} },
    { title: "delayed by 2 s", path: "/delayed", request: { delay: 2 } },
    {
      title: `retried (its target answers 503 ${REFUSALS} times)`,
      path: "/retried",
      request: { retry: { min_backoff_sec: 1 } },
    },
    { title: `scheduled at ${at}`, path: "/scheduled", request: { scheduled_at: at } },
  ];
}

/** A target that answers 200 with what it was sent, except that /retried answers 503 at first. */
function startTarget() {
  let refused = 0;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      if (new URL(request.url).pathname === "/retried" && refused < REFUSALS) {
        refused++;
        return new Response("not now", { status: 503 });
      }
      return new Response(await request.text());
    },
  });
}

async function call(url: string, init?: RequestInit): Promise<Record<string, unknown>> {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`${init?.method ?? "GET"} ${url} answered ${answer.status}: ${body}`);
  return JSON.parse(body);
}

async function enqueue(app: AppProcess, targetUrl: string, task: DemoTask): Promise<Followed> {
  const enqueuedAtMs = Date.now();
  const answer = await call(`${app.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_id: "demo",
      task: { url: targetUrl + task.path, body: { hello: task.title } },
      ...task.request,
    }),
  });
  console.log(`${clockTime(enqueuedAtMs)}  ${answer.task_id}  ${task.title}: ${answer.state}`);
  return {
    title: task.title,
    id: String(answer.task_id),
    enqueuedAtMs,
    view: { state: String(answer.state), attempts: [] },
  };
}

/** Looks at the tasks until all have ended or the deadline is reached, saying each change of state. */
async function follow(app: AppProcess, tasks: readonly Followed[]): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  while (Date.now() < endMs) {
    for (const task of tasks) {
      if (FINAL_STATES.includes(task.view.state)) continue;
      const view = (await call(`${app.url}/v1/tasks/${task.id}`)) as unknown as TaskView;
      if (view.state !== task.view.state)
        console.log(`${clockTime(Date.now())}  ${task.id}  ${task.title}: ${view.state}`);
      task.view = view;
    }
    if (tasks.every((task) => FINAL_STATES.includes(task.view.state))) return;
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

function tell(task: Followed): void {
  console.log(`\n${task.title}: ${task.view.state}`);
  for (const attempt of task.view.attempts) {
    const startMs = Date.parse(attempt.started_at);
    const after = ((startMs - task.enqueuedAtMs) / 1_000).toFixed(3);
    const outcome = attempt.error ?? "ok";
    console.log(
      `  attempt ${attempt.number}  at ${clockTime(startMs)}  ${after} s after it was enqueued  ` +
        `took ${attempt.duration_ms} ms  status ${attempt.status ?? "none"}  ${outcome}`,
    );
  }
}

function clockTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

async function demo(): Promise<boolean> {
  const dataDir = await mkdtemp(join(tmpdir(), "task-runner-demo-"));
  const target = startTarget();
  try {
    const app = await startApp({ command: "all", env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true" } });
    try {
      console.log(`Task Runner listens at ${app.url}, the target at ${target.url.origin}; times are UTC.\n`);
      const tasks: Followed[] = [];
      for (const task of demoTasks(Date.now())) tasks.push(await enqueue(app, target.url.origin, task));
      await follow(app, tasks);
      for (const task of tasks) tell(task);
      return tasks.every((task) => task.view.state === "succeeded");
    } finally {
      await app.stop();
    }
  } finally {
    await target.stop(true);
    await rm(dataDir, { recursive: true, force: true });
  }
}

try {
  const worked = await demo();
  console.log(worked ? "\nAll four succeeded." : "\nNot all of them succeeded.");
  process.exitCode = worked ? 0 : 1;
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
