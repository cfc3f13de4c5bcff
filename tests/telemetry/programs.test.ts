/** Telemetry in the program as it is run: from source, compiled and on Deno; and that nothing of it is loaded unasked. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, PROJECT_DIR, startListening } from "../../scripts/app-process.ts";
import { compile } from "../../scripts/build.ts";
import { startTarget, type TestTarget } from "../support/target.ts";
import { Collector, KIND } from "./collector.ts";

const MAIN = join(PROJECT_DIR, "src/main.ts");
const LIMIT_MS = 60_000;
let dir = "";
const binary = () => join(dir, "task-runner");

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "telemetry-test-"));
  await compile({ outfile: binary(), commit: "unknown" });
}, LIMIT_MS);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A process, killed if the test did not stop it. */
async function start(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<AppProcess> {
  return startListening([...argv, "all"], {
    HOST: "127.0.0.1",
    PORT: "0",
    STORE_URL: "sqlite::memory:",
    ALLOW_PRIVATE_URLS: "true",
    ...env,
  });
}

async function deliverOne(app: AppProcess, target: TestTarget): Promise<void> {
  const answer = await fetch(`${app.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_id: "c", task: { url: target.url } }),
  });
  expect(answer.status).toBe(202);
  await target.waitFor(1);
}

describe.each([
  ["from source", () => [process.execPath, "--no-env-file", MAIN]],
  ["compiled", () => [binary()]],
  ["on Deno", () => ["deno", "run", "-A", MAIN]],
] as const)("the program, %s", (_, argv) => {
  test(
    "sends its spans, the last of them as it stops, and tells its metrics",
    async () => {
      await using collector = new Collector();
      await using target = await startTarget();
      const app = await start(argv(), { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
      try {
        await deliverOne(app, target);
        const metrics = await (await fetch(`${app.url}/metrics`)).text();
        expect(metrics).toContain('task_runner_enqueues_total{queue="default",result="created"} 1');
        expect(metrics).toContain("process_resident_memory_bytes ");
      } finally {
        expect(await app.stop()).toBe(0);
      }
      expect(collector.spans.map(({ kind }) => kind).sort()).toEqual([
        KIND.client,
        KIND.producer,
        KIND.consumer,
      ]);
      const [call] = collector.of(KIND.client);
      expect(target.requests[0]?.headers.traceparent).toContain(call?.spanId ?? "none");
    },
    LIMIT_MS,
  );
});

describe("without a collector and without a scrape", () => {
  /** Has the process fail as soon as it loads a module of the tracing or the metrics library. */
  const refusing = () => {
    const path = join(dir, "refuse.ts");
    writeFileSync(
      path,
      `Bun.plugin({ name: "refuse", setup: (build) => {
        build.onLoad({ filter: /node_modules\\/(@opentelemetry|prom-client)\\// }, ({ path }) => {
          throw new Error("loaded " + path);
        });
      } });`,
    );
    return [process.execPath, "--no-env-file", "--preload", path, MAIN];
  };

  test(
    "nothing of either library is loaded",
    async () => {
      await using target = await startTarget();
      const app = await start(refusing(), {});
      try {
        await deliverOne(app, target);
      } finally {
        expect(await app.stop()).toBe(0);
      }
    },
    LIMIT_MS,
  );

  test(
    "which is what tells the two apart: with a collector the same process does not start",
    async () => {
      const started = start(refusing(), { OTEL_EXPORTER_OTLP_ENDPOINT: "127.0.0.1:9" });
      await expect(started).rejects.toThrow(/loaded .*@opentelemetry/);
    },
    LIMIT_MS,
  );
});
