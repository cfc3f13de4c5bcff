/** `bun run bench:start`: how long Task Runner takes from its start until it says that it is ready. */

import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type StandaloneRedis, startRedis } from "../tests/support/redis.ts";
import { appCommand, startListening } from "./app-process.ts";
import { commitHere, compile } from "./build.ts";

const ROUNDS = 10;
/** So long may it take to say that it is ready after it has begun to listen. */
const READY_TIMEOUT_MS = 10_000;

/** Milliseconds from before the process is made until `/health/ready` answers 200. */
async function startMs(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-start-"));
  try {
    const startedMs = performance.now();
    const app = await startListening([...argv, "all"], {
      HOST: "127.0.0.1",
      PORT: "0",
      DATA_DIR: dir,
      ...env,
    });
    try {
      while (!(await fetch(`${app.url}/health/ready`)).ok) {
        if (performance.now() - startedMs > READY_TIMEOUT_MS) throw new Error(`not ready:\n${app.output()}`);
      }
      return performance.now() - startedMs;
    } finally {
      await app.stop();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Waits until a file is on the disk: otherwise the store's first sync would wait for it, and be what is measured. */
function onDisk(path: string): void {
  const file = openSync(path, "r");
  fsyncSync(file);
  closeSync(file);
}

function median(sorted: readonly number[]): number {
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}

const dir = mkdtempSync(join(tmpdir(), "task-runner-compiled-"));
let redis: StandaloneRedis | null = null;
try {
  const compiled = join(dir, "task-runner");
  await compile({ outfile: compiled, commit: await commitHere() });
  onDisk(compiled);
  if (Bun.which("redis-server") !== null) redis = await startRedis();
  else console.log("redis-server is not on this machine: only the embedded store is measured");
  const programs = [
    ["compiled", [compiled]],
    ["from source", appCommand()],
  ] as const;
  const stores: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ["a new file", {}],
    ...(redis === null ? [] : [["Redis", { STORE_URL: redis.url }] as const]),
  ];
  console.log(`start to ready of \`all\`, milliseconds, ${ROUNDS} starts each`);
  for (const [program, argv] of programs) {
    for (const [store, env] of stores) {
      const times: number[] = [];
      // One more, not counted: the first reads the program from the disk.
      for (let round = 0; round <= ROUNDS; round++) {
        const timeMs = await startMs(argv, env);
        if (round > 0) times.push(timeMs);
      }
      times.sort((a, b) => a - b);
      const [median_, least, most] = [median(times), times[0] ?? 0, times.at(-1) ?? 0].map(Math.round);
      console.log(`${program.padEnd(12)} ${store.padEnd(11)} median ${median_} (${least} to ${most})`);
    }
  }
} finally {
  await redis?.stop();
  rmSync(dir, { recursive: true, force: true });
}
