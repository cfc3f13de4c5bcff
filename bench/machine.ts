/** What the figures were taken on: without it they mean nothing. */

import { open, readFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { PROJECT_DIR } from "../scripts/app-process.ts";
import type { Room } from "./room.ts";
import { median } from "./statistics.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly bun: string;
  /** Short hash, with `+` where files differ from it; `unknown` outside a repository. */
  readonly commit: string;
  /** Writing and syncing 4 KiB where the stores of the bench lie, in microseconds: the floor of every durable step. */
  readonly fsyncUs: number;
  /** Versions of the other programs and libraries that are measured, or measured with, by their names. */
  readonly others: Readonly<Record<string, string>>;
}

/** The products that are put beside ours, and what they and ours run on. */
const LIBRARIES = { BullMQ: "bullmq", bunqueue: "bunqueue", Elysia: "elysia", ioredis: "ioredis" } as const;
const SYNCS = 50;
const PAGE_BYTES = 4_096;

export async function describeMachine(room: Room): Promise<Machine> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    bun: Bun.version,
    commit: commit(),
    fsyncUs: await fsyncUs(join(room.dir, "fsync")),
    others: await versions(),
  };
}

async function versions(): Promise<Record<string, string>> {
  const found: Record<string, string> = { Redis: redisVersion() };
  for (const [name, library] of Object.entries(LIBRARIES)) {
    const text = await readFile(join(PROJECT_DIR, "node_modules", library, "package.json"), "utf8");
    found[name] = JSON.parse(text).version;
  }
  return found;
}

function redisVersion(): string {
  if (Bun.which("redis-server") === null) return "(not installed)";
  const { stdout } = Bun.spawnSync(["redis-server", "--version"], { stdin: "ignore", stderr: "ignore" });
  return / v=(\S+)/.exec(stdout.toString())?.[1] ?? "(of an unknown version)";
}

function commit(): string {
  const hash = git("rev-parse", "--short", "HEAD");
  if (hash === null) return "unknown";
  return git("status", "--porcelain") === "" ? hash : `${hash}+`;
}

function git(...args: string[]): string | null {
  if (Bun.which("git") === null) return null;
  const result = Bun.spawnSync(["git", ...args], { cwd: PROJECT_DIR, stdin: "ignore", stderr: "ignore" });
  return result.success ? result.stdout.toString().trim() : null;
}

async function fsyncUs(path: string): Promise<number> {
  const file = await open(path, "w");
  const page = new Uint8Array(PAGE_BYTES);
  const took: number[] = [];
  for (let i = 0; i < SYNCS; i++) {
    const startMs = performance.now();
    await file.write(page);
    await file.datasync();
    took.push((performance.now() - startMs) * 1_000);
  }
  await file.close();
  return Math.round(median(took));
}
