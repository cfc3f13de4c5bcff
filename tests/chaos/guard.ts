/** Takes down whatever a chaos run has put up, however the run ends: a process that waits for that end. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkNames } from "./network.ts";

/** A file of this name in the run's directory keeps the directory, less what was mounted there. */
const KEEP = "keep";
const CLEAR_UP_MS = 60_000;

/**
 * Its standard input ends when the run does, by SIGKILL too. Every process of a run has its working directory below
 * the run's own, which is how those are found that nobody knows any more.
 */
const SCRIPT = `
cat >/dev/null
for proc in /proc/[0-9]*; do
  case "$(readlink "$proc/cwd" 2>/dev/null)/" in "$DIR"/*) kill -9 "\${proc#/proc/}" 2>/dev/null ;; esac
done
for space in $(ip netns list 2>/dev/null | cut -d ' ' -f 1); do
  case "$space" in "$PREFIX"*) ip netns del "$space" ;; esac
done
ip link del "$BRIDGE" 2>/dev/null
for mounted in $(cut -d ' ' -f 2 /proc/mounts); do
  case "$mounted" in "$DIR"/*) umount -l "$mounted" ;; esac
done
if [ -e "$DIR/${KEEP}" ]; then exit 0; fi
rm -rf "$DIR"
`;

export class Guard {
  /** The run's directory. */
  readonly dir: string;
  readonly #child: ChildProcess;

  static async start(): Promise<Guard> {
    const dir = join(tmpdir(), `task-runner-chaos-${process.pid}-${Date.now().toString(36)}`);
    await mkdir(dir);
    const { prefix, bridge } = networkNames(process.pid);
    const child = spawn("/bin/sh", ["-c", SCRIPT], {
      // A session of its own: a Ctrl-C in the terminal is not meant for it.
      detached: true,
      cwd: "/",
      env: { PATH: process.env.PATH ?? "", DIR: dir, PREFIX: prefix, BRIDGE: bridge },
      stdio: ["pipe", "ignore", "inherit"],
    });
    await once(child, "spawn");
    return new Guard(dir, child);
  }

  private constructor(dir: string, child: ChildProcess) {
    this.dir = dir;
    this.#child = child;
  }

  /** What the directory holds is needed after the run. */
  async keep(): Promise<void> {
    await writeFile(join(this.dir, KEEP), "");
  }

  /** Has everything taken down, and resolves when it is. */
  async end(): Promise<void> {
    const exited = once(this.#child, "exit", { signal: AbortSignal.timeout(CLEAR_UP_MS) });
    this.#child.stdin?.end();
    await exited;
  }
}
