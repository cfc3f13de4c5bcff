/** One real redis-server or redis-sentinel process of a test: started, frozen, killed and ended by its pid. */

import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import Redis from "ioredis";
import { until } from "./until.ts";

const START_MS = 10_000;
const EXIT_MS = 5_000;
const FREEZE_MS = 1_000;
const COMMAND_MS = 1_000;

/** The Debian package that each program comes in. */
const PACKAGES = { "redis-server": "redis-server", "redis-sentinel": "redis-sentinel" } as const;
export type Program = keyof typeof PACKAGES;

export interface ProcessOptions {
  readonly program: Program;
  /** Its working directory, holding its configuration file. */
  readonly dir: string;
  readonly port: number;
  readonly password: string | null;
  /** Whether it speaks TLS, and nothing else. */
  readonly tls?: boolean;
  /** Commands to send whenever it has started. */
  readonly onStarted?: readonly (readonly [string, ...(string | number)[]])[];
}

/** The port was taken between being found free and being listened on. */
export class PortTakenError extends Error {}

/** What still runs ends with the test process, whichever way that ends short of SIGKILL. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class RedisProcess {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #options: ProcessOptions;
  #child: ChildProcess | null = null;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.port = options.port;
  }

  get address(): string {
    return `${this.host}:${this.port}`;
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Throws when it does not run. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#options.program} on port ${this.port} does not run`);
    return pid;
  }

  /**
   * Starts it and resolves once it answers a PING, be it with LOADING. `extra` are configuration directives
   * for this one run, e.g. `["--key-load-delay", "1000"]`.
   */
  async start(extra: readonly string[] = []): Promise<void> {
    await this.launch(extra);
    await until(`${this.#options.program} on port ${this.port} answers`, START_MS, async () => {
      if (this.#child === null) throw await this.#whyEnded();
      return this.command("PING").catch((error: Error) => error.message.startsWith("LOADING") && "LOADING");
    }).catch(async (error: unknown) => {
      throw this.#child === null ? await this.#whyEnded() : error;
    });
    for (const command of this.#options.onStarted ?? []) await this.command(...command);
  }

  /** Starts it without waiting for an answer. */
  async launch(extra: readonly string[] = []): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.#options.program} on port ${this.port} runs already`);
    const { program, dir } = this.#options;
    const child = spawn(program, [join(dir, "redis.conf"), ...extra], { cwd: dir, stdio: "ignore" });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error: NodeJS.ErrnoException) => {
        reject(error.code === "ENOENT" ? missing(program) : error);
      });
    });
    this.#child = child;
    running.add(child);
    child.once("exit", () => {
      running.delete(child);
      if (this.#child === child) this.#child = null;
    });
  }

  /** As a crash does it: SIGKILL. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** As an operator does it: SIGTERM, upon which it shuts down in order. */
  terminate(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** SIGSTOP: its sockets stay open and nothing is answered. Resolves when it really stands still. */
  async freeze(): Promise<void> {
    const pid = this.pid;
    process.kill(pid, "SIGSTOP");
    await until(`process ${pid} stands still`, FREEZE_MS, async () =>
      /\) T/.test(await readFile(`/proc/${pid}/stat`, "utf8")),
    );
  }

  /** SIGCONT. */
  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** Ends it by SIGTERM if it runs, and starts it again on the same port, data and configuration. */
  async restart(extra: readonly string[] = []): Promise<void> {
    if (this.running) await this.terminate();
    await this.start(extra);
  }

  /** One command on a connection of its own, e.g. `command("CONFIG", "SET", "maxmemory", 0)`. */
  async command(name: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({
      host: this.host,
      port: this.port,
      ...(this.#options.password === null ? {} : { password: this.#options.password }),
      // Whose certificate it is does not matter here: some tests start a server with a wrong one.
      ...(this.#options.tls === true ? { tls: { rejectUnauthorized: false } } : {}),
      lazyConnect: true,
      connectTimeout: COMMAND_MS,
      commandTimeout: COMMAND_MS,
      retryStrategy: () => null,
      enableReadyCheck: false,
      disableClientInfo: true,
    });
    let reason: Error | null = null;
    client.on("error", (error) => {
      reason ??= error;
    });
    try {
      return await client.call(name, ...args);
    } catch (error) {
      throw reason ?? error;
    } finally {
      if (client.status !== "end") client.disconnect();
    }
  }

  /** A section of INFO as a map. */
  async info(section: string): Promise<ReadonlyMap<string, string>> {
    return infoFields(String(await this.command("INFO", section)));
  }

  /** What it logged, for a test that failed. */
  log(): Promise<string> {
    return readFile(join(this.#options.dir, "redis.log"), "utf8").catch(() => "(no log)");
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    // A process that stands still, or hangs, does not hear a SIGTERM.
    const timer = setTimeout(() => child.kill("SIGKILL"), EXIT_MS);
    await exited;
    clearTimeout(timer);
  }

  async #whyEnded(): Promise<Error> {
    const log = await this.log();
    const tail = log.trimEnd().split("\n").slice(-5).join("\n");
    const message = `${this.#options.program} on port ${this.port} ended at once:\n${tail}`;
    return /Address already in use/i.test(log) ? new PortTakenError(message) : new Error(message);
  }
}

function missing(program: Program): Error {
  const packages = Object.values(PACKAGES).join(" ");
  return new Error(
    `${program} is not installed; on Debian it is in the package ${PACKAGES[program]}: apt-get install ${packages}`,
  );
}

/** The `name:value` lines of an INFO reply. */
function infoFields(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
