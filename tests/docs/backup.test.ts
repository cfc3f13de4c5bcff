/** The commands of docs/operations.md for backups, restoring, versions and scaling, run as they are printed. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApp } from "../../scripts/app-process.ts";
import { freePorts } from "../support/redis/ports.ts";
import { type StandaloneRedis, startRedis, until } from "../support/redis.ts";
import { startTarget, type TestTarget } from "../support/target.ts";
import { sectionOf, shell } from "./page.ts";
import { ADMIN_API_KEY, DocumentedServer } from "./server.ts";

const PAGE = "docs/operations.md";
const LIMIT_MS = 60_000;
const SETTLED_MS = 20_000;

let dir = "";
let target: TestTarget;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-backup-"));
  target = await startTarget();
});
afterEach(async () => {
  await target.stop();
  await rm(dir, { recursive: true, force: true });
});

/** The blocks of commands that a section prints, in order. */
function printed(heading: string): readonly string[] {
  return [...sectionOf(PAGE, heading).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
}

async function start(
  command: "all" | "serve",
  env: Readonly<Record<string, string>>,
): Promise<DocumentedServer> {
  const common = { ADMIN_API_KEY, ALLOW_PRIVATE_URLS: "true" };
  const server = new DocumentedServer(await startApp({ command, env: { ...common, ...env } }));
  await until(
    "it is ready",
    SETTLED_MS,
    async () => (await server.ask("GET", "/health/ready")).status === 200,
  );
  return server;
}

/** Tasks that wait until the test lets them run. */
async function handInMany(server: DocumentedServer, count: number): Promise<string[]> {
  await server.admin("tiers/set", { tier: "free", requests_per_minute: null, max_concurrent: null });
  await server.admin("queues/set", { queue: "kept", weight: 7 });
  await server.admin("queues/pause", { queue: "kept" });
  const tasks = Array.from({ length: count }, (_, index) => ({
    client_id: "shop",
    queue: "kept",
    task: { url: `${target.url}/${index}` },
  }));
  const { body } = await server.ask("POST", "/v1/enqueue/batch", { tasks });
  return (body.results as { task_id: string }[]).map(({ task_id }) => task_id);
}

/** What was in the backup is there with its rules, is delivered once it is let go, and what came later is not there. */
async function expectRestored(
  server: DocumentedServer,
  ids: readonly string[],
  later: string,
): Promise<void> {
  expect((await server.ask("GET", `/v1/tasks/${later}`)).status).toBe(404);
  expect(await server.admin("queues/get?queue=kept")).toMatchObject({ paused: true, weight: 7 });
  await server.admin("queues/resume", { queue: "kept" });
  for (const id of ids) await server.untilState(id, "succeeded");
}

describe.skipIf(Bun.which("sqlite3") === null)("of the embedded store", () => {
  test(
    "a backup is made while tasks are accepted, and restored",
    async () => {
      const env = { DATA_DIR: join(dir, "data") };
      const first = await start("all", env);
      const ids = await handInMany(first, 300);
      const [backup = "", look = "", restore = ""] = printed("Of SQLite");
      let writing = true;
      const writer = (async () => {
        while (writing) await first.handIn({ queue: "default", task: { url: `${target.url}/meanwhile` } });
      })();
      await shell(backup, { cwd: dir });
      writing = false;
      await writer;
      const later = await first.handIn({ queue: "kept", task: { url: `${target.url}/later` } });
      expect(await first.run(look, { cwd: dir })).toContain("nothing is broken");
      await first.app.stop();
      await shell(restore, { cwd: dir });
      const [version = ""] = printed("Upgrade");
      expect(Number(await shell(version, { cwd: dir }))).toBeGreaterThan(2);
      const second = await start("all", env);
      await expectRestored(second, ids, later);
      await second.app.stop();
    },
    LIMIT_MS,
  );
});

describe("of Redis", () => {
  test(
    "a backup is made while it runs with an append-only file, and restored",
    async () => {
      const redis: StandaloneRedis = await startRedis({ appendonly: true });
      const first = await start("serve", { REDIS_ADDR: `127.0.0.1:${redis.port}` });
      const ids = await handInMany(first, 300);
      const [backup = "", restore = ""] = printed("Of Redis");
      await shell(on(redis.port, backup), { cwd: dir });
      const later = await first.handIn({ queue: "kept", task: { url: `${target.url}/later` } });
      await first.app.stop();
      await redis.stop();
      const [port = 0] = await freePorts(1);
      await shell(on(port, restore), { cwd: dir });
      // As the page says: its own configuration, in that folder.
      const again = Bun.spawn(
        [
          "redis-server",
          "--dir",
          join(dir, "redis-data"),
          "--port",
          String(port),
          "--appendonly",
          "yes",
          "--save",
          "",
        ],
        { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
      );
      try {
        const second = await start("all", { REDIS_ADDR: `127.0.0.1:${port}` });
        const [, version = ""] = printed("Upgrade");
        expect(Number(await shell(on(port, version), { cwd: dir }))).toBeGreaterThan(1);
        await expectRestored(second, ids, later);
        await second.app.stop();
      } finally {
        again.kill("SIGKILL");
        await again.exited;
      }
    },
    LIMIT_MS,
  );

  function on(port: number, commands: string): string {
    return commands.replaceAll("6379", String(port));
  }
});

test(
  "the printed command shows the figures that scaling goes by",
  async () => {
    const server = await start("all", { DATA_DIR: join(dir, "data") });
    await handInMany(server, 1);
    const [command = ""] = printed("Scaling");
    const output = await shell(command.replace("http://127.0.0.1:8082", server.app.url), { cwd: dir });
    await server.app.stop();
    expect(output).toMatch(/^task_runner_worker_slots 10$/m);
    expect(output).toMatch(/^task_runner_worker_slots_used 0$/m);
    expect(output).toMatch(/^task_runner_tasks\{.*queue="kept".*\} 1$/m);
    expect(output).toMatch(/^task_runner_hosts_held 0$/m);
  },
  LIMIT_MS,
);
