/** docs/plugins.md: what it shows is what is in examples/, and who follows it gets to a plugin that passes its tests. */

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inheritedEnv, PROJECT_DIR } from "../../scripts/app-process.ts";
import { bundle } from "./programs.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-docs-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const text = readFileSync(join(PROJECT_DIR, "docs/plugins.md"), "utf8");

/** The block of TypeScript that begins with that line. */
function blockBeginningWith(line: string): string {
  const found = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].find(([, code]) => code?.startsWith(line));
  if (found?.[1] === undefined) throw new Error(`docs/plugins.md has no block that begins with ${line}`);
  return found[1];
}

for (const file of ["plugin.ts", "plugin.test.ts"]) {
  test(`shows ${file} of the log example as it is`, () => {
    const source = readFileSync(join(PROJECT_DIR, "examples/log-transport", file), "utf8");
    const [first = ""] = source.split("\n", 1);
    expect(blockBeginningWith(first)).toBe(source);
  });
}

test("its plugin passes its test and can be bundled in a folder that has nothing but a link to Task Runner", async () => {
  mkdirSync(join(dir, "node_modules"));
  symlinkSync(PROJECT_DIR, join(dir, "node_modules/task-runner"));
  writeFileSync(join(dir, "plugin.ts"), blockBeginningWith("/** Appends each task"));
  writeFileSync(join(dir, "plugin.test.ts"), blockBeginningWith("/** Holds the log transport"));
  const child = Bun.spawn([process.execPath, "test"], {
    cwd: dir,
    env: { ...inheritedEnv(), NO_COLOR: "1" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [status, stderr] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringMatching(/^ 12 pass$/m) });
  await bundle(join(dir, "plugin.ts"), join(dir, "plugin.bundle.js"));
  expect(readFileSync(join(dir, "plugin.bundle.js"), "utf8")).toContain('from "task-runner/plugin"');
}, 30_000);

test("names every module, field and function that a plugin may use", async () => {
  const contract = await import("../../src/plugin/plugin.ts");
  const names = [...Object.keys(contract), "name", "apiVersion", "envPrefix", "options", "transports"];
  for (const name of names) expect(text, name).toMatch(new RegExp(`\\b${name}\\b`));
});
