/** A real primary with replicas under real Sentinels, for tests of failover. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenLines, type ServerTls } from "./certificates.ts";
import { freePorts } from "./ports.ts";
import { PortTakenError, RedisProcess } from "./process.ts";
import { writeRedisConf } from "./standalone.ts";
import { until } from "./until.ts";

const MAX_TRIES = 3;
const READY_MS = 15_000;

/**
 * Sentinels look at their servers every second or half instead of every ten, and wait two seconds instead of
 * eight before they make a replica of a primary that came back. What they decide, and how, stays the same.
 */
const BRISK = [
  "SENTINEL",
  "DEBUG",
  "info-period",
  1_000,
  "publish-period",
  500,
  "ping-period",
  250,
  "tilt-period",
  1_000,
] as const;

export interface SentinelClusterOptions {
  /** 2 unless told. */
  readonly replicas?: number;
  /** 3 unless told; the quorum is more than half of them. */
  readonly sentinels?: number;
  /** Of the data servers; none unless told. */
  readonly password?: string;
  readonly sentinelPassword?: string;
  readonly masterName?: string;
  /** How long a server is silent before a Sentinel takes it for down. */
  readonly downAfterMs?: number;
  readonly failoverTimeoutMs?: number;
  /** Sentinels announce this name instead of 127.0.0.1, as Kubernetes set-ups do. */
  readonly announceHost?: string;
  /** All of them then speak TLS alone, to each other too. */
  readonly tls?: ServerTls;
  /** Further lines for every redis.conf. */
  readonly config?: readonly string[];
}

export interface SentinelCluster {
  readonly masterName: string;
  /** Every data server, the first primary foremost. */
  readonly nodes: readonly RedisProcess[];
  readonly sentinels: readonly RedisProcess[];
  /** What STORE_URL takes: all Sentinels, and the data servers' password. */
  readonly url: string;
  readonly password: string | null;
  readonly sentinelPassword: string | null;
  /** The data server that the Sentinels hold for the primary, going by the newest configuration any of them knows. */
  primary(): Promise<RedisProcess>;
  /** The other data servers, running or not. */
  replicas(): Promise<RedisProcess[]>;
  /** Resolves with the new primary once the Sentinels name another than `from` and it takes writes. */
  waitForFailover(from: RedisProcess, withinMs?: number): Promise<RedisProcess>;
  /** Resolves when every Sentinel has `primary` for its own primary, the one that led the failover too. */
  waitUntilKnown(primary: RedisProcess): Promise<void>;
  /** Resolves when every process runs, replicas are in step and all Sentinels agree and know each other. */
  waitUntilHealthy(): Promise<void>;
  /** Kills everything by pid and removes the files. */
  stop(): Promise<void>;
}

/** Starts the processes and resolves when replication runs and a failover would work. */
export async function startSentinelCluster(options: SentinelClusterOptions = {}): Promise<SentinelCluster> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === MAX_TRIES) throw error;
    }
  }
}

async function startOnce(options: SentinelClusterOptions): Promise<SentinelCluster> {
  const root = await mkdtemp(join(tmpdir(), "task-runner-sentinel-"));
  const nodeCount = 1 + (options.replicas ?? 2);
  const sentinelCount = options.sentinels ?? 3;
  const ports = await freePorts(nodeCount + sentinelCount);
  const nodePorts = ports.slice(0, nodeCount);
  const sentinelPorts = ports.slice(nodeCount);
  const nodes = await Promise.all(
    nodePorts.map((port) => prepareNode(root, options, port, nodePorts[0] ?? 0)),
  );
  const sentinels = await Promise.all(
    sentinelPorts.map((port) => prepareSentinel(root, options, port, nodePorts, sentinelPorts)),
  );
  const cluster = new Cluster(root, options, nodes, sentinels);
  try {
    const [primary, ...replicas] = nodes;
    await primary?.start();
    await Promise.all([...replicas, ...sentinels].map((each) => each.start()));
    await cluster.waitUntilHealthy();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

async function prepareNode(
  root: string,
  { password, announceHost, tls, config }: SentinelClusterOptions,
  port: number,
  primaryPort: number,
): Promise<RedisProcess> {
  const dir = join(root, `redis-${port}`);
  const host = announceHost ?? "127.0.0.1";
  await writeRedisConf(dir, {
    port,
    password: password ?? null,
    tls,
    lines: [
      ...(password === undefined ? [] : [`masterauth "${password}"`]),
      ...(port === primaryPort ? [] : [`replicaof ${host} ${primaryPort}`]),
      ...(announceHost === undefined ? [] : [`replica-announce-ip ${announceHost}`]),
      // Replicas are filled at once instead of after five seconds.
      "repl-diskless-sync-delay 0",
      ...(config ?? []),
    ],
  });
  return new RedisProcess({
    program: "redis-server",
    dir,
    port,
    password: password ?? null,
    tls: tls !== undefined,
  });
}

async function prepareSentinel(
  root: string,
  options: SentinelClusterOptions,
  port: number,
  nodePorts: readonly number[],
  sentinelPorts: readonly number[],
): Promise<RedisProcess> {
  const { password, sentinelPassword, announceHost, tls } = options;
  const dir = join(root, `sentinel-${port}`);
  const name = options.masterName ?? "mymaster";
  const host = announceHost ?? "127.0.0.1";
  const [primaryPort, ...replicaPorts] = nodePorts;
  const quorum = Math.floor(sentinelPorts.length / 2) + 1;
  const lines = [
    ...listenLines(port, tls),
    "bind 127.0.0.1 -::1",
    "protected-mode no",
    `dir "${dir}"`,
    'logfile "redis.log"',
    ...(sentinelPassword === undefined ? [] : [`requirepass "${sentinelPassword}"`]),
    ...(announceHost === undefined
      ? []
      : [
          "sentinel resolve-hostnames yes",
          "sentinel announce-hostnames yes",
          `sentinel announce-ip ${announceHost}`,
        ]),
    `sentinel myid ${sentinelId(port)}`,
    `sentinel monitor ${name} ${host} ${primaryPort} ${quorum}`,
    ...(password === undefined ? [] : [`sentinel auth-pass ${name} "${password}"`]),
    `sentinel down-after-milliseconds ${name} ${options.downAfterMs ?? 1_000}`,
    `sentinel failover-timeout ${name} ${options.failoverTimeoutMs ?? 5_000}`,
    `sentinel parallel-syncs ${name} ${replicaPorts.length}`,
    // Told beforehand, so that they need not find each other, which takes some seconds.
    ...replicaPorts.map((each) => `sentinel known-replica ${name} ${host} ${each}`),
    ...sentinelPorts
      .filter((each) => each !== port)
      .map((each) => `sentinel known-sentinel ${name} ${host} ${each} ${sentinelId(each)}`),
  ];
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "redis.conf"), `${lines.join("\n")}\n`);
  return new RedisProcess({
    program: "redis-sentinel",
    dir,
    port,
    password: sentinelPassword ?? null,
    tls: tls !== undefined,
    onStarted: [BRISK],
  });
}

/** Forty hex digits, different for every port. */
function sentinelId(port: number): string {
  return port.toString(16).padStart(40, "a");
}

class Cluster implements SentinelCluster {
  readonly masterName: string;
  readonly password: string | null;
  readonly sentinelPassword: string | null;
  readonly nodes: readonly RedisProcess[];
  readonly sentinels: readonly RedisProcess[];
  readonly #root: string;
  readonly #scheme: string;

  constructor(
    root: string,
    options: SentinelClusterOptions,
    nodes: readonly RedisProcess[],
    sentinels: readonly RedisProcess[],
  ) {
    this.#root = root;
    this.#scheme = options.tls === undefined ? "redis+sentinel" : "rediss+sentinel";
    this.masterName = options.masterName ?? "mymaster";
    this.password = options.password ?? null;
    this.sentinelPassword = options.sentinelPassword ?? null;
    this.nodes = nodes;
    this.sentinels = sentinels;
  }

  get url(): string {
    const login = this.password === null ? "" : `:${encodeURIComponent(this.password)}@`;
    return `${this.#scheme}://${login}${this.sentinels.map((each) => each.address).join(",")}/${this.masterName}`;
  }

  async primary(): Promise<RedisProcess> {
    const views = await Promise.allSettled(this.sentinels.map((each) => this.#view(each)));
    const known = views.flatMap((view) => (view.status === "fulfilled" ? [view.value] : []));
    const newest = known.sort((a, b) => b.epoch - a.epoch)[0];
    const node = this.nodes.find((each) => each.port === newest?.port);
    if (node === undefined) throw new Error("no Sentinel names a primary");
    return node;
  }

  async replicas(): Promise<RedisProcess[]> {
    const primary = await this.primary();
    return this.nodes.filter((node) => node !== primary);
  }

  waitForFailover(from: RedisProcess, withinMs = 15_000): Promise<RedisProcess> {
    return until(`a primary other than ${from.address}`, withinMs, async () => {
      const primary = await this.primary();
      if (primary === from) return null;
      return (await roleOf(primary)) === "master" ? primary : null;
    });
  }

  async waitUntilKnown(primary: RedisProcess): Promise<void> {
    await until(`every Sentinel has ${primary.address} for the primary`, READY_MS, async () => {
      const masters = await Promise.all(
        this.sentinels.map(async (each) => pairs(await each.command("SENTINEL", "MASTER", this.masterName))),
      );
      return masters.every((master) => master.get("port") === String(primary.port));
    });
  }

  async waitUntilHealthy(): Promise<void> {
    await until("all Sentinels agree on a primary with its replicas in step", READY_MS, async () => {
      const primary = await this.primary();
      await Promise.all(this.nodes.map((node) => this.#checkNode(node, primary)));
      await Promise.all(this.sentinels.map((sentinel) => this.#checkSentinel(sentinel, primary)));
      return true;
    });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.sentinels, ...this.nodes].map((each) => each.kill()));
    await rm(this.#root, { recursive: true, force: true });
  }

  /**
   * What one Sentinel holds for the primary; the address is asked apart, for it is advertised earlier, and last,
   * so that an old one never comes with a new number.
   */
  async #view(sentinel: RedisProcess): Promise<{ port: number; epoch: number }> {
    const state = pairs(await sentinel.command("SENTINEL", "MASTER", this.masterName));
    const address = await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.masterName);
    return { port: Number((address as string[])[1]), epoch: Number(state.get("config-epoch")) };
  }

  async #checkNode(node: RedisProcess, primary: RedisProcess): Promise<void> {
    const info = await node.info("replication");
    const inStep =
      node === primary
        ? info.get("role") === "master" && info.get("connected_slaves") === String(this.nodes.length - 1)
        : info.get("master_link_status") === "up" && info.get("master_port") === String(primary.port);
    if (!inStep) throw new Error(`${node.address} is not in step`);
  }

  async #checkSentinel(sentinel: RedisProcess, primary: RedisProcess): Promise<void> {
    const master = pairs(await sentinel.command("SENTINEL", "MASTER", this.masterName));
    const others = await this.#listed(sentinel, "SENTINELS");
    const replicas = await this.#listed(sentinel, "REPLICAS");
    const ready =
      master.get("flags") === "master" &&
      master.get("port") === String(primary.port) &&
      master.get("num-other-sentinels") === String(this.sentinels.length - 1) &&
      others.length === this.sentinels.length - 1 &&
      others.every((each) => each.get("flags") === "sentinel") &&
      replicas.length === this.nodes.length - 1 &&
      replicas.every((each) => each.get("flags") === "slave" && each.get("master-link-status") === "ok");
    if (!ready) throw new Error(`Sentinel ${sentinel.address} is not ready`);
  }

  async #listed(sentinel: RedisProcess, what: string): Promise<ReadonlyMap<string, string>[]> {
    return ((await sentinel.command("SENTINEL", what, this.masterName)) as unknown[]).map(pairs);
  }
}

async function roleOf(node: RedisProcess): Promise<unknown> {
  return ((await node.command("ROLE")) as unknown[])[0];
}

/** A flat list of names and values as a map. */
function pairs(flat: unknown): ReadonlyMap<string, string> {
  const list = flat as string[];
  return new Map(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? ""] as const] : [])));
}
