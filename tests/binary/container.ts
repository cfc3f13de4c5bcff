/** An image as a container runtime would run it: its own root, read-only, its user, its environment, process 1 of its own. */

import { chownSync, cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type AppProcess, startListening } from "../../scripts/app-process.ts";

const LONGEST_RUN_MS = 20_000;

/** What an image says of how it is to be run, as Docker writes it. */
export interface ImageConfig {
  readonly User: string;
  readonly WorkingDir: string;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[] | null;
  readonly Env: readonly string[];
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly Volumes: Readonly<Record<string, object>>;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck: { readonly Test: readonly string[]; readonly Timeout: number };
  readonly StopSignal?: string;
}

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerOptions {
  /** Arguments behind the entry point. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A folder of this machine in place of the image's volume; without it nothing at all can be written. */
  readonly volume?: string;
}

/** Why no container can be run on this machine; null where one can. */
export function whyNoContainers(): string | null {
  if (process.platform !== "linux") return "they are of Linux";
  const missing = ["buildah", "unshare", "mount", "tar"].find((command) => Bun.which(command) === null);
  if (missing !== undefined) return `${missing} is not on this machine`;
  return process.getuid?.() === 0 ? null : "only root may mount what a container sees";
}

/** An image, unpacked from the archive that `docker load` takes. */
export class Image {
  readonly config: ImageConfig;
  /** Every file and folder in it with its mode and owner, as tar tells them, sorted by path. */
  readonly entries: readonly string[];
  readonly #root: string;

  private constructor(config: ImageConfig, entries: readonly string[], root: string) {
    this.config = config;
    this.entries = entries;
    this.#root = root;
  }

  /** Unpacks an archive into a folder that is empty yet. */
  static async of(archive: string, folder: string): Promise<Image> {
    const [parts, root] = [join(folder, "parts"), join(folder, "root")];
    for (const made of [parts, root]) mkdirSync(made, { recursive: true });
    await tar("-xf", archive, "-C", parts);
    const [manifest] = JSON.parse(readFileSync(join(parts, "manifest.json"), "utf8")) as {
      Config: string;
      Layers: string[];
    }[];
    if (manifest === undefined) throw new Error("the archive holds no image");
    const { config } = JSON.parse(readFileSync(join(parts, manifest.Config), "utf8")) as {
      config: ImageConfig;
    };
    const entries: string[] = [];
    for (const layer of manifest.Layers) {
      const listed = await tar("-tvf", join(parts, layer), "--numeric-owner");
      for (const line of listed.trim().split("\n")) {
        const [mode, owner, , , , path] = line.split(/\s+/);
        entries.push(`${path} ${mode} ${owner}`);
      }
      await tar("-xpf", join(parts, layer), "--numeric-owner", "-C", root);
    }
    // What a runtime makes in every container, so that it can put its own there.
    for (const place of ["proc", "dev"]) mkdirSync(join(root, place), { recursive: true });
    for (const file of ["etc/hosts", "etc/resolv.conf"]) writeFileSync(join(root, file), "");
    return new Image(config, entries.sort(), root);
  }

  /** A folder for the volume, filled and owned as a runtime does it: from what the image holds there. */
  newVolume(folder: string): string {
    const [from = "/"] = Object.keys(this.config.Volumes);
    cpSync(join(this.#root, from), folder, { recursive: true });
    const { uid, gid } = statSync(join(this.#root, from));
    chownSync(folder, uid, gid);
    return folder;
  }

  /** Starts a role and resolves once it listens; stopping it signals its process 1, as a runtime does. */
  async start(options: ContainerOptions): Promise<AppProcess> {
    const { args = [] } = options;
    const app = await startListening(this.#argv([...this.config.Entrypoint, ...args], options), {});
    return {
      ...app,
      stop: async () => {
        process.kill(innerPid(app.pid), (this.config.StopSignal ?? "SIGTERM") as NodeJS.Signals);
        const killer = setTimeout(() => process.kill(app.pid, "SIGKILL"), LONGEST_RUN_MS);
        return await app.exited.finally(() => clearTimeout(killer));
      },
    };
  }

  /** Runs any program of the image to its end. */
  async ran(argv: readonly string[], options: ContainerOptions = {}): Promise<Ended> {
    return await ran(this.#argv(argv, options));
  }

  /** Runs the image's own check of its health. */
  async checkHealth(options: ContainerOptions): Promise<Ended> {
    const [kind, ...argv] = this.config.Healthcheck.Test;
    if (kind !== "CMD") throw new Error(`a check by ${kind} needs more than is in the image`);
    return await this.ran(argv, options);
  }

  /** What this machine runs so that `argv` runs inside: nothing of its environment comes in, only its network. */
  #argv(argv: readonly string[], { env = {}, volume }: ContainerOptions): string[] {
    const { User, WorkingDir, Env } = this.config;
    const [uid = "", gid = uid] = User.split(":");
    const volumes = Object.keys(this.config.Volumes);
    const steps = [
      "set -e",
      "root=$1 unshare=$2 volume=$3 place=$4 && shift 4",
      'mount --bind "$root" "$root"',
      'mount -o remount,bind,ro "$root"',
      'mount -t proc proc "$root/proc"',
      'mount --rbind /dev "$root/dev"',
      'for file in /etc/hosts /etc/resolv.conf; do mount --bind "$file" "$root$file"; done',
      'if [ -n "$volume" ]; then mount --bind "$volume" "$root$place"; fi',
      'exec env -i "$@"',
    ];
    const unshare = Bun.which("unshare") ?? "unshare";
    return [
      // Two, for what changes its user no longer dies with its parent: but it does with the space that it is in.
      ...[unshare, "--pid", "--fork", "--kill-child"],
      ...[unshare, "--mount", "--pid", "--fork"],
      ...["sh", "-c", steps.join("\n"), "sh"],
      ...[this.#root, unshare, volume ?? "", volumes[0] ?? ""],
      ...Env,
      ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
      ...[unshare, "--root", this.#root, "--wd", WorkingDir, "--setgid", gid, "--setuid", uid],
      ...argv,
    ];
  }
}

/** Process 1 of a container that was started, by its id on this machine. */
export function innerPid(pid: number): number {
  return childOf(childOf(pid));
}

function childOf(pid: number): number {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
  if (!Number.isSafeInteger(child) || child === 0) throw new Error(`process ${pid} has not one child`);
  return child;
}

/** Runs a program of this machine to its end. */
export async function ran(argv: readonly string[], timeoutMs = LONGEST_RUN_MS): Promise<Ended> {
  const child = Bun.spawn([...argv], {
    cwd: dirname(import.meta.dir),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { status, stdout, stderr };
}

async function tar(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await ran(["tar", ...args]);
  if (status !== 0) throw new Error(`tar ${args.join(" ")} ended with status ${status}: ${stderr}`);
  return stdout;
}
