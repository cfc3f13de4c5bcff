/** The primary, replicas and Sentinels of a chaos run: their configuration, and how they stand. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Redis from "ioredis";
import { until } from "../support/redis.ts";
import type { Place } from "./network.ts";
import { OUTPUT, Program } from "./program.ts";
import { run } from "./shell.ts";

export const MASTER_NAME = "mymaster";
const COMMAND_MS = 1_000;
/** A server that has nothing wrong with it answers within this time, however busy the machine. */
const ANSWERS_MS = 30_000;
const REDIS_MB = 512;
/** A primary that is silent for so long is replaced. */
const DOWN_AFTER_MS = 1_500;
const FAILOVER_MS = 5_000;
/** Sentinels look oftener than they are used to, so that a round of faults takes seconds; what they decide stays. */
const BRISK = "SENTINEL DEBUG info-period 1000 publish-period 500 ping-period 250 tilt-period 1000".split(
  " ",
);

/** As Redis logs it: `123:X 22 Nov 2030 23:57:55.123 # +switch-master …`, in the time zone it is started with, which is UTC. */
const SWITCHED = /^\d+:X (\d+ \w+ \d+ [\d:.]+) # \+switch-master /gm;

export interface Spot {
  readonly place: Place;
  readonly port: number;
}

/** One command on a connection of its own. */
export async function ask(program: Program, ...command: readonly (string | number)[]): Promise<unknown> {
  const client = new Redis({
    host: program.host,
    port: program.port,
    lazyConnect: true,
    connectTimeout: COMMAND_MS,
    commandTimeout: COMMAND_MS,
    retryStrategy: () => null,
    enableReadyCheck: false,
    disableClientInfo: true,
  });
  client.on("error", () => {});
  const [name = "", ...args] = command;
  try {
    return await client.call(String(name), ...args);
  } finally {
    client.disconnect();
  }
}

/** The same, tried again while it is not answered. */
export function insist(program: Program, ...command: readonly (string | number)[]): Promise<string> {
  const what = `${program.name} answers ${command.join(" ")}`;
  return until(what, ANSWERS_MS, async () => String(await ask(program, ...command)));
}

/** Where a server in `dir` keeps its data: apart from its log, so that this outlives the disk. */
export function diskOf(dir: string): string {
  return join(dir, "disk");
}

/** A data server with its data in a directory that is a small disk of its own where the machine allows it. */
export async function redisServer(
  root: string,
  spot: Spot,
  primary: Spot,
  ownDisk: boolean,
): Promise<Program> {
  const dir = join(root, spot.place.name);
  const disk = diskOf(dir);
  await mkdir(disk, { recursive: true });
  if (ownDisk) await run("mount", "-t", "tmpfs", "-o", `size=${REDIS_MB}m`, "chaos", disk);
  const lines = [
    `port ${spot.port}`,
    `bind ${[...new Set([spot.place.host, "127.0.0.1"])].join(" ")}`,
    "protected-mode no",
    `dir ${disk}`,
    'save ""',
    "appendonly yes",
    "appendfsync everysec",
    "maxmemory-policy noeviction",
    "enable-debug-command yes",
    "repl-diskless-sync-delay 0",
    `replica-announce-ip ${spot.place.host}`,
    ...(spot === primary ? [] : [`replicaof ${primary.place.host} ${primary.port}`]),
  ];
  return redisProgram("redis-server", dir, spot, lines, async (server) => {
    const told = await ask(server, "PING").catch((error: Error) => error.message);
    if (told !== "PONG" && !String(told).startsWith("LOADING")) throw new Error(String(told));
  });
}

export async function redisSentinel(
  root: string,
  spot: Spot,
  primary: Spot,
  sentinels: number,
): Promise<Program> {
  const dir = join(root, spot.place.name);
  await mkdir(dir);
  const lines = [
    `port ${spot.port}`,
    `bind ${[...new Set([spot.place.host, "127.0.0.1"])].join(" ")}`,
    "protected-mode no",
    `dir ${dir}`,
    `sentinel announce-ip ${spot.place.host}`,
    `sentinel monitor ${MASTER_NAME} ${primary.place.host} ${primary.port} ${Math.floor(sentinels / 2) + 1}`,
    `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${MASTER_NAME} ${FAILOVER_MS}`,
    `sentinel parallel-syncs ${MASTER_NAME} 2`,
  ];
  return redisProgram("redis-sentinel", dir, spot, lines, (sentinel) => ask(sentinel, ...BRISK));
}

async function redisProgram(
  program: string,
  dir: string,
  { place, port }: Spot,
  lines: readonly string[],
  ready: (program: Program) => Promise<unknown>,
): Promise<Program> {
  const conf = join(dir, "redis.conf");
  await writeFile(conf, `${lines.join("\n")}\n`);
  const env = { PATH: process.env.PATH ?? "", TZ: "UTC" };
  return new Program({ place, port, dir, argv: [program, conf], env, ready });
}

/** The data servers and Sentinels of one run. */
export class RedisPart {
  readonly servers: readonly Program[];
  readonly sentinels: readonly Program[];

  constructor(servers: readonly Program[], sentinels: readonly Program[]) {
    this.servers = servers;
    this.sentinels = sentinels;
  }

  /** What STORE_URL takes. */
  get url(): string {
    const addresses = this.sentinels.map(({ host, port }) => `${host}:${port}`);
    return `redis+sentinel://${addresses.join(",")}/${MASTER_NAME}`;
  }

  /** The server that takes writes and that most replicas follow. */
  primary(): Promise<Program> {
    return until("one of the Redis servers is the primary", ANSWERS_MS, () => this.#primary());
  }

  async #primary(): Promise<Program> {
    const views = await Promise.all(
      this.servers.map(async (server) => ({ server, ...(await viewOf(server)) })),
    );
    const [first] = views
      .filter(({ role }) => role === "master")
      .sort((one, other) => other.replicas - one.replicas);
    if (first === undefined) throw new Error("no server is a primary");
    return first.server;
  }

  /** Resolves when all run, the replicas are in step and all Sentinels agree. */
  async healthy(withinMs: number): Promise<void> {
    await until("the Redis servers are in step and their Sentinels agree", withinMs, async () => {
      const primary = await this.#primary();
      await Promise.all(this.servers.map((server) => checkServer(server, primary, this.servers.length - 1)));
      await Promise.all(this.sentinels.map((sentinel) => this.#checkSentinel(sentinel, primary)));
      return true;
    });
  }

  /** When a Sentinel put another primary in place, as their logs have it. */
  async switchedMs(): Promise<number[]> {
    const logs = await Promise.all(this.sentinels.map(({ dir }) => readFile(join(dir, OUTPUT), "utf8")));
    return logs.flatMap((log) => [...log.matchAll(SWITCHED)].map(([, at]) => Date.parse(`${at}Z`)));
  }

  async #checkSentinel(sentinel: Program, primary: Program): Promise<void> {
    const master = pairs(await ask(sentinel, "SENTINEL", "MASTER", MASTER_NAME));
    const replicas = ((await ask(sentinel, "SENTINEL", "REPLICAS", MASTER_NAME)) as unknown[]).map(pairs);
    const others = ((await ask(sentinel, "SENTINEL", "SENTINELS", MASTER_NAME)) as unknown[]).map(pairs);
    const agrees =
      master.get("flags") === "master" &&
      master.get("ip") === primary.host &&
      master.get("port") === String(primary.port) &&
      others.length === this.sentinels.length - 1 &&
      others.every((each) => each.get("flags") === "sentinel") &&
      replicas.length === this.servers.length - 1 &&
      replicas.every((each) => each.get("flags") === "slave" && each.get("master-link-status") === "ok");
    if (!agrees) throw new Error(`${sentinel.name} does not agree yet`);
  }
}

async function viewOf(server: Program): Promise<{ role: string; replicas: number }> {
  const info = await replicationOf(server).catch(() => new Map<string, string>());
  return { role: info.get("role") ?? "", replicas: Number(info.get("connected_slaves") ?? 0) };
}

async function checkServer(server: Program, primary: Program, replicas: number): Promise<void> {
  const info = await replicationOf(server);
  const inStep =
    server === primary
      ? info.get("connected_slaves") === String(replicas)
      : info.get("master_link_status") === "up" &&
        info.get("master_host") === primary.host &&
        info.get("master_port") === String(primary.port);
  if (!inStep) throw new Error(`${server.name} is not in step`);
}

async function replicationOf(server: Program): Promise<ReadonlyMap<string, string>> {
  const fields = new Map<string, string>();
  for (const line of String(await ask(server, "INFO", "replication")).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/** A flat list of names and values as a map. */
function pairs(flat: unknown): ReadonlyMap<string, string> {
  const list = flat as string[];
  return new Map(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? ""] as const] : [])));
}
