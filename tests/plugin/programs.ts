/** The program from source and as one compiled file, for tests that a plugin works, or fails, the same with both. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, inheritedEnv, PROJECT_DIR, startListening } from "../../scripts/app-process.ts";
import { compile } from "../../scripts/build.ts";

const LONGEST_RUN_MS = 20_000;

/** A way to run Task Runner. */
export interface Program {
  readonly name: "from source" | "compiled";
  readonly argv: readonly string[];
}

/** Both programs, and a folder for what a test writes; `dispose` removes them. */
export interface Workshop {
  readonly dir: string;
  readonly programs: readonly Program[];
  dispose(): void;
}

/** Compiles the program as a release is compiled: one file that runs without this repository. */
export async function openWorkshop(): Promise<Workshop> {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-plugins-"));
  const binary = join(dir, "task-runner");
  await compile({ outfile: binary, commit: "unknown" });
  return {
    dir,
    programs: [
      { name: "from source", argv: [process.execPath, "--no-env-file", join(PROJECT_DIR, "src/main.ts")] },
      { name: "compiled", argv: [binary] },
    ],
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Bundles a plugin into one file, as docs/plugins.md says. */
export async function bundle(entry: string, outfile: string, external = true): Promise<string> {
  const without = external ? ["--external", "task-runner/plugin"] : [];
  await bun(["build", entry, "--target=bun", ...without, "--outfile", outfile]);
  return outfile;
}

async function bun(args: readonly string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: PROJECT_DIR,
    env: inheritedEnv(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: LONGEST_RUN_MS,
  });
  const [status, stderr] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (status !== 0) throw new Error(`bun ${args.join(" ")} ended with status ${status}: ${stderr}`);
}

/** What a program wrote, and how it ended. */
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end in a folder. */
export async function ran(
  program: Program,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = Bun.spawn([...program.argv, ...args], {
    cwd,
    env: {
      ...inheritedEnv(),
      HOST: "127.0.0.1",
      PORT: "0",
      STORE_URL: "sqlite::memory:",
      NO_COLOR: "1",
      ...env,
    },
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

/** Starts a role and resolves once it listens. */
export function started(
  program: Program,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<AppProcess> {
  const settings = { HOST: "127.0.0.1", PORT: "0", STORE_URL: "sqlite::memory:", LOG_LEVEL: "info" };
  return startListening([...program.argv, ...args], { ...settings, ...env });
}
