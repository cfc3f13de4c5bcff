/** The runtimes that the HTTP transport is probed under, and how. */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ProbeRequest, ProbeResult } from "./probe.ts";

const RUN_TIMEOUT_MS = 30_000;

/** A way to run a script. */
export interface Runtime {
  readonly name: string;
  readonly command: readonly string[];
}

/**
 * Bun, and Deno where it is installed: V8 with a young generation that stays small, for one that grows by its own
 * measure hides what a delivery keeps.
 */
export const RUNTIMES: readonly Runtime[] = [
  { name: "Bun", command: [process.execPath] },
  ...(Bun.which("deno") === null
    ? []
    : [
        {
          name: "Deno",
          command: ["deno", "run", "-A", "--no-lock", "--v8-flags=--expose-gc,--max-semi-space-size=1"],
        },
      ]),
];

/** Runs the probe with variables added to the environment, cleared of what would set a proxy or trust. */
export async function probe(
  runtime: Runtime,
  request: ProbeRequest,
  env: Readonly<Record<string, string>> = {},
): Promise<ProbeResult> {
  return JSON.parse(await run(runtime, "probe.ts", [JSON.stringify(request)], env)) as ProbeResult;
}

/** Runs a script of this folder in the same surroundings, and gives what it printed. Rejects unless it ended well. */
export async function run(
  runtime: Runtime,
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const [command = "", ...flags] = runtime.command;
  const { stdout } = await promisify(execFile)(command, [...flags, join(import.meta.dir, script), ...args], {
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", NO_COLOR: "1", ...env },
    timeout: RUN_TIMEOUT_MS,
  });
  return stdout;
}
