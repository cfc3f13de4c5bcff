/** A broken plugin of each kind stops the start with one clear line and status 2, from source and in the compiled program. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openWorkshop, ran, type Workshop } from "./programs.ts";

const TRANSPORT = `{ name: "x", schemes: ["x:"], check: () => [], deliver: async () => ({}), close: async () => {} }`;
const plugin = (fields: string) => `export default { name: "mine", apiVersion: 1, ${fields} };\n`;

interface Broken {
  readonly what: string;
  /** Files by name; the plugin is mine.ts unless `args` say otherwise. */
  readonly files: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The whole line; DIR stands for the folder that it was run in. */
  readonly line: string;
}

const KINDS: readonly Broken[] = [
  {
    what: "a file that is not there",
    files: {},
    line: "plugin ./mine.ts is not there: looked for the file DIR/mine.ts",
  },
  {
    what: "a folder",
    files: { "mine.ts/plugin.ts": "" },
    line: "plugin ./mine.ts is not a file: name the module in DIR/mine.ts",
  },
  {
    what: "a package that is not there",
    files: {},
    args: ["--plugin", "some-package"],
    line: "plugin some-package is not there: no package of that name is installed in DIR; write ./some-package for a file",
  },
  {
    what: "a syntax error",
    files: { "mine.ts": 'export default {\n  name: "x\n};\n' },
    line: "plugin ./mine.ts cannot be read: Unterminated string literal (DIR/mine.ts:2)",
  },
  {
    what: "an import of a name that is not exported",
    files: { "mine.ts": 'import { nothing } from "task-runner/plugin";\nexport default nothing;\n' },
    line: "plugin ./mine.ts cannot be read: Export named 'nothing' not found in module 'task-runner/plugin'.",
  },
  {
    what: "an import of a file that is not there",
    files: { "mine.ts": 'export { default } from "./other.ts";\n' },
    line: 'plugin ./mine.ts imports "./other.ts", which is not found: the file is not there',
  },
  {
    what: "a throw while it is loaded",
    files: { "mine.ts": 'throw new Error("no licence\\nfor this machine");\n' },
    line: "plugin ./mine.ts threw while it was loading: no licence for this machine",
  },
  {
    what: "no default export",
    files: { "mine.ts": "export const plugin = {};\n" },
    line: 'plugin ./mine.ts has no default export: it must end with "export default definePlugin({ … })"',
  },
  {
    what: "a default export that is no plugin",
    files: { "mine.ts": "export default () => {};\n" },
    line: "plugin ./mine.ts is none: its default export is a function, not definePlugin({ … })",
  },
  {
    what: "another apiVersion",
    files: { "mine.ts": plugin(`transports: [${TRANSPORT}]`).replace("apiVersion: 1", "apiVersion: 2") },
    line: "plugin ./mine.ts is not usable: its apiVersion is 2, and this Task Runner takes 1",
  },
  {
    what: "no apiVersion",
    files: { "mine.ts": "export default {};\n" },
    line: "plugin ./mine.ts is not usable: it names no apiVersion, and this Task Runner takes 1",
  },
  {
    what: "a name that is none",
    files: { "mine.ts": plugin(`transports: [${TRANSPORT}]`).replace('"mine"', '"My plugin"') },
    line: 'plugin ./mine.ts is not usable: its name is "My plugin", and must be 1 to 64 lower-case letters, digits and dashes',
  },
  {
    what: "a field that does nothing",
    files: { "mine.ts": plugin(`transport: [${TRANSPORT}]`) },
    line: 'plugin ./mine.ts is not usable: it has a field "transport", and takes name, apiVersion, envPrefix, options, transports',
  },
  {
    what: "options without a prefix",
    files: { "mine.ts": plugin(`options: { type: "object", properties: {} }, transports: [${TRANSPORT}]`) },
    line: 'plugin ./mine.ts is not usable: it has options and no envPrefix, such as "NATS_"',
  },
  {
    what: "an option that is wrong",
    files: {
      "mine.ts": `import { definePlugin, Type } from "task-runner/plugin";
export default definePlugin({ name: "mine", apiVersion: 1, envPrefix: "MINE_",
  options: Type.Object({ MINE_SIZE: Type.Integer({ default: 1, minimum: 1, maximum: 9 }) }), transports: () => [] });\n`,
    },
    env: { MINE_SIZE: "ten" },
    line: 'MINE_SIZE="ten" is not allowed: a whole number from 1 to 9; default 1',
  },
  {
    what: "a prefix of Task Runner's own",
    files: {
      "mine.ts": plugin(
        `envPrefix: "REDIS_", options: { type: "object", properties: {} }, transports: [${TRANSPORT}]`,
      ),
    },
    line: 'plugin "mine": envPrefix "REDIS_" is not allowed: Task Runner has settings of its own that begin so',
  },
  {
    what: "a factory that throws",
    files: { "mine.ts": plugin('transports: () => { throw new Error("no room"); }') },
    line: "plugin ./mine.ts threw while it made its transports: no room",
  },
  {
    what: "transports that are none",
    files: { "mine.ts": plugin('transports: async () => [{ name: "x", schemes: ["x:"], check: () => [] }]') },
    line: "plugin ./mine.ts is not usable: transport 1 of its list has no function deliver",
  },
  {
    what: "no transports",
    files: { "mine.ts": plugin("transports: []") },
    line: "plugin ./mine.ts is not usable: it must give a list of at least one transport, and gave an empty list",
  },
  {
    what: "a scheme without its colon",
    files: { "mine.ts": plugin(`transports: [${TRANSPORT.replace("x:", "x")}]`) },
    line: 'plugin ./mine.ts is not usable: transport 1 of its list has the scheme "x", and must have it in lower case with its colon, like "nats:"',
  },
  {
    what: "a scheme of the built-in transport",
    files: { "mine.ts": plugin(`transports: [${TRANSPORT.replace("x:", "https:")}]`) },
    line: 'plugin ./mine.ts claims the scheme "https:", which belongs to the built-in transport "http"',
  },
  {
    what: "a scheme of another plugin",
    files: {
      "mine.ts": plugin(`transports: [${TRANSPORT}]`),
      "other.ts": plugin(`transports: [${TRANSPORT}]`).replace('"mine"', '"other"'),
    },
    args: ["--plugin", "./mine.ts", "--plugin", "./other.ts"],
    line: 'plugin ./other.ts claims the scheme "x:", which belongs to plugin "mine"',
  },
  {
    what: "the same plugin twice",
    files: { "mine.ts": plugin(`transports: [${TRANSPORT}]`) },
    args: ["--plugin", "./mine.ts", "--plugin", "./mine.ts"],
    line: 'plugin ./mine.ts is named "mine", as plugin ./mine.ts is: load one of them',
  },
  {
    what: "a prefix of another plugin's",
    files: {
      "mine.ts": plugin(`envPrefix: "BUS_", transports: [${TRANSPORT}]`),
      "other.ts": plugin(`envPrefix: "BUS_A_", transports: [${TRANSPORT}]`).replace('"mine"', '"other"'),
    },
    args: ["--plugin", "./mine.ts,./other.ts"],
    line: 'plugins ./mine.ts and ./other.ts both have options that begin with "BUS_": they cannot be told apart',
  },
];

let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop.dispose());

test.each(KINDS)("$what", async ({ what, files, args, env, line }) => {
  const dir = join(workshop.dir, what.replace(/\W+/g, "-"));
  mkdirSync(dir);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, ".."), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  const given = args ?? ["--plugin", "./mine.ts"];
  const ends = await Promise.all(
    workshop.programs.map(async (program) => ({
      name: program.name,
      ...(await ran(program, ["all", ...given], dir, env)),
    })),
  );
  for (const end of ends) {
    expect(end).toEqual({
      name: end.name,
      status: 2,
      stdout: "",
      stderr: `error: ${line.replaceAll("DIR", dir)}\n`,
    });
  }
});

test("a plugin whose packages the compiled program cannot find says how to bundle it", async () => {
  const dir = join(workshop.dir, "packages");
  const packageDir = join(dir, "node_modules/some-package");
  mkdirSync(packageDir, { recursive: true });
  writeFileSync(join(dir, "mine.ts"), `import "some-package/part";\n${plugin(`transports: [${TRANSPORT}]`)}`);
  const [source, compiled] = workshop.programs;
  if (source === undefined || compiled === undefined) throw new Error("there are two programs");
  const args = ["all", "--plugin", "./mine.ts"];
  const cannot =
    'error: plugin ./mine.ts imports "some-package/part", which is not found: install it beside the plugin';
  expect(await ran(source, args, dir)).toMatchObject({ status: 2, stderr: `${cannot}\n` });
  expect(await ran(compiled, args, dir)).toMatchObject({
    status: 2,
    stderr: `${cannot}, and for the compiled program bundle it into one file: bun build ./mine.ts --target=bun --external task-runner/plugin --outfile ./mine.bundle.js\n`,
  });
});
