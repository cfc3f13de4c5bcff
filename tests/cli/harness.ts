/** Runs commands in this process, keeping what they write, and the program itself as a process of its own. */

import { appCommand } from "../../scripts/app-process.ts";
import { openExistingStore } from "../../src/app/existing-store.ts";
import { readyPlugins } from "../../src/app/plugins.ts";
import { REDIS_GRAMMAR } from "../../src/app/redis-store.ts";
import type { CliHost } from "../../src/cli/host.ts";
import { runCli } from "../../src/cli/program.ts";
import { type Env, type LoadedConfig, loadConfig, type Role } from "../../src/config.ts";
import { runtimeName, systemClock } from "../../src/runtime.ts";

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Env;
  readonly stdin?: string;
  /** Whether a terminal is at the other end. */
  readonly terminal?: boolean;
  readonly run?: (role: Role, loaded: LoadedConfig) => Promise<number>;
}

/** Runs one command; a role is not started but handed to `run`. */
export async function command(args: readonly string[], options: CommandOptions = {}): Promise<Ran> {
  const written = { stdout: "", stderr: "" };
  const output = (name: keyof typeof written) => ({
    isTTY: options.terminal ?? false,
    write: (text: string) => {
      written[name] += text;
    },
  });
  const env = options.env ?? {};
  const host: CliHost = {
    env,
    loadConfig: (overrides) => loadConfig(env, REDIS_GRAMMAR, overrides),
    readyPlugins: (loaded) => readyPlugins(loaded, systemClock),
    stdout: output("stdout"),
    stderr: output("stderr"),
    clock: systemClock,
    runtime: runtimeName(),
    readStdin: async () => new TextEncoder().encode(options.stdin ?? ""),
    openStore: (config) => openExistingStore(config, systemClock),
    run: options.run ?? (() => Promise.reject(new Error("no role was to be run"))),
  };
  const status = await runCli(args, host);
  return { status, ...written };
}

/** Longer than any start or stop here takes; a process that hangs fails its test and is gone. */
const LONGEST_RUN_MS = 20_000;

/** A started program whose output is read as it comes. */
export interface Program {
  readonly pid: number;
  readonly exited: Promise<number>;
  /** Resolves with the first line of stdout that `wanted` accepts; rejects when the program ends without one. */
  line(wanted: (line: string) => boolean): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  /** All it wrote; to be read once it has ended. */
  output(): Promise<{ readonly stdout: string; readonly stderr: string }>;
}

/** Starts the program; `preload` is a module that the runtime loads before it. */
export function program(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  preload?: string,
): Program {
  // Not as an argument, for a compiled program would take it as one of its own.
  const options = preload === undefined ? {} : { BUN_OPTIONS: `--preload ${preload}` };
  const child = Bun.spawn([...appCommand(), ...args], {
    env: { PATH: process.env.PATH ?? "", HOST: "127.0.0.1", ...options, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: LONGEST_RUN_MS,
    killSignal: "SIGKILL",
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const stderr = new Response(child.stderr).text();
  let over = false;
  const reading = (async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of child.stdout) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      lines.push(...parts);
      for (const look of waiting) look();
    }
    if (rest !== "") lines.push(rest);
    over = true;
    for (const look of waiting) look();
  })();
  return {
    pid: child.pid,
    exited: child.exited,
    kill: (signal) => child.kill(signal),
    output: async () => {
      await reading;
      return { stdout: lines.map((line) => `${line}\n`).join(""), stderr: await stderr };
    },
    line: (wanted) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.find(wanted);
          if (found === undefined && !over) return;
          waiting.delete(look);
          if (found !== undefined) resolve(found);
          else
            stderr.then(
              (text) => reject(new Error(`it ended without that line:\n${lines.join("\n")}\n${text}`)),
              reject,
            );
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Runs the program to its end. */
export async function ranProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const started = program(args, env);
  const status = await started.exited;
  return { status, ...(await started.output()) };
}

/** A role that runs as a process on a free port. */
export interface RunningRole extends Program {
  readonly url: string;
  readonly port: number;
}

export async function startRole(
  role: Role,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningRole> {
  const started = program([role], {
    PORT: "0",
    STORE_URL: "sqlite::memory:",
    ALLOW_PRIVATE_URLS: "true",
    ...env,
  });
  const { url, port } = JSON.parse(await started.line((line) => line.includes("is listening on")));
  return { ...started, url, port };
}
