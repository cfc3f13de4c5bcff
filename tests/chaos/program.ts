/** One real process of a chaos run: started at its place, and killed, frozen, ended and started again. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../support/redis.ts";
import type { Place } from "./network.ts";

export interface ProgramOptions {
  readonly place: Place;
  readonly port: number;
  /** Its working directory, where its output goes too. */
  readonly dir: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Resolves, with whatever, when it can be used; rejects while it cannot. */
  readonly ready: (program: Program) => Promise<unknown>;
}

/** The file in its directory that its output goes to. */
export const OUTPUT = "output.log";
/** On a machine that has other things to do too. */
const START_MS = 30_000;
const STANDS_STILL_MS = 2_000;
/** After SIGTERM; a process that was given a grace needs that and some. */
const END_MS = 15_000;

export class Program {
  readonly place: Place;
  readonly port: number;
  readonly dir: string;
  readonly #options: ProgramOptions;
  #child: ChildProcess | null = null;
  #frozen = false;

  constructor(options: ProgramOptions) {
    this.place = options.place;
    this.port = options.port;
    this.dir = options.dir;
    this.#options = options;
  }

  get name(): string {
    return this.place.name;
  }

  get host(): string {
    return this.place.host;
  }

  get running(): boolean {
    return this.#child !== null;
  }

  /** Starts it and resolves once it is ready. */
  async start(): Promise<void> {
    await this.launch();
    const { ended } = await until(`${this.name} is ready`, START_MS, async () => {
      if (this.#child === null) return { ended: true };
      await this.#options.ready(this);
      return { ended: false };
    });
    if (ended) throw new Error(`${this.name} ended at once: ${join(this.dir, OUTPUT)} says why`);
  }

  /** Starts it without waiting for more than the process. */
  async launch(): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.name} runs already`);
    const { place, argv, env, dir } = this.#options;
    const [command = "", ...args] = [...place.through, ...argv];
    const output = openSync(join(dir, OUTPUT), "a");
    try {
      const child = spawn(command, args, { cwd: dir, env: { ...env }, stdio: ["ignore", output, output] });
      child.once("exit", () => {
        if (this.#child === child) this.#child = null;
      });
      await once(child, "spawn");
      this.#child = child;
    } finally {
      closeSync(output);
    }
  }

  /** As a crash does it. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** As an operator does it. */
  terminate(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** SIGSTOP: its sockets stay open and nothing is answered. Resolves when it really stands still. */
  async freeze(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    process.kill(pid, "SIGSTOP");
    this.#frozen = true;
    await until(`${this.name} stands still`, STANDS_STILL_MS, async () =>
      /\) T/.test(await readFile(`/proc/${pid}/stat`, "utf8")),
    );
  }

  thaw(): void {
    if (this.#frozen && this.#child?.pid !== undefined) process.kill(this.#child.pid, "SIGCONT");
    this.#frozen = false;
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    // A process that stands still, or hangs, does not hear a SIGTERM.
    const timer = setTimeout(() => child.kill("SIGKILL"), END_MS);
    await exited;
    clearTimeout(timer);
    this.#frozen = false;
  }
}
