/** A worker keeps as many deliveries under way as it was told to, also where that is more than its runtime's own limit. */

import { afterEach, expect, test } from "bun:test";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";

const CONCURRENCY = 400;
const running: { stop(): unknown }[] = [];

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
});

test("four hundred slow targets are called at once", async () => {
  const arrived = Promise.withResolvers<number>();
  const released = Promise.withResolvers<void>();
  let open = 0;
  const target = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    fetch: async () => {
      open += 1;
      if (open === CONCURRENCY) arrived.resolve(open);
      await released.promise;
      return new Response("ok");
    },
  });
  running.push({ stop: () => target.stop(true) });
  const env = {
    STORE_URL: "sqlite::memory:",
    ALLOW_PRIVATE_URLS: "true",
    WORKER_CONCURRENCY: String(CONCURRENCY),
  };
  const app: AppProcess = await startApp({ command: "all", env });
  running.push(app);
  await liftLimits(app.url);
  const tasks = Array.from({ length: CONCURRENCY }, () => ({
    client_id: "wide",
    task: { url: `http://127.0.0.1:${target.port}/` },
  }));
  const answer = await fetch(`${app.url}/v1/enqueue/batch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ tasks }),
  });
  expect(answer.status).toBe(202);
  expect(await arrived.promise).toBe(CONCURRENCY);
  released.resolve();
}, 20_000);
