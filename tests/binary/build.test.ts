/** What `bun run build` makes: one file that knows its version and commit, and minds nothing that lies around. */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AppProcess,
  appCommand,
  inheritedEnv,
  PROJECT_DIR,
  startApp,
} from "../../scripts/app-process.ts";
import { commitHere, TARGETS } from "../../scripts/build.ts";
import { VERSION } from "../../src/version.ts";

const LONGEST_RUN_MS = 60_000;
const dir = mkdtempSync(join(tmpdir(), "task-runner-build-"));
const binary = join(dir, "task-runner");
let commit = "";

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function ran(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = PROJECT_DIR,
): Promise<Ended> {
  const child = Bun.spawn([...argv], {
    cwd,
    env: { ...inheritedEnv(), NO_COLOR: "1", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: LONGEST_RUN_MS,
    killSignal: "SIGKILL",
  });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { status, stdout, stderr };
}

function build(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return ran([process.execPath, "scripts/build.ts", ...args], env);
}

const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  commit = await commitHere();
  expect(await build(["--out", dir])).toMatchObject({ status: 0, stderr: "" });
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("the program tells its version, the commit it was built from and its runtime", async () => {
  const runtime = `bun ${Bun.version}`;
  const json = await ran([binary, "version", "--json"]);
  expect(JSON.parse(json.stdout)).toEqual({ version: VERSION, commit, runtime });
  const text = await ran([binary, "version"]);
  expect(text).toEqual({
    status: 0,
    stdout: `task-runner ${VERSION} (commit ${commit}, ${runtime})\n`,
    stderr: "",
  });
  const bare = await ran([binary, "--version"]);
  expect(bare.stdout).toBe(`${VERSION}\n`);
});

test("built anywhere else, the same sources give the same bytes, which name no commit and no place", async () => {
  const made: Buffer[] = [];
  const copy = join(dir, "copy");
  const sources = ["src", "scripts", "package.json", "tsconfig.json", "bunfig.toml"];
  for (const name of sources) cpSync(join(PROJECT_DIR, name), join(copy, name), { recursive: true });
  for (const place of ["here", "there"]) {
    const folder = join(dir, place);
    cpSync(copy, folder, { recursive: true });
    symlinkSync(join(PROJECT_DIR, "node_modules"), join(folder, "node_modules"));
    const { status, stdout, stderr } = await ran([process.execPath, "scripts/build.ts"], {}, folder);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toStartWith(`dist/task-runner: ${VERSION}, commit unknown, `);
    // Nothing of the work is left beside what was asked for.
    expect(readdirSync(join(folder, "dist"))).toEqual(["task-runner"]);
    made.push(readFileSync(join(folder, "dist/task-runner")));
  }
  const [here = Buffer.of(), there = Buffer.of()] = made;
  expect(here.equals(there)).toBe(true);
  for (const path of [dir, `${PROJECT_DIR}/`]) expect(here.includes(path)).toBe(false);
  const version = await ran([join(dir, "here/dist/task-runner"), "version", "--json"]);
  expect(JSON.parse(version.stdout)).toMatchObject({ commit: "unknown" });
}, 60_000);

test("TASK_RUNNER_BIN makes the tests' processes run it, and its roles tell the commit", async () => {
  const before = process.env.TASK_RUNNER_BIN;
  const apps: AppProcess[] = [];
  try {
    process.env.TASK_RUNNER_BIN = binary;
    expect(appCommand()).toEqual([binary]);
    for (const command of ["serve", "work"] as const) {
      const env = { STORE_URL: `sqlite:${join(dir, "roles.db")}` };
      const app = await startApp({ command, env });
      closing.push(() => app.stop());
      apps.push(app);
    }
  } finally {
    if (before === undefined) delete process.env.TASK_RUNNER_BIN;
    else process.env.TASK_RUNNER_BIN = before;
  }
  for (const app of apps) {
    if (process.platform === "linux") expect(readlinkSync(`/proc/${app.pid}/exe`)).toBe(binary);
    const answer = await fetch(`${app.url}/version`);
    expect(await answer.json()).toEqual({ name: "task-runner", version: VERSION, commit });
    expect(app.output()).toContain(`"commit":"${commit}"`);
  }
});

test("files in the folder it is started from neither set anything nor run anything", async () => {
  const folder = join(dir, "untrusted");
  mkdirSync(folder);
  writeFileSync(join(folder, ".env"), "PORT=1234\n");
  writeFileSync(join(folder, "bunfig.toml"), 'preload = ["./preload.ts"]\n');
  writeFileSync(join(folder, "preload.ts"), 'console.log("ran what lay there");\n');
  const { status, stdout, stderr } = await ran([binary, "config", "--json"], {}, folder);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const { settings } = JSON.parse(stdout) as { settings: { name: string; source: string }[] };
  expect(settings.find(({ name }) => name === "PORT")).toMatchObject({ source: "default" });
});

test("a target that is not known is refused with those that are", async () => {
  expect(await build(["--target", "solaris"])).toEqual({
    status: 2,
    stdout: "",
    stderr: `build: solaris cannot be built for; use one of ${TARGETS.join(", ")}\n`,
  });
});

test("a target whose runtime cannot be downloaded is one clear line, and the others are built", async () => {
  const out = join(dir, "targets");
  // One with another machine's processor, so that it must be downloaded; and this one's own.
  const [foreign, own] = process.arch === "arm64" ? ["x64", "arm64"] : ["arm64", "x64"];
  const args = ["--out", out, "--target", `linux-${foreign}`, "--target", `linux-${own}`];
  const deadEnd = "http://127.0.0.1:1";
  const { status, stdout, stderr } = await build(args, {
    HTTPS_PROXY: deadEnd,
    https_proxy: deadEnd,
    BUN_INSTALL_CACHE_DIR: join(dir, "empty-cache"),
  });
  expect(stderr).toMatch(
    new RegExp(
      `^build: linux-${foreign}: Bun's runtime bun-linux-\\S+ could not be downloaded from the npm registry \\(\\w+\\): is there a network\\?\\n$`,
    ),
  );
  expect(status).toBe(1);
  if (process.platform !== "linux") return;
  expect(stdout).toContain(`task-runner-linux-${own}: ${VERSION}`);
  expect(readdirSync(out)).toEqual([`task-runner-linux-${own}`]);
}, 60_000);
