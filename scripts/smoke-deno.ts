/** Proves that the same sources run under Deno: one task goes in over HTTP, reaches its target, and the process ends well. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApp } from "./app-process.ts";

const DEADLINE_MS = 10_000;
const LOOK_EVERY_MS = 20;

function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

async function smoke(dataDir: string): Promise<void> {
  const delivered = Promise.withResolvers<string>();
  const target = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      delivered.resolve(await request.text());
      return new Response("thanks");
    },
  });
  const app = await startApp({
    runtime: ["deno", "run", "--quiet", "-A"],
    command: "all",
    env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true" },
  });
  try {
    const answer = await fetch(`${app.url}/v1/enqueue`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_id: "smoke", task: { url: `${target.url}hook`, body: "from deno" } }),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const accepted = (await answer.json()) as { status?: string; task_id?: string };
    expect(answer.status === 202 && accepted.status === "enqueued", `enqueue answered ${answer.status}`);
    const timer = setTimeout(
      () => delivered.reject(new Error("the task did not reach its target in time")),
      DEADLINE_MS,
    );
    const body = await delivered.promise.finally(() => clearTimeout(timer));
    expect(body === "from deno", `the target was sent ${JSON.stringify(body)}`);
    await untilSucceeded(`${app.url}/v1/tasks/${accepted.task_id}`);
    const status = await app.stop();
    expect(status === 0, `SIGTERM ended it with status ${status}`);
  } catch (error) {
    console.error(app.output());
    throw error;
  } finally {
    await app.stop();
    await target.stop(true);
  }
}

async function untilSucceeded(url: string): Promise<void> {
  let state = "";
  for (const endMs = Date.now() + DEADLINE_MS; Date.now() < endMs; await Bun.sleep(LOOK_EVERY_MS)) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
    ({ state } = (await answer.json()) as { state: string });
    if (state === "succeeded") return;
  }
  throw new Error(`the task stayed ${state}`);
}

const dataDir = await mkdtemp(join(tmpdir(), "task-runner-deno-"));
try {
  await smoke(dataDir);
  console.log("deno: enqueued, delivered, read back, ended with status 0");
} catch (error) {
  console.error(`deno: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
