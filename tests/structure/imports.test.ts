/** Holds the direction of imports in src, and that nothing of one developer's machine is in the repository. */

import { describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { problemsOf } from "./import-rules.ts";
import { leaksOf } from "./repository-rules.ts";
import { importsOf, readSource } from "./source-text.ts";

const ROOT = resolve(import.meta.dir, "../..");

describe("this repository", () => {
  test("imports in one direction, and touches runtime, environment and exit in one place each", async () => {
    const src = join(ROOT, "src");
    const entries = await readdir(src, { recursive: true });
    const paths = entries
      .map((path) => path.replaceAll("\\", "/"))
      .filter((path) => /\.[cm]?[jt]sx?$/.test(path));
    expect(paths).toContain("core/store.ts");
    const problems = await Promise.all(
      paths.map(async (path) => problemsOf(path, await readFile(join(src, path), "utf8"))),
    );
    expect(problems.flat()).toEqual([]);
  });

  test("holds no registry host and no path of a developer's machine", async () => {
    // Files that are new count too: they are about to be committed.
    const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    const { stdout } = await promisify(execFile)("git", args, { cwd: ROOT, maxBuffer: 16 * 1_048_576 });
    const paths = stdout.split("\0").filter((path) => path !== "");
    expect(paths).toContain("package.json");
    const leaks: string[] = [];
    for (const path of paths) {
      const text = await readFile(join(ROOT, path), "utf8").catch(() => "");
      if (!text.includes("\0")) leaks.push(...leaksOf(path, text, ROOT));
    }
    expect(leaks).toEqual([]);
  });

  test("locks packages by name, version and hash, without the place they came from", async () => {
    expect(await readFile(join(ROOT, "bun.lock"), "utf8")).not.toMatch(/[a-z]:\/\//i);
  });
});

describe("the scan for imports", () => {
  const forms: ReadonlyArray<readonly [string, string]> = [
    ["a default import", 'import x from "TARGET";'],
    ["named imports over lines", 'import {\n  a,\n  type B as C,\n} from "TARGET";'],
    ["a namespace", 'import * as x from "TARGET";'],
    ["a type import", 'import type { X } from "TARGET";'],
    ["a bare import", 'import "TARGET";'],
    ["single quotes and no spaces", "import{a}from'TARGET'"],
    ["an export of all", 'export * from "TARGET";'],
    ["an export by name", 'export { a } from "TARGET";'],
    ["an export of types", 'export type { A } from "TARGET";'],
    ["a dynamic import", 'const x = await import("TARGET");'],
    ["a dynamic import with attributes", 'import("TARGET", { with: { type: "json" } });'],
    ["a dynamic import by template", "import(`TARGET`);"],
    ["a type's import", 'let x: import("TARGET").X;'],
    ["an import in a template's expression", "const x = `#{(await import('TARGET')).x} #{1}`;"],
    ["a require", 'const x = require("TARGET");'],
    ["an import after a comment between its parts", 'import /* a */ x // b\n from "TARGET";'],
    ["an import after a regular expression with a quote", 'const r = /["\']/g;\nimport x from "TARGET";'],
    ["an import after a division", 'const n = a / b; // "\nimport x from "TARGET";'],
    ["an import after a template with a brace", 'const t = `#{{ a: "}" }.a}`;\nimport x from "TARGET";'],
  ];
  for (const [what, source] of forms) {
    test(`sees ${what}`, () => {
      expect(specifiers(written(source).replaceAll("TARGET", "./a.ts"))).toEqual(["./a.ts"]);
    });
  }

  test("sees each of many", () => {
    const source =
      'import a from "a";\nimport type { B } from "b";\nexport * from "c";\nimport "d";\nawait import("e");';
    expect(specifiers(source).sort()).toEqual(["a", "b", "c", "d", "e"]);
  });

  test("sees that a specifier is computed", () => {
    for (const source of ["await import(path);", "import(`./#{name}.ts`);", 'require("./" + name);']) {
      expect(specifiers(written(source))).toEqual([null]);
    }
  });

  for (const source of [
    '// import x from "a";',
    '/* import x from "a"; */',
    "const text = 'import x from \"a\"';",
    'const text = `import x from "a"`;',
    'const list = Array.from("abc");',
    'const from = "a"; export const x = from;',
    "const r = /import 'a'/;",
    'loader.import("a");',
  ]) {
    test(`takes no import from ${source}`, () => {
      expect(specifiers(source)).toEqual([]);
    });
  }
});

describe("the rules", () => {
  const refused: ReadonlyArray<readonly [string, string, string]> = [
    ["core/task.ts", 'import { x } from "../store/sqlite/store.ts";', "core may not know store"],
    ["core/task.ts", 'import type { X } from "../service/tasks.ts";', "core may not know service"],
    ["core/task.ts", 'import { readFile } from "node:fs";', "the core knows"],
    ["core/task.ts", 'import pino from "pino";', "the core knows"],
    ["core/task.ts", 'import x from "@sinclair/typebox-other";', "the core knows"],
    ["store/sqlite/store.ts", 'import { x } from "../redis/keys.ts";', "its sibling"],
    ["store/sqlite/store.ts", 'import { x } from "../choice.ts";', "its sibling"],
    [
      "store/sqlite/store.ts",
      'import { x } from "../../transport/http/http.ts";',
      "store may not know transport",
    ],
    [
      "store/sqlite/store.ts",
      'import { x } from "../../telemetry/logger.ts";',
      "store may not know telemetry",
    ],
    ["transport/registry.ts", 'import { x } from "./http/http.ts";', "its sibling"],
    ["transport/http/guard.ts", 'export * from "../nats/nats.ts";', "its sibling"],
    ["transport/http/guard.ts", 'import { x } from "../../config.ts";', "transport may not know config"],
    ["service/tasks.ts", 'import { x } from "../worker/worker.ts";', "service may not know worker"],
    ["service/tasks.ts", 'await import("../store/sqlite/store.ts");', "service may not know store"],
    ["worker/loop.ts", 'let x: import("../api/server.ts").X;', "worker may not know api"],
    ["worker/loop.ts", 'import { x } from "../service/tasks.ts";', "worker may not know service"],
    ["api/server.ts", 'import { x } from "../worker/worker.ts";', "api may not know worker"],
    ["api/server.ts", 'import { x } from "../config.ts";', "api may not know config"],
    ["cli/tasks.ts", 'import { x } from "../service/tasks.ts";', "cli may not know service"],
    ["cli/tasks.ts", 'import { x } from "../store/sqlite/store.ts";', "cli may not know store"],
    ["plugin/load.ts", 'import { x } from "../config.ts";', "plugin may not know config"],
    ["plugin/load.ts", "await import(path);", "cannot be told"],
    ["telemetry/logger.ts", 'import { x } from "../api/server.ts";', "telemetry may not know api"],
    ["config/schema.ts", 'import { x } from "../telemetry/logger.ts";', "config may not know telemetry"],
    ["cli/roles.ts", 'import { x } from "../app.ts";', "the composition root"],
    ["api/server.ts", 'import { x } from "../main.ts";', "the composition root"],
    ["helpers/text.ts", 'import { x } from "../core/task.ts";', "no rule says what helpers may import"],
    ["worker/loop.ts", 'import { x } from "../../tests/support/tasks.ts";', "outside of src"],
    ["worker/loop.ts", 'import { x } from "../core/task";', "without its ending"],
    ["worker/loop.ts", 'import { x } from "/elsewhere/x.ts";', "else than a relative path"],
    ["worker/loop.ts", 'import { x } from "src/core/task.ts";', "else than a relative path"],
    ["worker/loop.ts", "await import(path);", "cannot be told"],
    ["app.ts", "const port = Bun.env.PORT;", "names Bun or Deno"],
    ["transport/http/http.ts", "const x = `#{Deno.version.deno}`;", "names Bun or Deno"],
    ["store/sqlite/store.ts", 'import { Database } from "bun:sqlite";', "imports bun:sqlite"],
    ["store/sqlite/store.ts", 'import { file } from "bun";', "imports bun"],
    ["app.ts", "const port = process.env.PORT;", "reads the environment"],
    ["runtime.ts", "const port = process\n  ?.env;", "reads the environment"],
    ["app.ts", 'import { env } from "node:process";', "reads the environment"],
    ["cli/host.ts", "const { argv, env } = process;", "reads the environment"],
    ["cli/host.ts", 'const env = process["env"];', "by a computed name"],
    ["api/server.ts", "if (import.meta.env.X) run();", "reads the environment"],
    ["app.ts", "process.exit(1);", "ends the process"],
    ["cli/program.ts", 'import process, { exit as leave } from "node:process";', "ends the process"],
    ["worker/loop.ts", "globalThis.process.abort();", "ends the process"],
  ];
  for (const [path, source, why] of refused) {
    test(`refuse in src/${path}: ${source.replaceAll("\n", " ")}`, () => {
      const problems = problemsOf(path, written(source));
      expect(problems.length).toBe(1);
      expect(problems[0]).toStartWith(`src/${path} `);
      expect(problems[0]).toContain(why);
    });
  }

  const allowed: ReadonlyArray<readonly [string, string]> = [
    [
      "core/task.ts",
      'import { Type } from "@sinclair/typebox";\nimport { Value } from "@sinclair/typebox/value";',
    ],
    ["core/task.ts", 'import type { X } from "./retry.ts";'],
    ["store/sqlite/store.ts", 'import { x } from "./codec.ts";\nimport { y } from "../../core/task.ts";'],
    ["store/sqlite/store.ts", 'import { DatabaseSync } from "node:sqlite";\nimport z from "some-library";'],
    ["store/redis/claim.ts", 'import claim from "./lua/claim.lua" with { type: "text" };'],
    ["transport/registry.ts", 'import type { Transport } from "../core/transport.ts";'],
    ["service/tasks.ts", 'import { x } from "../core/task.ts";'],
    ["worker/loop.ts", 'import { x } from "../telemetry/logger.ts";\nimport { y } from "cockatiel";'],
    [
      "api/server.ts",
      'import { x } from "../service/tasks.ts";\nimport { y } from "../telemetry/logger.ts";',
    ],
    ["cli/program.ts", 'import { x } from "../config.ts";\nimport { y } from "../version.ts";'],
    ["config.ts", 'import { x } from "./config/schema.ts";\nconst port = process.env.PORT;'],
    ["config/read.ts", "const port = process.env.PORT;"],
    ["version.ts", 'import own from "../package.json" with { type: "json" };'],
    ["runtime.ts", "await import(path);"],
    ["runtime.ts", "const server = Bun.serve({});\nDeno.serve({});"],
    ["app.ts", 'import { x } from "./store/sqlite/store.ts";\nimport { y } from "./worker/worker.ts";'],
    ["main.ts", 'import { x } from "./app.ts";\nprocess.exit(0);\nprocess.exitCode = 1;'],
    [
      "worker/loop.ts",
      "// Bun.sleep and process.exit(1) are not for us\nconst text = 'Deno.env process.env';",
    ],
    ["transport/http/dial.ts", 'const fast = "Bun" in globalThis;\nconst BunLike = 1;'],
    ["cli/host.ts", 'import process, { argv } from "node:process";\nprocess.exitCode = 2;'],
  ];
  for (const [path, source] of allowed) {
    test(`allow in src/${path}: ${source.replaceAll("\n", " ")}`, () => {
      expect(problemsOf(path, source)).toEqual([]);
    });
  }
});

describe("the search for what is of one machine only", () => {
  // Put together here, or this file would be found itself.
  const host = (...labels: string[]) => labels.join(".");
  const path = (...parts: string[]) => `/${parts.join("/")}`;
  const root = path("checkouts", "task-runner");

  const leaking: ReadonlyArray<readonly [string, string]> = [
    ["a public registry's host", `"resolved": "https://${host("registry", "somewhere", "org")}/x/-/x-1.tgz"`],
    ["a mirror's host", `see http://${host("npm", "corp-name", "internal")}:4873/`],
    ["a host among others", `${host("registry", "example", "com")} ${host("artifactory", "firm", "io")}`],
    ["a registry's setting", `[install]\n${"registry"} = "http://10.0.0.1:4873"`],
    ["a home of Linux", `cd ${path("home", "someone", "task-runner")}`],
    ["a home of macOS", `open "${path("Users", "someone", "task-runner")}"`],
    ["a home of Windows", ["C:", "Users", "someone"].join("\\")],
    ["root's home", `cat ${path("root", ".config")}`],
    ["the place of this checkout", `source ${path("checkouts", "shared", "x")}`],
  ];
  for (const [what, text] of leaking) {
    test(`finds ${what}`, () => {
      expect(leaksOf("README.md", text, root).length).toBe(1);
    });
  }

  for (const text of [
    'import { x } from "./registry.ts"; this.registry.transports.map(y)',
    `docker pull ${host("registry", "example", "com")}/task-runner:1`,
    "https://www.npmjs.com/package/pino https://github.com/x/y",
    "/usr/local/bin/task-runner /v1/tasks /app/data src/home/page.ts ~/data #{dir}/home/x/y",
    "src/checkouts/x.ts https://host/checkouts/x",
  ]) {
    test(`leaves alone: ${text}`, () => {
      expect(leaksOf("README.md", written(text), root)).toEqual([]);
    });
  }
});

function specifiers(source: string): Array<string | null> {
  return importsOf(readSource(source)).map(({ specifier }) => specifier);
}

/** The sources above write a template's opening as `#{`, so that none of them looks like one gone wrong. */
function written(source: string): string {
  return source.replaceAll("#{", "${");
}
