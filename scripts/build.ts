/** `bun run build`: compiles the program into single files that run where neither Bun nor any package is. */

import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { VERSION } from "../src/version.ts";
import { PROJECT_DIR } from "./app-process.ts";

/** What can be built for; Bun's own name of each is `bun-` and ours. Baseline is for processors without AVX2. */
export const TARGETS = [
  "linux-x64",
  "linux-arm64",
  "linux-x64-musl",
  "linux-arm64-musl",
  "linux-x64-baseline",
  "linux-x64-musl-baseline",
] as const;
export type Target = (typeof TARGETS)[number];

/** The name of the program, also inside of the file, so that the same sources give the same bytes. */
const PROGRAM = "task-runner";
/** Long enough to download Bun's runtime for another platform over a slow line. */
const COMPILE_TIMEOUT_MS = 300_000;
const MIB = 2 ** 20;

export interface CompileOptions {
  /** The file to write; what is there is replaced in one step, also while it runs. */
  readonly outfile: string;
  readonly commit: string;
  /** This machine's own by default. */
  readonly target?: Target;
}

/** Compiles the program as a release is compiled. Rejects with one line that says why it could not be. */
export async function compile({ outfile, commit, target }: CompileOptions): Promise<void> {
  const folder = join(outfile, "..");
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, ".build-"));
  try {
    const made = join(work, PROGRAM);
    await bunBuild([
      "--compile",
      ...(target === undefined ? [] : [`--target=bun-${target}`]),
      // Not the identifiers too: names of functions are read in stacks and traces.
      "--minify-whitespace",
      "--minify-syntax",
      // Parsed now rather than at every start. It does not go with an await at a module's top.
      "--bytecode",
      "--format=esm",
      // Files that happen to lie where it is started must neither set anything nor run anything.
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      ...defined({
        TASK_RUNNER_COMMIT: commit,
        "process.env.NODE_ENV": "production",
        // Where the packages lay on the machine that built it is nobody's business, and would differ on each.
        __dirname: "/",
        __filename: "/task-runner",
      }),
      join(PROJECT_DIR, "src/main.ts"),
      "--outfile",
      made,
    ]);
    await rename(made, outfile);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function defined(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ["--define", `${name}=${JSON.stringify(value)}`]);
}

async function bunBuild(args: readonly string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, "build", ...args], {
    cwd: PROJECT_DIR,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: COMPILE_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (status === 0) return;
  const missing = /Failed to download '([^']+)': (\w+)/.exec(stderr);
  if (missing !== null) {
    throw new Error(
      `Bun's runtime ${missing[1]} could not be downloaded from the npm registry (${missing[2]}): is there a network?`,
    );
  }
  const how = child.signalCode === null ? `ended with status ${status}` : "took too long";
  throw new Error(`bun build ${how}: ${`${stdout}${stderr}`.trim()}`);
}

/**
 * The commit that is checked out, with `-dirty` behind it when a file that git knows has been changed since;
 * `unknown` outside of a checkout.
 */
export async function commitHere(): Promise<string> {
  // Sources that lie, unpacked, somewhere inside of another project's checkout are not of its commit.
  const known = await git("ls-files", "--error-unmatch", "src/main.ts");
  const commit = known === null ? null : await git("rev-parse", "HEAD");
  if (commit === null) return "unknown";
  const changed = await git("status", "--porcelain", "--untracked-files=no");
  return changed === "" ? commit : `${commit}-dirty`;
}

/** What git prints; null when there is no git, or it knows no commit here. */
async function git(...args: readonly string[]): Promise<string | null> {
  if (Bun.which("git") === null) return null;
  const child = Bun.spawn(["git", ...args], {
    cwd: PROJECT_DIR,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const [status, stdout] = await Promise.all([child.exited, new Response(child.stdout).text()]);
  return status === 0 ? stdout.trim() : null;
}

const USAGE = `Compiles Task Runner into single files.

  bun run build                     dist/task-runner, for this machine
  bun run build --target NAME …     dist/task-runner-NAME, each for another
  bun run build --all               all of them: ${TARGETS.join(", ")}

  --out DIR       write there in place of dist
  --commit SHA    the commit to write into it in place of the one checked out
`;

/** Builds what the arguments ask for and resolves to the exit status: 0, 1 when one could not be built, 2 for wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  const given = readArgs(args);
  if (typeof given === "string") {
    process.stderr.write(`build: ${given}\n`);
    return 2;
  }
  if (given.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const commit = given.commit ?? (await commitHere());
  let status = 0;
  for (const target of given.targets) {
    const outfile = join(given.out, target === undefined ? PROGRAM : `${PROGRAM}-${target}`);
    try {
      await compile({ outfile, commit, ...(target === undefined ? {} : { target }) });
      const mib = ((await stat(outfile)).size / MIB).toFixed(1);
      process.stdout.write(`${relative(process.cwd(), outfile)}: ${VERSION}, commit ${commit}, ${mib} MiB\n`);
    } catch (error) {
      process.stderr.write(`build: ${target ?? "this machine"}: ${(error as Error).message}\n`);
      status = 1;
    }
  }
  return status;
}

interface Given {
  readonly help: boolean;
  readonly out: string;
  readonly commit: string | undefined;
  /** Undefined stands for this machine. */
  readonly targets: readonly (Target | undefined)[];
}

/** The arguments, or what is wrong with them. */
function readArgs(args: readonly string[]): Given | string {
  const options = {
    target: { type: "string", multiple: true },
    all: { type: "boolean", default: false },
    out: { type: "string", default: join(PROJECT_DIR, "dist") },
    commit: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  } as const;
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];
  try {
    ({ values } = parseArgs({ args: [...args], options }));
  } catch (error) {
    return (error as Error).message;
  }
  const names = values.all ? TARGETS : (values.target ?? []);
  const unknown = names.find((name) => !isTarget(name));
  if (unknown !== undefined) return `${unknown} cannot be built for; use one of ${TARGETS.join(", ")}`;
  return {
    help: values.help,
    out: resolve(values.out),
    commit: values.commit,
    targets: names.length === 0 ? [undefined] : names.filter(isTarget),
  };
}

function isTarget(name: string): name is Target {
  return TARGETS.some((target) => target === name);
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
