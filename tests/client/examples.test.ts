/** The programs of docs/client.md are those of examples/client, and run on Bun, Deno and Node against a real server. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, TaskRunner } from "task-runner/client";
import { type AppProcess, inheritedEnv, PROJECT_DIR, startApp } from "../../scripts/app-process.ts";

const LIMIT_MS = 60_000;
const EXAMPLES = join(PROJECT_DIR, "examples/client");
const CLIENT = join(PROJECT_DIR, "src/client/index.ts");
/** A client that has everything may be so large; it is read by browsers too. */
const MAX_BUNDLE_BYTES = 20 * 1_024;

let dir = "";
let bundles = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-examples-"));
  bundles = join(dir, "bundles");
  const names = await readdir(EXAMPLES);
  const entrypoints = names.filter((name) => name.endsWith(".ts")).map((name) => join(EXAMPLES, name));
  await Bun.build({ entrypoints, target: "node", format: "esm", outdir: bundles });
}, LIMIT_MS);
afterAll(() => rm(dir, { recursive: true, force: true }));

test("the document prints the programs as they are", async () => {
  const text = await readFile(join(PROJECT_DIR, "docs/client.md"), "utf8");
  const printed = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
  const names = (await readdir(EXAMPLES)).filter((name) => name.endsWith(".ts"));
  const programs = await Promise.all(names.map((name) => readFile(join(EXAMPLES, name), "utf8")));
  expect(printed.sort()).toEqual(programs.sort());
});

test("the document tells every call, option and error of its own", async () => {
  const text = await readFile(join(PROJECT_DIR, "docs/client.md"), "utf8");
  const runner = new TaskRunner({ url: "http://127.0.0.1" });
  const callsOf = (part: object): string[] => {
    const prototype = Object.getPrototypeOf(part);
    return Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor");
  };
  const rows = [...text.matchAll(/^\| `(runner[.\w]*)` \| (.*) \|$/gm)];
  expect(rows.length).toBe(1 + Object.keys(runner).length);
  for (const [, of = "", calls = ""] of rows) {
    const [, name] = of.split(".");
    const part = name === undefined ? runner : Reflect.get(runner, name);
    const told = [...calls.matchAll(/`(\w+)`/g)].map((match) => match[1]);
    expect(told.sort()).toEqual(callsOf(part).sort());
  }
  expect(new ApiError({ code: "unreachable", message: "" }).name).toBe("ApiError");
});

test("is one small file without an import, and with nothing of the server, once it is bundled", async () => {
  const { outputs } = await Bun.build({ entrypoints: [CLIENT], target: "browser", format: "esm" });
  expect(outputs.length).toBe(1);
  const text = (await outputs[0]?.text()) ?? "";
  expect(text).not.toMatch(/^\s*import\b|\brequire\(|\bBun\b|\bDeno\b|\bprocess\b|\bBuffer\b|typebox/im);
  expect(text).toMatch(/^export \{/m);
  expect(text.length).toBeLessThan(MAX_BUNDLE_BYTES);
});

const RUNTIMES = [
  { name: "Bun", command: [process.execPath], program: (name: string) => join(EXAMPLES, `${name}.ts`) },
  {
    name: "Deno",
    command: ["deno", "run", "-A", "--no-lock", "--quiet"],
    program: (name: string) => join(EXAMPLES, `${name}.ts`),
  },
  // Which reads no TypeScript of itself: the programs are bundled for it.
  { name: "Node", command: ["node"], program: (name: string) => join(bundles, `${name}.js`) },
];

describe.each(RUNTIMES)("on $name", ({ command, program }) => {
  const present = Bun.which(command[0] ?? "") !== null;
  let dataDir = "";
  let app: AppProcess;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(dir, "data-"));
    app = await startApp({ command: "all", env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true" } });
    await new TaskRunner({ url: app.url }).tiers.set({
      tier: "free",
      requests_per_minute: null,
      max_concurrent: null,
    });
  }, LIMIT_MS);
  afterAll(() => app.stop(), LIMIT_MS);

  const start = (name: string, ...args: string[]) =>
    Bun.spawn([...command, program(name), ...args], {
      cwd: PROJECT_DIR,
      env: { ...inheritedEnv(), NO_COLOR: "1", TASK_RUNNER_URL: app.url },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: LIMIT_MS,
    });

  /** What a program prints, and the status it ends with. */
  async function run(name: string, ...args: string[]) {
    const child = start(name, ...args);
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { lines: stdout.trim().split("\n"), stderr, status };
  }

  test.skipIf(!present)(
    "a task is handed in and waited for, once by its name, or refused",
    async () => {
      const bodies: unknown[] = [];
      const hook = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: async (request) => {
          bodies.push(await request.json());
          return new Response("taken");
        },
      });
      try {
        const url = `http://127.0.0.1:${hook.port}/`;
        expect(await run("hand-in", url)).toEqual({
          lines: ["enqueued", "succeeded 1"],
          stderr: "",
          status: 0,
        });
        expect((await run("hand-in", url)).lines).toEqual(["duplicate", "succeeded 1"]);
        expect(bodies).toEqual([{ order: 4711 }]);
        const refused = await run("hand-in", "ftp://example.com/");
        expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/^target_forbidden: /)]);
      } finally {
        await hook.stop(true);
      }
    },
    LIMIT_MS,
  );

  test.skipIf(!present)(
    "many are handed in, walked through and cancelled",
    async () => {
      const { lines, stderr, status } = await run("many", `${app.url}/health/live`);
      expect([lines, stderr, status]).toEqual([["5 5"], "", 0]);
    },
    LIMIT_MS,
  );

  test.skipIf(!present)(
    "a client and a queue are set up",
    async () => {
      const { lines, stderr, status } = await run("set-up");
      expect([stderr, status]).toEqual(["", 0]);
      expect([lines.slice(0, 2), lines.at(-1)]).toEqual([["300", "true"], "0"]);
      expect(lines).toContain("mail 0");
    },
    LIMIT_MS,
  );

  test.skipIf(!present)(
    "a pull queue is worked off until the consumer is told to stop",
    async () => {
      const runner = new TaskRunner({ url: app.url });
      await runner.queues.set({ queue: "render", mode: "pull" });
      const child = start("consumer", "render");
      try {
        const { task_id: id } = await runner.enqueue({
          client_id: "shop",
          queue: "render",
          task: { body: "page 7" },
        });
        const task = await runner.tasks.wait(id);
        expect([task.state, task.attempts[0]?.response_excerpt]).toEqual([
          "succeeded",
          `rendered page 7 of ${id}`,
        ]);
        child.kill("SIGTERM");
        const [stdout, stderr, status] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
          child.exited,
        ]);
        expect([stdout.trim().split("\n"), stderr, status]).toEqual([
          ["ready", `acked rendered page 7 of ${id}`],
          "",
          0,
        ]);
      } finally {
        child.kill("SIGKILL");
      }
    },
    LIMIT_MS,
  );
});
