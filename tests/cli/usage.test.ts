/** How the commands are called: exit statuses, help, settings, and what is refused before anything is done. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadedConfig, Role } from "../../src/config.ts";
import { VERSION } from "../../src/version.ts";
import { command } from "./harness.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-usage-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The role a command line runs, and its settings. */
async function started(args: readonly string[], env: Record<string, string> = {}) {
  let ran: { role: Role; loaded: LoadedConfig } | null = null;
  const { status } = await command(args, {
    env,
    run: async (role, loaded) => {
      ran = { role, loaded };
      return 0;
    },
  });
  expect(status).toBe(0);
  if (ran === null) throw new Error("nothing was started");
  return ran as { role: Role; loaded: LoadedConfig };
}

describe("without a subcommand", () => {
  test("and without MODE the help is printed and the exit status is 2", async () => {
    const { status, stdout, stderr } = await command([]);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("Usage: task-runner");
    expect(stderr).toContain("neither a command nor MODE");
  });

  test.each([
    ["api", "serve"],
    ["worker", "work"],
    ["all", "all"],
  ])("MODE=%s runs %s, with flags as for a subcommand", async (MODE, role) => {
    const ran = await started(["--port", "0"], { MODE });
    expect(ran.role).toBe(role as Role);
    expect(ran.loaded.config.PORT).toBe(0);
  });

  test("MODE may come from --env-file", async () => {
    const file = join(dir, "mode.env");
    writeFileSync(file, "MODE=worker\nPORT=1234\n");
    const { role, loaded } = await started(["--env-file", file]);
    expect(role).toBe("work");
    expect(loaded.config.PORT).toBe(1234);
  });

  test("a wrong MODE is told as such", async () => {
    const { status, stderr } = await command([], { env: { MODE: "server" } });
    expect(status).toBe(2);
    expect(stderr).toStartWith('error: MODE="server" is not allowed: one of api, worker, all');
  });
});

describe("serve, work and all", () => {
  test("come before MODE, and their flags before the environment", async () => {
    const env = { MODE: "api", PORT: "1", HOST: "h", STORE_URL: "sqlite:a" };
    const { role, loaded } = await started(
      ["work", "--port", "2", "--host", "127.0.0.1", "--store", "sqlite::memory:"],
      env,
    );
    expect(role).toBe("work");
    expect(loaded.config).toMatchObject({
      MODE: "worker",
      PORT: 2,
      HOST: "127.0.0.1",
      STORE_URL: "sqlite::memory:",
    });
  });

  test("list every wrong setting at once, one line each, and exit with 2", async () => {
    const { status, stderr } = await command(["all", "--port", "x"], {
      env: { MAX_RETRY: "-1", REDIS_SENTINEL_ADDR: "s:99999", ADMIN_API_KEY: "hunter2\u0001" },
    });
    expect(status).toBe(2);
    const lines = stderr.trimEnd().split("\n");
    expect(lines.map((line) => /^error: ([A-Z_]+)/.exec(line)?.[1])).toEqual([
      "PORT",
      "REDIS_SENTINEL_ADDR",
      "ADMIN_API_KEY",
      "MAX_RETRY",
    ]);
    expect(lines[0]).toContain("from --port");
    expect(stderr).not.toContain("hunter2");
  });

  test("an --env-file that is not there is one clear line, exit status 2", async () => {
    const { status, stderr } = await command(["all", "--env-file", join(dir, "none.env")]);
    expect(status).toBe(2);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain("none.env");
  });
});

describe("config", () => {
  const env = { ADMIN_API_KEY: "hunter2", MAX_RETRY: "3", WORKER_CONCURENCY: "5" };

  test("shows values and where they came from, the admin key masked", async () => {
    const { status, stdout, stderr } = await command(["config", "--port", "9"], { env });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^PORT +9 +--port$/m);
    expect(stdout).toMatch(/^MAX_RETRY +3 retries +environment$/m);
    expect(stdout).toMatch(/^LEASE_SEC +30 s +default$/m);
    expect(stdout).toMatch(/^ADMIN_API_KEY +\(hidden\) +environment$/m);
    expect(stderr).toContain("did you mean WORKER_CONCURRENCY?");
    expect(stdout + stderr).not.toContain("hunter2");
  });

  test("prints JSON, the admin key masked there too", async () => {
    const { stdout } = await command(["config", "work", "--json"], { env });
    expect(stdout).not.toContain("hunter2");
    const { settings, warnings } = JSON.parse(stdout);
    const byName = new Map(settings.map((setting: { name: string }) => [setting.name, setting]));
    expect(byName.get("PORT")).toMatchObject({ value: 8082, source: "default" });
    expect(byName.get("ADMIN_API_KEY")).toMatchObject({ value: "(hidden)", source: "environment" });
    expect(warnings).toHaveLength(1);
  });

  test.each([[], ["--json"]].map((flags) => [flags]))(
    "shows where tasks are kept without the passwords, with %j",
    async (flags) => {
      const urls = ["redis://user:hunter2@h:6379/1", "rediss+sentinel://:hunter2@h:26379,i:26379/m"];
      for (const STORE_URL of urls) {
        const env = { STORE_URL, REDIS_PASSWORD: "hunter2", REDIS_SENTINEL_PASSWORD: "hunter2" };
        const { status, stdout, stderr } = await command(["config", ...flags], { env });
        expect(status).toBe(0);
        expect(stdout).toContain("://(hidden)@h:");
        expect(stdout + stderr).not.toContain("hunter2");
        expect(stdout + stderr).not.toContain("user:");
      }
    },
  );

  test("shows the store that an address chooses, and by which setting", async () => {
    const env = { REDIS_SENTINEL_ADDR: "a:26379, b:26379" };
    const { stdout } = await command(["config"], { env });
    expect(stdout).toMatch(
      /^STORE_URL +redis\+sentinel:\/\/a:26379,b:26379\/mymaster +REDIS_SENTINEL_ADDR$/m,
    );
    expect(stdout).toMatch(/^DURABILITY +replicated +default$/m);
  });

  test("tells wrong settings and exits with 2", async () => {
    const { status, stderr } = await command(["config"], { env: { LEASE_SEC: "x", PORT: "y" } });
    expect(status).toBe(2);
    expect(stderr).toContain("LEASE_SEC");
    expect(stderr).toContain("PORT");
  });

  test("uses colour on a terminal only, and not where NO_COLOR is set", async () => {
    const colour = "\u001b[";
    expect((await command(["config"], { terminal: true })).stdout).toContain(colour);
    expect((await command(["config"], { terminal: true, env: { NO_COLOR: "1" } })).stdout).not.toContain(
      colour,
    );
    expect((await command(["config"])).stdout).not.toContain(colour);
  });
});

describe("wrong usage exits with 2 and says what is wrong", () => {
  test.each([
    [["frobnicate"], "unknown command"],
    [["all", "--frob"], "unknown option"],
    [["enqueue"], "missing required argument"],
    [["enqueue", "http://h", "--delay", "soon"], "30s, 5m, 2h"],
    [["enqueue", "http://h", "--delay", "5m", "--at", "2030-01-31T08:00:00Z"], "cannot be used with"],
    [["enqueue", "http://h", "--at", "tomorrow"], "2030-01-31T08:00:00Z"],
    [["enqueue", "http://h", "--header", "no colon"], "Name: value"],
    [["enqueue", "http://h", "--priority", "urgent"], "critical, high, normal, low"],
    [["enqueue", "http://h", "--api", "ftp://h"], "http or https"],
    [["enqueue", "http://h", "--data", "@/nowhere/body"], "cannot be read"],
    [["tasks"], "Usage: task-runner tasks"],
    [["tasks", "list", "--state", "gone"], "scheduled, ready, running"],
    [["tasks", "list", "--limit", "0"], "from 1 to 1000"],
    [["tasks", "get"], "missing required argument"],
    [["tasks", "explain"], "missing required argument"],
    [["clients"], "Usage: task-runner clients"],
    [["clients", "set", "c", "--requests-per-minute", "many"], "a number of at least 0. Or none."],
    [["clients", "set", "c", "--enable", "--disable"], "cannot be used with"],
    [["clients", "set", "c", "--allow-queue", "q", "--allow-all-queues"], "cannot be used with"],
    [["clients", "delete", "c"], "repeat it with --yes"],
    [["clients", "keys"], "Usage: task-runner clients keys"],
    [["clients", "keys", "revoke", "c"], "missing required argument"],
    [["tiers", "set", "t", "--max-concurrent", "1"], "--requests-per-minute"],
    [["tiers", "delete", "t"], "repeat it with --yes"],
    [["queues", "set", "q", "--weight", "101"], "from 1 to 100"],
    [["queues", "set", "q", "--permanent-status", "OK"], "from 300 to 599"],
    [["queues", "set", "q", "--after-death", "wait"], "next, hold"],
    [["queues", "set", "q", "--timeout", "soon"], "30s, 5m, 2h"],
    [["queues", "set", "q", "--dead-queue", "d", "--dead-url", "http://h"], "cannot be used with"],
    [["queues", "purge", "q"], "repeat it with --yes"],
    [["queues", "delete", "q"], "repeat it with --yes"],
    [["dead", "purge", "--queue", "q"], "repeat it with --yes"],
    [["dead", "replay", "--limit", "0"], "a whole number from 1"],
    [["audit", "--limit", "1001"], "from 1 to 1000"],
    [["tasks", "list", "--api-key", "a\nb"], "the API key is not one line"],
    [["queues", "list", "--admin-key", "\u00e9"], "the admin key is not one line"],
    [["config", "boss"], "serve, work, all"],
    [["healthcheck", "--port", "0"], "--url"],
    [["healthcheck", "--port", "x"], "PORT"],
  ])("task-runner %j", async (args, said) => {
    const { status, stdout, stderr } = await command(args);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain(said);
  });
});

describe("help", () => {
  const commands = ["serve", "work", "all", "config", "healthcheck", "enqueue", "audit", "stats", "version"];
  const groups: Record<string, readonly string[]> = {
    tasks: ["list", "get", "explain", "cancel", "run", "replay", "watch"],
    dead: ["list", "get", "replay", "purge"],
    queues: ["list", "get", "set", "pause", "resume", "purge", "delete"],
    clients: ["list", "get", "set", "delete"],
    "clients keys": ["create", "revoke"],
    tiers: ["list", "set", "delete"],
  };
  const grouped = Object.entries(groups).flatMap(([group, names]) => {
    const path = group.split(" ");
    return [path, ...names.map((name) => [...path, name])];
  });

  test.each([[], ...commands.map((name) => [name]), ...grouped].map((path) => [path]))(
    "of %j has examples and exits with 0",
    async (path) => {
      const { status, stdout, stderr } = await command([...path, "--help"]);
      expect(status).toBe(0);
      expect(stdout).toContain("Examples:\n  task-runner");
      expect(stderr).toBe("");
    },
  );
});

test("version tells the version and the runtime", async () => {
  const text = await command(["version"]);
  expect(text).toMatchObject({ status: 0, stdout: `task-runner ${VERSION} (bun ${Bun.version})\n` });
  const json = await command(["version", "--json"]);
  expect(JSON.parse(json.stdout)).toEqual({ version: VERSION, runtime: `bun ${Bun.version}` });
});
