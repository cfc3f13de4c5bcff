/** One round of a failover proof: a cluster under load, a fault, and the books compared afterwards. */

import { inspectAll } from "../../src/core/inspection.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { openExistingRedisStore } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS } from "../conformance/store/harness.ts";
import { type SentinelCluster, startSentinelCluster } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { Books, type RoundReport } from "./failover-books.ts";
import {
  freezePrimary,
  killPrimary,
  restartAll,
  SwitchWatch,
  switchByHand,
  wait,
} from "./failover-faults.ts";
import { ProcessLoad } from "./failover-process-load.ts";
import { type Load, StoreLoad } from "./failover-store-load.ts";
import { seeded } from "./kill-round.ts";

/**
 * `kill`: the primary dies after its replicas stood still; `cut`: and after they were cut off from it. `freeze`: it
 * stands still and comes back. `by-hand`: an operator has it replaced. `restart-all`: all six processes, one after
 * another.
 */
export type Fault = "kill" | "cut" | "freeze" | "by-hand" | "restart-all";
/** Where the load is put: on the store in this process, or on real processes over HTTP. */
export type Level = "store" | "processes";

export interface FailoverOptions {
  readonly fault: Fault;
  readonly level: Level;
  /** Decides when the fault comes. */
  readonly seed: number;
  readonly leaseSec: number;
  /** How long the primary stands still, for `freeze`. */
  readonly frozenMs: number;
}

/** Where the load keeps its tasks: as failover-store-load.ts says, and where processes do that are not told. */
const STORE_PREFIX = "failover";
const PROCESS_PREFIX = "task-runner";
const PASSWORD = "failover-data";
const SENTINEL_PASSWORD = "failover-sentinel";
const MIN_BEFORE_MS = 800;
const MAX_BEFORE_MS = 2_500;
const AFTER_MS = 1_500;
/** What delivery of the rest may take beyond the lease before the round gives up and reports what is missing. */
const GIVE_UP_MS = 15_000;

/** Runs one round; rejects only when the round itself could not be run. */
export async function failoverRound(options: FailoverOptions): Promise<RoundReport> {
  const { fault, seed, leaseSec, frozenMs } = options;
  const random = seeded(seed);
  const cluster = await startSentinelCluster({
    password: PASSWORD,
    sentinelPassword: SENTINEL_PASSWORD,
    config: ["appendonly yes"],
  });
  const books = new Books();
  const load = loadOn(cluster, books, random, options);
  const watch = await SwitchWatch.start(cluster);
  try {
    await load.start();
    await wait(MIN_BEFORE_MS + random() * (MAX_BEFORE_MS - MIN_BEFORE_MS));
    await load.burst();
    if (fault === "kill" || fault === "cut") await killPrimary(cluster, books, fault === "cut");
    else if (fault === "freeze") await freezePrimary(cluster, books, frozenMs);
    else if (fault === "by-hand") await switchByHand(cluster, books);
    else await restartAll(cluster, books);
    await wait(AFTER_MS);
    await load.stopWriting();
    const stoppedAt = performance.now();
    const giveUpAt = stoppedAt + leaseSec * 1_000 + GIVE_UP_MS;
    while (books.missing().length > 0 && performance.now() < giveUpAt) await wait(50);
    const drainedMs = performance.now() - stoppedAt;
    // What is held by a lease that nobody remembers comes again once it has run out: such a repetition counts too.
    await wait(leaseSec * 1_000 + 1_500);
    await load.explain(books);
    for (const what of await brokenIn(cluster, options.level)) {
      books.answered(performance.now(), { kind: "odd", what });
    }
    return books.close(watch.switchedAt, drainedMs);
  } finally {
    watch.stop();
    await load.close();
    await cluster.stop();
  }
}

/** What the failover has broken in the store, a line each: nothing, for a replica has each step whole or not at all. */
async function brokenIn(cluster: SentinelCluster, level: Level): Promise<readonly string[]> {
  const endpoint = { ...parseRedisUrl(cluster.url), sentinelPassword: SENTINEL_PASSWORD };
  const store = await openExistingRedisStore({
    connection: await connect(endpoint),
    keyPrefix: level === "store" ? STORE_PREFIX : PROCESS_PREFIX,
    durability: "primary",
    settings: DEFAULT_SETTINGS,
    clock: systemClock,
  });
  try {
    const { violations } = await inspectAll(store, { limit: 250 });
    return violations.map(({ kind, subject, detail }) => `${kind} at ${subject}: ${detail}`);
  } finally {
    await store.close();
  }
}

function loadOn(
  cluster: SentinelCluster,
  books: Books,
  random: () => number,
  { level, leaseSec }: FailoverOptions,
): Load {
  if (level === "processes") {
    return new ProcessLoad({ books, random, leaseSec, env: storeEnv(cluster) });
  }
  const endpoint = { ...parseRedisUrl(cluster.url), sentinelPassword: SENTINEL_PASSWORD };
  return new StoreLoad({ books, random, leaseMs: leaseSec * 1_000, endpoint });
}

/** The settings that bring a process to the cluster. */
function storeEnv(cluster: SentinelCluster): Record<string, string> {
  return { STORE_URL: cluster.url, REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD };
}
