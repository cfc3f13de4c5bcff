/** The faults of the failover proofs, done to real processes, and the moment at which Sentinel switches. */

import Redis from "ioredis";
import type { RedisProcess, SentinelCluster } from "../support/redis.ts";

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Hears of `+switch-master` from whichever Sentinel says so first. */
export class SwitchWatch {
  /** On the monotonic clock; null until it happened. */
  switchedAt: number | null = null;
  readonly #clients: Redis[];

  static async start(cluster: SentinelCluster): Promise<SwitchWatch> {
    const watch = new SwitchWatch(cluster);
    await Promise.all(watch.#clients.map((client) => client.subscribe("+switch-master")));
    return watch;
  }

  private constructor(cluster: SentinelCluster) {
    const password = cluster.sentinelPassword;
    this.#clients = cluster.sentinels.map(
      ({ host, port }) => new Redis({ host, port, ...(password === null ? {} : { password }) }),
    );
    for (const client of this.#clients) {
      client.on("message", () => {
        this.switchedAt ??= performance.now();
      });
      // A Sentinel that is being restarted is dialled again.
      client.on("error", () => {});
    }
  }

  stop(): void {
    for (const client of this.#clients) client.disconnect();
  }
}

/** Where a fault tells of itself. */
export interface FaultListener {
  /** From now on nothing may be acknowledged. */
  faultBegins(): void;
  /** From now on the primary does nothing any more. */
  primaryGone(): void;
}

/** How long replicas stand still before the primary is killed. */
const FROZEN_MS = 1_000;
/** The same where they are cut off, longer than a worker waits for them before it goes on without. */
const CUT_MS = 2_500;
const FAILOVER_MS = 15_000;
/** A data server that is restarted stays away for so long: less than Sentinel takes to notice, or more. */
const RESTART_MS = 300;

/**
 * SIGKILL of the primary after its replicas have stood still for a second; they go on at the same moment. With
 * `cut`, what the primary wrote during that second never leaves it, as when a network is torn: otherwise much of it
 * lies in buffers of the kernel, where the replicas find it.
 */
export async function killPrimary(
  cluster: SentinelCluster,
  told: FaultListener,
  cut: boolean,
): Promise<void> {
  const primary = await cluster.primary();
  const replicas = await cluster.replicas();
  await Promise.all(replicas.map((replica) => replica.freeze()));
  told.faultBegins();
  if (cut) await primary.command("CLIENT", "KILL", "TYPE", "replica");
  await wait(cut ? CUT_MS : FROZEN_MS);
  const killed = primary.kill();
  for (const replica of replicas) replica.thaw();
  await killed;
  told.primaryGone();
  await cluster.waitForFailover(primary, FAILOVER_MS);
  await primary.start();
  await cluster.waitUntilHealthy();
}

/** The primary stands still for `frozenMs` and comes back, holding itself for the primary still. */
export async function freezePrimary(
  cluster: SentinelCluster,
  told: FaultListener,
  frozenMs: number,
): Promise<void> {
  const primary = await cluster.primary();
  await primary.freeze();
  told.faultBegins();
  told.primaryGone();
  await wait(frozenMs);
  primary.thaw();
  await cluster.waitUntilHealthy();
}

/** An operator has Sentinel replace a primary that has nothing wrong with it. */
export async function switchByHand(cluster: SentinelCluster, told: FaultListener): Promise<void> {
  const primary = await cluster.primary();
  told.faultBegins();
  await cluster.sentinels[0]?.command("SENTINEL", "FAILOVER", cluster.masterName);
  told.primaryGone();
  await cluster.waitForFailover(primary, FAILOVER_MS);
  await cluster.waitUntilHealthy();
}

/** All six processes, one after another, as an upgrade does it: Sentinels, replicas, the primary last. */
export async function restartAll(cluster: SentinelCluster, told: FaultListener): Promise<void> {
  for (const sentinel of cluster.sentinels) await restarted(cluster, sentinel);
  for (const replica of await cluster.replicas()) await restarted(cluster, replica);
  const primary = await cluster.primary();
  told.faultBegins();
  await primary.terminate();
  told.primaryGone();
  await cluster.waitForFailover(primary, FAILOVER_MS);
  await primary.start();
  await cluster.waitUntilHealthy();
}

async function restarted(cluster: SentinelCluster, server: RedisProcess): Promise<void> {
  await server.terminate();
  await wait(RESTART_MS);
  await server.start();
  await cluster.waitUntilHealthy();
}
