/** A single real Redis for a test, on a loopback port of its own. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenLines, type ServerTls } from "./certificates.ts";
import { freePorts } from "./ports.ts";
import { PortTakenError, RedisProcess } from "./process.ts";

const MAX_TRIES = 3;

export interface StartRedisOptions {
  readonly password?: string;
  /** As redis.conf writes it, e.g. `64mb`; what does not fit is refused (noeviction). */
  readonly maxmemory?: string;
  readonly appendonly?: boolean;
  /** It then speaks TLS alone. */
  readonly tls?: ServerTls;
  /** Further lines of redis.conf. */
  readonly config?: readonly string[];
}

export interface StandaloneRedis {
  readonly process: RedisProcess;
  readonly host: string;
  readonly port: number;
  readonly password: string | null;
  /** What STORE_URL takes. */
  readonly url: string;
  /** Kills it and removes its files. */
  stop(): Promise<void>;
}

/** Starts a Redis that keeps nothing on disk unless told, and resolves once it answers. */
export async function startRedis(options: StartRedisOptions = {}): Promise<StandaloneRedis> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === MAX_TRIES) throw error;
    }
  }
}

async function startOnce(options: StartRedisOptions): Promise<StandaloneRedis> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-redis-"));
  const [port = 0] = await freePorts(1);
  const password = options.password ?? null;
  await writeRedisConf(dir, {
    port,
    password,
    tls: options.tls,
    lines: [
      ...(options.maxmemory === undefined ? [] : [`maxmemory ${options.maxmemory}`]),
      ...(options.appendonly === true ? ["appendonly yes"] : []),
      ...(options.config ?? []),
    ],
  });
  const redis = new RedisProcess({
    program: "redis-server",
    dir,
    port,
    password,
    tls: options.tls !== undefined,
  });
  const stop = async () => {
    await redis.kill();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await redis.start();
  } catch (error) {
    await stop();
    throw error;
  }
  const login = password === null ? "" : `:${encodeURIComponent(password)}@`;
  return {
    process: redis,
    host: redis.host,
    port,
    password,
    url: `${options.tls === undefined ? "redis" : "rediss"}://${login}${redis.address}/0`,
    stop,
  };
}

/** Writes `redis.conf` into the directory, which it makes. */
export async function writeRedisConf(
  dir: string,
  {
    port,
    password,
    tls,
    lines,
  }: { port: number; password: string | null; tls?: ServerTls | undefined; lines: readonly string[] },
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const conf = [
    ...listenLines(port, tls),
    // Both families, for a host name may come out as either; the second may be missing.
    "bind 127.0.0.1 -::1",
    "protected-mode no",
    `dir "${dir}"`,
    'logfile "redis.log"',
    'save ""',
    "maxmemory-policy noeviction",
    "enable-debug-command yes",
    ...(password === null ? [] : [`requirepass "${password}"`]),
    ...lines,
  ];
  await writeFile(join(dir, "redis.conf"), `${conf.join("\n")}\n`);
}
