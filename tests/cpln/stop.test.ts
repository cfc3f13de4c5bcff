/** What the chart's preStop hook and its times count on: the program answers the hook at once, and drains by itself. */

import { afterEach, expect, test } from "bun:test";
import { type Program, program, ranProgram } from "../cli/harness.ts";

/** Long enough to ask a few things in, short enough to wait for. */
const DELAY_SEC = 2;

const started: Program[] = [];
afterEach(async () => {
  for (const each of started.splice(0)) {
    each.kill("SIGKILL");
    await each.exited;
  }
});

async function startServe(): Promise<Program & { readonly url: string }> {
  const role = program(["serve"], {
    PORT: "0",
    STORE_URL: "sqlite::memory:",
    SHUTDOWN_DELAY_SEC: String(DELAY_SEC),
  });
  started.push(role);
  const { url } = JSON.parse(await role.line((line) => line.includes("is listening on")));
  return { ...role, url };
}

function enqueue(url: string): Promise<Response> {
  return fetch(`${url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json", connection: "close" },
    body: JSON.stringify({ client_id: "stop", delay: 3_600, task: { url: "https://example.com" } }),
  });
}

test("the command of the hook succeeds", async () => {
  const { status, stdout } = await ranProgram(["version"]);
  expect([status, stdout]).toEqual([0, expect.stringContaining("task-runner")]);
});

// The platform sends SIGINT after the hook, where others send SIGTERM.
test.each(["SIGTERM", "SIGINT"] as const)(
  "after %s the API is unready at once, still takes new connections for the delay, then ends with 0",
  async (signal) => {
    const role = await startServe();
    const signalledAt = performance.now();
    role.kill(signal);
    await role.line((line) => line.includes("shutting down"));
    const ready = await fetch(`${role.url}/health/ready`);
    expect([ready.status, await ready.json()]).toEqual([
      503,
      { status: "unavailable", reason: "shutting down" },
    ]);
    expect((await enqueue(role.url)).status).toBe(202);
    expect(await role.exited).toBe(0);
    expect(performance.now() - signalledAt).toBeGreaterThanOrEqual(DELAY_SEC * 1_000);
    await expect(enqueue(role.url)).rejects.toThrow();
  },
  15_000,
);
