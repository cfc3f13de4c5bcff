/** The program as its users run it: roles as processes, commands against them, signals and exit statuses. */

import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, program, type RunningRole, ranProgram, startRole } from "../cli/harness.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-cli-"));
const running: RunningRole[] = [];
const targets: Bun.Server<undefined>[] = [];

afterEach(async () => {
  for (const role of running.splice(0)) {
    role.kill("SIGKILL");
    await role.exited;
  }
  for (const target of targets.splice(0)) await target.stop(true);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function start(...args: Parameters<typeof startRole>): Promise<RunningRole> {
  const role = await startRole(...args);
  running.push(role);
  return role;
}

/** Something to call; resolves to its URL. */
function target(answer: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  targets.push(server);
  return `http://127.0.0.1:${server.port}/hook`;
}

/** A target that holds its requests until it is told to answer. */
function heldTarget() {
  const arrived = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const url = target(async () => {
    arrived.resolve();
    await release.promise;
    return new Response("done");
  });
  return { url, arrived: arrived.promise, release: release.resolve };
}

describe("all", () => {
  test("enqueue --wait delivers method, headers and body, shows the end and exits with 0", async () => {
    const { url: api } = await start("all");
    const seen: Record<string, unknown>[] = [];
    const url = target(async (request) => {
      const { method, headers } = request;
      seen.push({
        method,
        a: headers.get("x-a"),
        type: headers.get("content-type"),
        body: await request.text(),
      });
      return new Response("thanks");
    });
    const args = ["enqueue", url, "-X", "put", "-H", "X-A: 1", "-d", "@-", "--api", api, "--wait"];
    const { status, stdout, stderr } = await command(args, { stdin: '{"a": 1}' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^state +succeeded$/m);
    expect(stdout).toMatch(/ 200 +thanks$/m);
    expect(stderr).toBe("");
    expect(seen).toEqual([{ method: "PUT", a: "1", type: "application/json", body: '{"a": 1}' }]);
  });

  test("enqueue --wait exits with 1 when the task ended otherwise than well", async () => {
    const { url: api } = await start("all", { MAX_RETRY: "0" });
    const url = target(() => new Response("no\u001b[2J", { status: 500 }));
    const { status, stdout } = await command(["enqueue", url, "--api", api, "--wait"]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^state +dead$/m);
    expect(stdout).toMatch(/^reason +.*500/m);
    expect(stdout).not.toContain("\u001b");
  });

  test("enqueue --wait gives up after --wait-timeout", async () => {
    const { url: api } = await start("all");
    const { status, stderr } = await command([
      "enqueue",
      "http://127.0.0.1:1/",
      "--delay",
      "1h",
      "--api",
      api,
      "--wait",
      "--wait-timeout",
      "0.2",
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain("is still scheduled");
  });

  test("a task is listed, moved up, watched to its end, replayed and, waiting, cancelled", async () => {
    const { url: api } = await start("all");
    const url = target(() => new Response("ok"));
    const enqueued = await command(["enqueue", url, "--delay", "1h", "--name", "n", "--api", api, "--json"]);
    const { task_id: id, state } = JSON.parse(enqueued.stdout);
    expect(state).toBe("scheduled");

    const again = await command(["enqueue", url, "--delay", "1h", "--name", "n", "--api", api]);
    expect(again).toMatchObject({ status: 0, stdout: `${id}  duplicate\n` });

    const listed = await command(["tasks", "list", "--state", "scheduled", "--client", "cli", "--api", api]);
    expect(listed.stdout.split("\n")[1]).toMatch(
      new RegExp(`^${id}  scheduled  default  cli .* POST ${url}$`),
    );
    const none = await command(["tasks", "list", "--queue", "other", "--api", api, "--json"]);
    expect(JSON.parse(none.stdout)).toEqual({ tasks: [], next_cursor: null });

    expect((await command(["tasks", "run", id, "--api", api])).status).toBe(0);
    const watched = await command(["tasks", "watch", id, "--api", api, "--json"]);
    expect(watched.status).toBe(0);
    const states = watched.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).state);
    expect(states.at(-1)).toBe("succeeded");

    const replayed = await command(["tasks", "replay", id, "--api", api, "--json"]);
    expect(JSON.parse(replayed.stdout).state).toBe("ready");
    expect((await command(["tasks", "watch", id, "--api", api])).status).toBe(0);

    const refused = await command(["tasks", "cancel", id, "--api", api]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("(conflict)");

    const other = await command(["enqueue", url, "--delay", "1h", "--api", api, "--json"]);
    const { task_id: otherId } = JSON.parse(other.stdout);
    const cancelled = await command(["tasks", "cancel", otherId, "--api", api]);
    expect(cancelled).toMatchObject({ status: 0, stdout: `${otherId}  cancelled, cancelled\n` });
    const got = await command(["tasks", "get", otherId, "--api", api, "--json"]);
    expect(JSON.parse(got.stdout)).toMatchObject({ task_id: otherId, state: "cancelled" });
  });

  test("a refusal of the server is told with its code and fields, exit status 1", async () => {
    const { url: api } = await start("all");
    const { status, stderr } = await command(["enqueue", "nonsense", "--api", api]);
    expect(status).toBe(1);
    expect(stderr).toContain("(validation_failed)");
    expect(stderr).toContain("task.url:");
    const gone = await command(["tasks", "get", "01JD2Q6X3R9V8K7M5N4P3Q2R1S", "--api", api]);
    expect(gone.status).toBe(1);
    expect(gone.stderr).toContain("(task_not_found)");
  });

  test("with an admin key, listing needs it: from the flag, the environment or a file; and nothing logs it", async () => {
    const key = "hunter2-key";
    const role = await start("all", { ADMIN_API_KEY: key, LOG_LEVEL: "debug" });
    const list = ["tasks", "list", "--api", role.url];
    const refused = await command(list);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("(unauthorized)");
    const file = join(dir, "key");
    writeFileSync(file, `${key}\n`);
    expect((await command([...list, "--admin-key", key])).status).toBe(0);
    expect((await command(list, { env: { ADMIN_API_KEY: key } })).status).toBe(0);
    expect((await command(list, { env: { ADMIN_API_KEY_FILE: file } })).status).toBe(0);
    role.kill("SIGTERM");
    expect(await role.exited).toBe(0);
    const { stdout, stderr } = await role.output();
    expect(stdout + stderr).not.toContain(key);
    expect(stdout).not.toContain("ADMIN IS OPEN");
  });
});

describe("starting", () => {
  test("one line tells port, store and version, and an open administration is warned of", async () => {
    const role = await start("all");
    role.kill("SIGTERM");
    expect(await role.exited).toBe(0);
    const lines = (await role.output()).stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const starts = lines.filter(({ msg }) => msg.includes("is listening on"));
    expect(starts).toEqual([
      expect.objectContaining({ role: "all", port: role.port, store: "sqlite", version: expect.any(String) }),
    ]);
    expect(
      lines.filter(({ level, msg }) => level === "warn" && msg.startsWith("ADMIN IS OPEN")),
    ).toHaveLength(1);
  });

  test("a port that is taken is one clear line, exit status 1, and nothing is left open", async () => {
    const { port } = await start("all");
    const { status, stdout, stderr } = await ranProgram(["all"], {
      PORT: String(port),
      STORE_URL: `sqlite:${join(dir, "taken.db")}`,
    });
    expect(status).toBe(1);
    expect(stderr).toBe(`error: cannot listen on 127.0.0.1:${port}: the port is in use\n`);
    expect(stdout).not.toContain("is listening");
    // SQLite removes its log when the last connection is closed properly.
    expect(await Bun.file(join(dir, "taken.db-wal")).exists()).toBe(false);
  });

  test("a store that cannot be opened is one clear line, exit status 1", async () => {
    const path = join(dir, "not-a-database");
    writeFileSync(path, "x".repeat(10_000));
    const { status, stderr } = await ranProgram(["serve"], { PORT: "0", STORE_URL: `sqlite:${path}` });
    expect(status).toBe(1);
    expect(stderr).toStartWith("error: ");
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain(path);
  });

  test("wrong settings exit with 2 before anything is opened", async () => {
    const path = join(dir, "never.db");
    const { status, stderr } = await ranProgram(["all"], { LEASE_SEC: "x", STORE_URL: `sqlite:${path}` });
    expect(status).toBe(2);
    expect(stderr).toStartWith('error: LEASE_SEC="x" is not allowed');
    expect(await Bun.file(path).exists()).toBe(false);
  });

  test("no command and no MODE prints the help and exits with 2; MODE runs the role", async () => {
    const { status, stderr } = await ranProgram([]);
    expect(status).toBe(2);
    expect(stderr).toContain("Usage: task-runner");
    const byMode = program([], { MODE: "worker", PORT: "0", STORE_URL: "sqlite::memory:" });
    const line = JSON.parse(await byMode.line((text) => text.includes("is listening on")));
    expect(line.role).toBe("work");
    byMode.kill("SIGINT");
    expect(await byMode.exited).toBe(0);
  });

  test("the template's environment starts an API and a worker that share a store, without its Redis address", async () => {
    const common = {
      STORE_URL: `sqlite:${join(dir, "shared.db")}`,
      LOG_LEVEL: "info",
      REDIS_MASTER_NAME: "mymaster",
      REDIS_PASSWORD: "p",
      REDIS_SENTINEL_PASSWORD: "p",
      REDIS_CONNECT_RETRIES: "30",
      REDIS_RETRY_INTERVAL_SEC: "2",
      OTEL_EXPORTER_OTLP_ENDPOINT: "",
    };
    const worker = await start("work", {
      ...common,
      WORKER_CONCURRENCY: "10",
      TASK_TIMEOUT_SEC: "1800",
      MAX_RETRY: "5",
      ALLOW_PRIVATE_URLS: "true",
      CB_FAILURE_THRESHOLD: "5",
      CB_TIMEOUT_SEC: "30",
    });
    // The API is not told ALLOW_PRIVATE_URLS, so it takes the worker's word.
    const api = await start("serve", { ...common, ALLOW_PRIVATE_URLS: "", ADMIN_API_KEY: "k" });
    const url = target(() => new Response("ok"));
    const { status } = await command(["enqueue", url, "--api", api.url, "--wait"]);
    expect(status).toBe(0);
    for (const role of [api, worker]) {
      expect((await command(["healthcheck", "--url", role.url])).status).toBe(0);
      role.kill("SIGTERM");
      expect(await role.exited).toBe(0);
      const { stdout } = await role.output();
      expect(stdout).not.toContain('"level":"warn"');
    }
  });

  test("a serve that is told to refuse private addresses does so whatever a worker says", async () => {
    const STORE_URL = `sqlite:${join(dir, "told.db")}`;
    await start("work", { STORE_URL });
    const api = await start("serve", { STORE_URL, ALLOW_PRIVATE_URLS: "false" });
    const { status, stderr } = await command(["enqueue", "http://127.0.0.1:1/", "--api", api.url]);
    expect(status).toBe(1);
    expect(stderr).toContain("(target_forbidden)");
  });
});

describe("stopping", () => {
  test("SIGTERM lets the running delivery finish, says not ready meanwhile, and exits with 0", async () => {
    const role = await start("all", { STORE_URL: `sqlite:${join(dir, "drain.db")}` });
    const held = heldTarget();
    const enqueued = await command(["enqueue", held.url, "--api", role.url, "--json"]);
    await held.arrived;
    role.kill("SIGTERM");
    await role.line((line) => line.includes("shutting down"));

    // The API still takes tasks, which are kept for the next start; only balancers are told to go elsewhere.
    const health = await command(["healthcheck", "--url", role.url]);
    expect(health.status).toBe(1);
    expect(health.stderr).toContain("shutting down");
    const late = await command(["enqueue", held.url, "--api", role.url, "--json"]);
    expect(late.status).toBe(0);

    held.release();
    expect(await role.exited).toBe(0);

    const next = await start("serve", { STORE_URL: `sqlite:${join(dir, "drain.db")}` });
    const stateOf = async ({ stdout }: { stdout: string }) => {
      const got = await command(["tasks", "get", JSON.parse(stdout).task_id, "--api", next.url, "--json"]);
      return JSON.parse(got.stdout).state;
    };
    expect(await stateOf(enqueued)).toBe("succeeded");
    expect(await stateOf(late)).toBe("ready");
  });

  test("a delivery that outlasts the grace is given back without an attempt, and the exit status is 0", async () => {
    const STORE_URL = `sqlite:${join(dir, "grace.db")}`;
    const role = await start("all", { STORE_URL, SHUTDOWN_GRACE_SEC: "0" });
    const held = heldTarget();
    const { stdout } = await command(["enqueue", held.url, "--api", role.url, "--json"]);
    await held.arrived;
    role.kill("SIGTERM");
    expect(await role.exited).toBe(0);
    held.release();

    const next = await start("serve", { STORE_URL });
    const got = await command(["tasks", "get", JSON.parse(stdout).task_id, "--api", next.url, "--json"]);
    expect(JSON.parse(got.stdout)).toMatchObject({
      state: "ready",
      counts: { attempts: 0, crashes: 0, releases: 1 },
    });
  });

  test("a second signal ends it at once with 1", async () => {
    const role = await start("all");
    const held = heldTarget();
    await command(["enqueue", held.url, "--api", role.url]);
    await held.arrived;
    role.kill("SIGTERM");
    await role.line((line) => line.includes("shutting down"));
    role.kill("SIGINT");
    expect(await role.exited).toBe(1);
    held.release();
  });
});

describe("a failure that nothing handles", () => {
  test.each([
    ["an exception", "throw new Error('boom')", "uncaught exception"],
    ["a rejection", "Promise.reject(new Error('boom'))", "unhandled rejection"],
  ])("%s is logged as fatal and ends a role with 1", async (_, failure, said) => {
    const preload = join(dir, `${said.replace(" ", "-")}.ts`);
    // A failure that comes from nowhere in particular, at a time of the test's choosing.
    writeFileSync(preload, `process.on("SIGUSR2", () => { ${failure}; });\n`);
    const role = program(["all"], { PORT: "0", STORE_URL: "sqlite::memory:" }, preload);
    await role.line((line) => line.includes("is listening on"));
    role.kill("SIGUSR2");
    expect(await role.exited).toBe(1);
    const last = (await role.output()).stdout.trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({ level: "fatal", msg: said, err: { message: "boom" } });
  });
});

describe("commands against nothing", () => {
  test.each([[["tasks", "list"]], [["enqueue", "http://127.0.0.1:1/"]]])(
    "%j: a server that cannot be reached is one clear line, exit status 1",
    async (args) => {
      const { status, stdout, stderr } = await command([...args, "--api", "http://127.0.0.1:1"]);
      expect(status).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toBe(
        "error: cannot reach http://127.0.0.1:1: nothing listens there (--api says where the server is)\n",
      );
    },
  );

  test("healthcheck exits with 1", async () => {
    const { status, stderr } = await command(["healthcheck", "--port", "1"]);
    expect(status).toBe(1);
    expect(stderr).toBe("not ready: http://127.0.0.1:1 does not answer: nothing listens there\n");
  });

  test("an answer that is not ours is told as such", async () => {
    const other = new URL(target(() => new Response("<html>"))).origin;
    const { status, stderr } = await command(["tasks", "list", "--api", other]);
    expect(status).toBe(1);
    expect(stderr).toContain("an answer that is not Task Runner's");
  });

  test("a long answer reaches a slow reader whole", async () => {
    const url = `http://127.0.0.1:1/${"x".repeat(2_000)}`;
    const task = {
      task_id: "t",
      state: "dead",
      queue: "q",
      client_id: "c",
      priority: "low",
      task: { url, method: "GET" },
    };
    const more = { created_at: "", scheduled_at: "", counts: { attempts: 0, crashes: 0, releases: 0 } };
    const page = { tasks: Array.from({ length: 1_000 }, () => ({ ...task, ...more })), next_cursor: null };
    const api = new URL(target(() => Response.json(page))).origin;
    const { status, stdout } = await ranProgram(["tasks", "list", "--api", api, "--json"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual(page);
  });

  test("the admin key is not carried to where a redirect points", async () => {
    const carried: (string | null)[] = [];
    const elsewhere = target((request) => {
      carried.push(request.headers.get("x-admin-key"));
      return Response.json({ tasks: [], next_cursor: null });
    });
    const api = new URL(target(() => Response.redirect(elsewhere, 307))).origin;
    const { status } = await command(["tasks", "list", "--api", api, "--admin-key", "hunter2"]);
    expect(status).toBe(1);
    expect(carried).toEqual([]);
  });
});

test("healthcheck finds the local role by PORT and HOST, whatever else is wrong", async () => {
  const { port } = await start("work");
  const env = { PORT: String(port), HOST: "127.0.0.1", LEASE_SEC: "wrong" };
  expect(await command(["healthcheck", "work"], { env })).toMatchObject({ status: 0, stdout: "ready\n" });
});
