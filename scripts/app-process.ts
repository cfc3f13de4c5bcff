/** Runs Task Runner as a real process on a free port, for the demo, the smoke runs, the bench and their tests. */

import { join, resolve } from "node:path";

export const PROJECT_DIR = join(import.meta.dir, "..");

/** How long a process may take until it says which port it listens on. */
const START_TIMEOUT_MS = 15_000;
/** How long a process may take to end after SIGTERM before it is killed. */
const STOP_TIMEOUT_MS = 30_000;
/** Lines of output kept to explain a failure. */
const KEPT_LINES = 40;

export interface AppOptions {
  /** What runs src/main.ts; by default Bun, or nothing where TASK_RUNNER_BIN names a compiled program. */
  readonly runtime?: readonly string[];
  readonly command: "all" | "serve" | "work";
  /** Settings in force; nothing but PATH, HOME and the like comes from the caller's own environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface AppProcess {
  readonly pid: number;
  readonly port: number;
  /** Base of its API, without a slash at the end. */
  readonly url: string;
  /** Resolves with the exit status once it has ended. */
  readonly exited: Promise<number>;
  /** The latest lines it printed, oldest first. */
  output(): string;
  /** Sends SIGTERM and resolves with the exit status; kills a process that does not end. */
  stop(): Promise<number>;
}

/** Settings that a process needs from whoever starts it, whatever runs it. */
export function inheritedEnv(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR", "DENO_DIR", "BUN_INSTALL_CACHE_DIR"];
  return Object.fromEntries(names.flatMap((name) => pair(name, process.env[name])));
}

function pair(name: string, value: string | undefined): [string, string][] {
  return value === undefined ? [] : [[name, value]];
}

/**
 * What is run, before its own arguments: the compiled program that TASK_RUNNER_BIN names (relative to the project's
 * folder), or else src/main.ts on this Bun.
 */
export function appCommand(): readonly string[] {
  const compiled = process.env.TASK_RUNNER_BIN ?? "";
  if (compiled !== "") return [resolve(PROJECT_DIR, compiled)];
  return [process.execPath, "--no-env-file", join(PROJECT_DIR, "src/main.ts")];
}

/** Starts the app on 127.0.0.1 and resolves once it listens; rejects with its output when it does not come up. */
export function startApp({ runtime, command, env }: AppOptions): Promise<AppProcess> {
  const argv = [...(runtime === undefined ? appCommand() : [...runtime, "src/main.ts"]), command];
  return startListening(argv, { HOST: "127.0.0.1", PORT: "0", LOG_LEVEL: "info", ...env });
}

/** Runs whatever comes to the app in the end, in the project's folder, and resolves once it listens. */
export async function startListening(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<AppProcess> {
  const what = argv.join(" ");
  const child = Bun.spawn([...argv], {
    cwd: PROJECT_DIR,
    env: { ...inheritedEnv(), ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  };
  const listening = Promise.withResolvers<number>();
  const readers = Promise.all([
    eachLine(child.stdout, (line) => {
      keep(line);
      const port = portOf(line);
      if (port !== null) listening.resolve(port);
    }),
    eachLine(child.stderr, keep),
  ]);
  const died = child.exited.then(async (status) => {
    await readers;
    throw new Error(`${what} ended with status ${status} before it listened:\n${lines.join("\n")}`);
  });
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    listening.reject(new Error(`${what} did not listen in time:\n${lines.join("\n")}`));
  }, START_TIMEOUT_MS);
  const port = await Promise.race([listening.promise, died]).finally(() => clearTimeout(timer));
  // It has served its purpose; the end of the process is no error from here on.
  died.catch(() => {});
  return {
    pid: child.pid,
    port,
    url: `http://127.0.0.1:${port}`,
    exited: child.exited,
    output: () => lines.join("\n"),
    stop: async () => {
      child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      const status = await child.exited.finally(() => clearTimeout(killer));
      await readers;
      return status;
    },
  };
}

/** The port in a start line of the log; null for every other line. */
export function portOf(line: string): number | null {
  const found = /^\{.*"port":(\d+)[,}]/.exec(line);
  return found === null ? null : Number(found[1]);
}

async function eachLine(stream: ReadableStream<Uint8Array>, visit: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) visit(line);
  }
  if (rest !== "") visit(rest);
}
