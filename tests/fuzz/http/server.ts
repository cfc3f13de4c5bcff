/** A server under fuzz: the program as a real process, all it writes looked through for secrets, its memory and files counted. */

import { rmSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appCommand, inheritedEnv, PROJECT_DIR, portOf } from "../../../scripts/app-process.ts";

const START_MS = 30_000;
const STOP_MS = 20_000;
/** Lines kept to explain a failure. */
const KEPT = 60;

/** What a process holds. */
export interface Held {
  readonly rssBytes: number;
  readonly files: number;
}

export interface FuzzedServer {
  readonly pid: number;
  readonly port: number;
  /** Lines that held a secret, with the secret taken out. */
  readonly leaks: readonly string[];
  /** Lines of the levels error and fatal, and the first that is no JSON. */
  readonly alarms: readonly string[];
  /** From now on no line may hold this text. */
  watchFor(secret: string): void;
  holds(): Promise<Held>;
  /** The latest lines. */
  lines(): string;
  /** Ends it by SIGTERM; resolves with its exit status. */
  stop(): Promise<number>;
}

/** What still runs ends with this process, and takes its directory along. */
const running = new Map<ReturnType<typeof Bun.spawn>, string>();
process.on("exit", () => {
  for (const [child, dir] of running) {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
});

/** Starts a role in a directory of its own and resolves once it listens. */
export async function startServer(
  env: Readonly<Record<string, string>>,
  role: "serve" | "all" = "serve",
): Promise<FuzzedServer> {
  const dir = await mkdtemp(join(tmpdir(), "fuzz-http-"));
  const child = Bun.spawn([...appCommand(), role], {
    cwd: PROJECT_DIR,
    env: { ...inheritedEnv(), HOST: "127.0.0.1", PORT: "0", LOG_LEVEL: "debug", DATA_DIR: dir, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.set(child, dir);
  const kept: string[] = [];
  const leaks: string[] = [];
  const alarms: string[] = [];
  const secrets = new Set<string>();
  let strayed = false;
  const listening = Promise.withResolvers<number>();
  const look = (line: string) => {
    kept.push(line);
    if (kept.length > KEPT) kept.shift();
    const isStray = !line.startsWith("{") && !strayed;
    strayed ||= isStray;
    if (isStray || /"level":"(?:error|fatal)"/.test(line)) alarms.push(line);
    for (const secret of secrets) if (line.includes(secret)) leaks.push(line.replaceAll(secret, "(secret)"));
    const port = portOf(line);
    if (port !== null) listening.resolve(port);
  };
  const reading = Promise.all([eachLine(child.stdout, look), eachLine(child.stderr, look)]);
  const timer = setTimeout(
    () => listening.reject(new Error(`it did not listen:\n${kept.join("\n")}`)),
    START_MS,
  );
  child.exited.then((status) => listening.reject(new Error(`it ended with ${status}:\n${kept.join("\n")}`)));
  const port = await listening.promise.finally(() => clearTimeout(timer));
  return {
    pid: child.pid,
    port,
    leaks,
    alarms,
    watchFor: (secret) => void secrets.add(secret),
    holds: () => heldBy(child.pid),
    lines: () => kept.join("\n"),
    stop: async () => {
      child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      const status = await child.exited.finally(() => clearTimeout(killer));
      await reading;
      running.delete(child);
      await rm(dir, { recursive: true, force: true });
      return status;
    },
  };
}

/** What a process of this machine holds now, as /proc tells. */
async function heldBy(pid: number): Promise<Held> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const files = await readdir(`/proc/${pid}/fd`);
  return { rssBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024, files: files.length };
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
