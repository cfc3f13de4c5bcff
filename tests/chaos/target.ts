/** The target process as the run sees it: where it is, every call that is over, and the weather there. */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Call } from "./history.ts";
import type { Weather } from "./target-process.ts";

export class Target {
  readonly calls: Call[] = [];
  /** When each task that was called was first called, by its number. */
  readonly firstCalledMs = new Map<number, number>();
  readonly steady: string;
  readonly flaky: string;
  readonly #child: ChildProcess;

  static async start(host: string, dir: string): Promise<Target> {
    const child = spawn(process.execPath, [join(import.meta.dir, "target-process.ts"), host], {
      cwd: dir,
      env: { PATH: process.env.PATH ?? "" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (child.stdout === null) throw new Error("the target has no output");
    const lines = createInterface({ input: child.stdout });
    const ports = Promise.withResolvers<string>();
    let target: Target | null = null;
    lines.on("line", (line) => {
      if (target === null) ports.resolve(line);
      else target.#over(JSON.parse(line) as Call);
    });
    child.once("exit", (status) => ports.reject(new Error(`the target ended with status ${status}`)));
    const [steady, flaky] = JSON.parse(await ports.promise) as number[];
    target = new Target(child, `http://${host}:${steady}`, `http://${host}:${flaky}`);
    return target;
  }

  private constructor(child: ChildProcess, steady: string, flaky: string) {
    this.#child = child;
    this.steady = steady;
    this.flaky = flaky;
  }

  setWeather(weather: Weather): void {
    this.#child.stdin?.write(`${JSON.stringify(weather)}\n`);
  }

  stop(): void {
    this.#child.stdin?.end();
  }

  #over(call: Call): void {
    this.calls.push(call);
    const first = this.firstCalledMs.get(call.n);
    if (first === undefined || call.arrivedMs < first) this.firstCalledMs.set(call.n, call.arrivedMs);
  }
}
