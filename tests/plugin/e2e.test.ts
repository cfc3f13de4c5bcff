/** The examples as their users run them: from source, and bundled into one file with the compiled program. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type AppProcess, PROJECT_DIR } from "../../scripts/app-process.ts";
import { type NatsServer, StreamView, startNats } from "./nats.ts";
import { bundle, openWorkshop, type Program, ran, started, type Workshop } from "./programs.ts";

const NATS_PLUGIN = join(PROJECT_DIR, "examples/nats-jetstream/plugin.ts");
const LOG_PLUGIN = join(PROJECT_DIR, "examples/log-transport/plugin.ts");
const DEADLINE_MS = 15_000;
const LOOK_EVERY_MS = 20;

let workshop: Workshop;
let natsBundle: string;
beforeAll(async () => {
  workshop = await openWorkshop();
  natsBundle = await bundle(NATS_PLUGIN, join(workshop.dir, "nats-jetstream.js"));
});
afterAll(() => workshop.dispose());

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function programNamed(name: Program["name"]): Program {
  const program = workshop.programs.find((one) => one.name === name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return program;
}

async function start(...args: Parameters<typeof started>): Promise<AppProcess> {
  const app = await started(...args);
  closing.push(() => app.stop());
  return app;
}

async function natsServer(options: Parameters<typeof startNats>[0] = {}): Promise<NatsServer> {
  const nats = await startNats(options);
  closing.push(() => nats.stop());
  return nats;
}

async function streamOn(nats: NatsServer): Promise<StreamView> {
  const stream = await StreamView.of(nats.address, "ORDERS", ["orders.>"]);
  closing.push(() => stream.close());
  return stream;
}

async function enqueue(app: AppProcess, task: object, more: object = {}) {
  const answer = await fetch(`${app.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_id: "e2e", task, ...more }),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

interface TaskView {
  readonly state: string;
  readonly attempts: readonly { readonly error: string | null; readonly response_excerpt: string | null }[];
}

/** The task once `wanted` holds of it. */
async function taskWhen(
  app: AppProcess,
  id: unknown,
  wanted: (task: TaskView) => boolean,
): Promise<TaskView> {
  let task: TaskView | null = null;
  for (const endMs = Date.now() + DEADLINE_MS; Date.now() < endMs; await Bun.sleep(LOOK_EVERY_MS)) {
    const answer = await fetch(`${app.url}/v1/tasks/${id}`, { signal: AbortSignal.timeout(DEADLINE_MS) });
    task = (await answer.json()) as TaskView;
    if (wanted(task)) return task;
  }
  throw new Error(`the task stayed as it was: ${JSON.stringify(task)}\n${app.output()}`);
}

describe.each(["from source", "compiled"] as const)("the NATS example, %s", (name) => {
  const pluginOf = () => (name === "compiled" ? natsBundle : NATS_PLUGIN);

  test("stores a task in a stream, through an outage of the server", async () => {
    const storeDir = mkdtempSync(join(workshop.dir, "jetstream-"));
    const first = await startNats({ storeDir });
    const before = await StreamView.of(first.address, "ORDERS", ["orders.>"]);
    await before.close();
    const app = await start(programNamed(name), ["all", "--plugin", pluginOf()], {
      NATS_SERVERS: first.address,
      CB_FAILURE_THRESHOLD: "1000",
    });
    const url = `nats://${first.address}/orders.created`;
    const task = { url, body: { order: 7 } };

    const good = await enqueue(app, task);
    expect(good.status).toBe(202);
    const done = await taskWhen(app, good.body.task_id, ({ state }) => state === "succeeded");
    expect(JSON.parse(done.attempts[0]?.response_excerpt ?? "")).toEqual({
      stream: "ORDERS",
      seq: 1,
      duplicate: false,
    });

    await first.stop();
    const retry = { max_attempts: 100, min_backoff_sec: 0.1, max_backoff_sec: 0.2 };
    const early = await enqueue(app, task, { retry });
    expect(early.status).toBe(202);
    const failed = await taskWhen(app, early.body.task_id, ({ attempts }) => attempts.length > 0);
    expect(failed.attempts[0]?.error).toContain("connection refused");

    const second = await natsServer({ storeDir, port: first.port });
    await taskWhen(app, early.body.task_id, ({ state }) => state === "succeeded");
    const stored = await (await streamOn(second)).stored();
    expect(stored.map(({ subject, body }) => [subject, new TextDecoder().decode(body)])).toEqual([
      ["orders.created", '{"order":7}'],
      ["orders.created", '{"order":7}'],
    ]);
    expect(stored.map((message) => message.header("X-Task-Id"))).toEqual([
      String(good.body.task_id),
      String(early.body.task_id),
    ]);
    expect(await app.stop()).toBe(0);
  }, 40_000);

  test("refuses at once what cannot be published, and starts with its options judged", async () => {
    const nats = await natsServer();
    const app = await start(programNamed(name), ["serve", "--plugin", pluginOf()], {
      NATS_SERVERS: nats.address,
      NATS_TOKNE: "a-secret",
    });
    expect(app.output()).toContain('NATS_TOKNE is not an option of plugin \\"nats-jetstream\\"');
    expect(app.output()).not.toContain("a-secret");
    const elsewhere = await enqueue(app, { url: "nats://10.0.0.1:4222/orders" });
    expect(elsewhere.status).toBe(422);
    expect(JSON.stringify(elsewhere.body)).toContain("which NATS_SERVERS does not list");
    const wildcard = await enqueue(app, { url: `nats://${nats.address}/orders.*` });
    expect(wildcard.status).toBe(400);
    const unknown = await enqueue(app, { url: "amqp://a/b" });
    expect(unknown.status).toBe(422);
    expect(JSON.stringify(unknown.body)).toContain("use one of: http:, https:, nats:");

    const end = await ran(programNamed(name), ["all", "--plugin", pluginOf()], workshop.dir, {
      NATS_TLS: "perhaps",
      NATS_CREDS: "not-creds-but-secret",
    });
    expect(end).toEqual({
      status: 2,
      stdout: "",
      stderr: [
        "error: NATS_SERVERS is not set and has no default: allowed is host:port, or several with commas between them",
        "error: NATS_CREDS (value hidden) is not allowed: the content of a .creds file; NATS_CREDS_FILE names the file; default none",
        'error: NATS_TLS="perhaps" is not allowed: true or false; default false\n',
      ].join("\n"),
    });
  }, 40_000);
});

describe.each(["from source", "compiled"] as const)("a plugin in a package, %s", (name) => {
  test.each([
    ["main", "bus-plugin", { main: "lib/plugin.ts" }],
    [
      "exports",
      "@bus/plugin",
      { exports: { ".": { types: "./x.d.ts", import: { default: "./lib/plugin.ts" } } } },
    ],
  ])("is found by its %s", async (what, packageName, description) => {
    const dir = join(workshop.dir, `package-${what}-${name.replace(" ", "-")}`);
    const place = join(dir, "node_modules", packageName);
    await Bun.write(join(place, "package.json"), JSON.stringify({ name: packageName, ...description }));
    await Bun.write(join(place, "lib/plugin.ts"), Bun.file(LOG_PLUGIN));
    const below = join(dir, "below");
    mkdirSync(below);
    const { status, stdout, stderr } = await ran(
      programNamed(name),
      ["config", "--plugin", packageName],
      below,
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^TASKLOG_FILE +tasks\.log +default$/m);
  });
});

test("an unbundled plugin with packages is refused by the compiled program where they cannot be found", async () => {
  // Its own folder, where nothing is installed.
  const dir = join(workshop.dir, "unbundled");
  mkdirSync(dir);
  for (const file of ["plugin.ts", "target.ts", "connections.ts"]) {
    await Bun.write(join(dir, file), Bun.file(join(PROJECT_DIR, "examples/nats-jetstream", file)));
  }
  const end = await ran(programNamed("compiled"), ["all", "--plugin", "./plugin.ts"], dir, {
    NATS_SERVERS: "a",
  });
  expect(end.status).toBe(2);
  expect(end.stderr).toMatch(
    /^error: plugin \.\/plugin\.ts imports "@nats-io\/[\w-]+", .*: bun build \.\/plugin\.ts .*\n$/,
  );
});

describe.each(["from source", "compiled"] as const)("the log example, %s", (name) => {
  test("writes tasks to its file, its source as it is", async () => {
    const file = join(mkdtempSync(join(workshop.dir, "log-")), "tasks.log");
    const app = await start(programNamed(name), ["all"], { PLUGINS: LOG_PLUGIN, TASKLOG_FILE: file });
    const { status, body } = await enqueue(app, { url: "log:orders", body: "hello" });
    expect(status).toBe(202);
    await taskWhen(app, body.task_id, ({ state }) => state === "succeeded");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
      taskId: body.task_id,
      url: "log:orders",
      body: Buffer.from("hello").toString("base64"),
    });
  });

  test("is shown by config with its options", async () => {
    const args = ["config", "--json", "--plugin", LOG_PLUGIN];
    const { status, stdout } = await ran(programNamed(name), args, workshop.dir, { TASKLOG_FILE: "x.log" });
    expect(status).toBe(0);
    const { settings } = JSON.parse(stdout) as { settings: { name: string }[] };
    expect(settings.find((setting) => setting.name === "TASKLOG_FILE")).toMatchObject({
      value: "x.log",
      source: "environment",
      default: "tasks.log",
    });
  });
});

test("config hides a plugin's secrets, and tells a plugin that cannot be loaded among the problems", async () => {
  const source = programNamed("from source");
  const env = { NATS_SERVERS: "a:1", NATS_TOKEN: "a-secret" };
  const shown = await ran(source, ["config", "--plugin", NATS_PLUGIN], workshop.dir, env);
  expect(shown).toMatchObject({ status: 0, stderr: "" });
  expect(shown.stdout).toMatch(/^NATS_TOKEN +\(hidden\) +environment$/m);
  expect(shown.stdout).toMatch(/^NATS_TLS +false +default$/m);
  const broken = await ran(source, ["config", "--plugin", "./none.ts"], workshop.dir);
  expect(broken.status).toBe(2);
  expect(broken.stderr).toBe(
    `error: plugin ./none.ts is not there: looked for the file ${join(workshop.dir, "none.ts")}\n`,
  );
});

describe("serve and work apart", () => {
  test("need the plugin on both: one accepts what the other delivers", async () => {
    const dir = mkdtempSync(join(workshop.dir, "apart-"));
    const env = { STORE_URL: `sqlite:${join(dir, "tasks.db")}`, TASKLOG_FILE: join(dir, "tasks.log") };
    const source = programNamed("from source");
    const without = await start(source, ["serve"], env);
    const refused = await enqueue(without, { url: "log:orders" });
    expect(refused.status).toBe(422);
    expect(JSON.stringify(refused.body)).toContain(
      'scheme \\"log:\\" is not supported; use one of: http:, https:',
    );

    const serve = await start(source, ["serve", "--plugin", LOG_PLUGIN], env);
    await start(source, ["work", "--plugin", LOG_PLUGIN], env);
    const { status, body } = await enqueue(serve, { url: "log:orders" });
    expect(status).toBe(202);
    await taskWhen(serve, body.task_id, ({ state }) => state === "succeeded");
  }, 40_000);
});

describe.skipIf(Bun.which("deno") === null)("on Deno", () => {
  const deno = {
    name: "from source" as const,
    argv: ["deno", "run", "--quiet", "-A", join(PROJECT_DIR, "src/main.ts")],
  };

  test("a plugin bundled with all it imports runs too", async () => {
    const dir = mkdtempSync(join(workshop.dir, "deno-"));
    const file = join(dir, "tasks.log");
    const plugin = await bundle(LOG_PLUGIN, join(dir, "log.js"), false);
    const app = await start(deno, ["all", "--plugin", plugin], { TASKLOG_FILE: file });
    const { body } = await enqueue(app, { url: "log:orders", body: "from deno" });
    await taskWhen(app, body.task_id, ({ state }) => state === "succeeded");
    expect(readFileSync(file, "utf8")).toContain(String(body.task_id));
  }, 40_000);

  test("one that is not is refused in one line that says so", async () => {
    const dir = mkdtempSync(join(workshop.dir, "deno-"));
    await Bun.write(join(dir, "plugin.ts"), Bun.file(LOG_PLUGIN));
    await Bun.write(join(dir, "other.ts"), 'import "some-package";\n');
    const all = (path: string) => ran(deno, ["all", "--plugin", path], dir);
    expect(await all("./plugin.ts")).toMatchObject({
      status: 2,
      stderr:
        'error: plugin ./plugin.ts imports "task-runner/plugin", which this runtime cannot be given: bundle the plugin with it, by Bun and without --external\n',
    });
    const other = await all("./other.ts");
    expect(other.status).toBe(2);
    expect(other.stderr).toMatch(
      /^error: plugin \.\/other\.ts cannot be loaded: Import "some-package" not a dependency at file:.*\n$/,
    );
  }, 40_000);
});
