/** The proof of rolling replacement: every API and every worker gives way to a new one, under load, and nobody notices. */

import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";
import { type SentinelCluster, startSentinelCluster } from "../support/redis.ts";
import { wait } from "./failover-faults.ts";
import { seeded } from "./kill-round.ts";
import type { Proof } from "./proof.ts";
import { ReadinessBalancer } from "./rolling-balancer.ts";
import { RollingBooks, type RollingReport } from "./rolling-books.ts";
import { RollingLoad } from "./rolling-load.ts";

/** `surge`: the new one is ready before the old one is told to go. `in-place`: it begins when the old one has gone. */
export type Order = "surge" | "in-place";

export interface RollingOptions {
  readonly seed: number;
  /** SHUTDOWN_DELAY_SEC and SHUTDOWN_GRACE_SEC of all processes. */
  readonly delaySec: number;
  readonly graceSec: number;
  readonly leaseSec: number;
  /** Each replaces every process of these roles, one after another. */
  readonly passes: readonly Order[];
  readonly roles: readonly ("serve" | "work")[];
  readonly writers: number;
  /** How long a delivery takes; `random` is in [0, 1). */
  readonly answerMs: (random: () => number) => number;
  /** Between one replacement and the next. */
  readonly restMs: number;
  readonly replicas: number;
}

export interface RolledReport extends RollingReport {
  readonly replaced: number;
  /** The longest time from SIGTERM to the end of a process. */
  readonly longestStopMs: number;
  /** Processes that ended badly, or logged an error. */
  readonly bad: readonly string[];
  /** Connections that found no server ready, and servers that refused one although they had been ready just now. */
  readonly nowhere: number;
  readonly passedOver: number;
}

const APIS = 2;
const WORKERS = 2;
const CONCURRENCY = 50;
const PASSWORD = "rolling-data";
const SENTINEL_PASSWORD = "rolling-sentinel";
/** What delivery of the rest may take beyond the lease before the round gives up and reports what is missing. */
const GIVE_UP_MS = 30_000;
/** What may take a process beyond its delay and its grace to end. */
const STOP_OVERTIME_MS = 10_000;

/** Runs one round; rejects only when the round itself could not be run. */
export async function rollingRound(options: RollingOptions): Promise<RolledReport> {
  const cluster = await startSentinelCluster({
    replicas: options.replicas,
    password: PASSWORD,
    sentinelPassword: SENTINEL_PASSWORD,
  });
  const fleet = new RollingFleet(cluster, options);
  try {
    return await fleet.run();
  } finally {
    await fleet.close();
    await cluster.stop();
  }
}

class RollingFleet {
  readonly #options: RollingOptions;
  readonly #cluster: SentinelCluster;
  readonly #books = new RollingBooks();
  readonly #random: () => number;
  readonly #target;
  readonly #running = new Set<AppProcess>();
  readonly #bad: string[] = [];
  #balancer: ReadinessBalancer | null = null;
  #load: RollingLoad | null = null;
  #replaced = 0;
  #longestStopMs = 0;

  constructor(cluster: SentinelCluster, options: RollingOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const random = seeded(options.seed);
    this.#random = random;
    this.#target = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: async (request) => {
        this.#books.delivered(request.headers.get("x-task-id") ?? "");
        await request.arrayBuffer();
        await wait(options.answerMs(random));
        return new Response("ok");
      },
    });
  }

  async run(): Promise<RolledReport> {
    const { passes, roles, restMs, writers, leaseSec } = this.#options;
    const balancer = await ReadinessBalancer.start();
    this.#balancer = balancer;
    let apis = await Promise.all(Array.from({ length: APIS }, () => this.#start("serve")));
    let workers = await Promise.all(Array.from({ length: WORKERS }, () => this.#start("work")));
    await Promise.all(apis.map(({ url }) => balancer.add(url)));
    await liftLimits(apis[0]?.url ?? "");
    const load = new RollingLoad({
      port: balancer.port,
      books: this.#books,
      random: this.#random,
      targetUrl: `http://127.0.0.1:${this.#target.port}/`,
      writers,
    });
    this.#load = load;
    await load.start();
    for (const order of passes) {
      if (roles.includes("serve")) apis = await this.#replaceAll(apis, "serve", order, restMs);
      if (roles.includes("work")) workers = await this.#replaceAll(workers, "work", order, restMs);
    }
    await wait(restMs);
    await load.stopWriting();
    const giveUpAt = performance.now() + leaseSec * 1_000 + GIVE_UP_MS;
    while (this.#books.missing().length > 0 && performance.now() < giveUpAt) await wait(50);
    await load.close();
    // What is held by a lease that nobody remembers comes again once it has run out: such a repetition counts too.
    await wait(leaseSec * 1_000 + 1_500);
    const accounts = await load.accounts(this.#books.repeated());
    return {
      ...this.#books.close(accounts),
      replaced: this.#replaced,
      longestStopMs: Math.round(this.#longestStopMs),
      bad: this.#bad,
      nowhere: balancer.nowhere,
      passedOver: balancer.passedOver,
    };
  }

  async close(): Promise<void> {
    await this.#load?.close();
    await Promise.all([...this.#running].map((process) => process.stop()));
    await this.#balancer?.stop();
    await this.#target.stop(true);
  }

  async #replaceAll(
    old: readonly AppProcess[],
    command: "serve" | "work",
    order: Order,
    restMs: number,
  ): Promise<AppProcess[]> {
    const all: AppProcess[] = [];
    for (const process of old) {
      await wait(restMs);
      if (order === "in-place") await this.#retire(process);
      const next = await this.#start(command);
      if (command === "serve") await this.#balancer?.add(next.url);
      if (order === "surge") await this.#retire(process);
      all.push(next);
      this.#replaced++;
    }
    return all;
  }

  async #start(command: "serve" | "work"): Promise<AppProcess> {
    const { delaySec, graceSec, leaseSec } = this.#options;
    const started = await startApp({
      command,
      env: {
        STORE_URL: this.#cluster.url,
        REDIS_SENTINEL_PASSWORD: SENTINEL_PASSWORD,
        ALLOW_PRIVATE_URLS: "true",
        WORKER_CONCURRENCY: String(CONCURRENCY),
        LEASE_SEC: String(leaseSec),
        SHUTDOWN_DELAY_SEC: String(delaySec),
        SHUTDOWN_GRACE_SEC: String(graceSec),
      },
    });
    this.#running.add(started);
    return started;
  }

  /** Tells a process to go, and waits until it has. */
  async #retire(process: AppProcess): Promise<void> {
    const toldAt = performance.now();
    const status = await process.stop();
    this.#longestStopMs = Math.max(this.#longestStopMs, performance.now() - toldAt);
    this.#running.delete(process);
    this.#balancer?.remove(process.url);
    const errors = process
      .output()
      .split("\n")
      .filter((line) => /"level":"(?:error|fatal)"/.test(line));
    if (status !== 0 || errors.length > 0) this.#bad.push(`ended with ${status}: ${errors.join(" ")}`);
  }
}

/** Whether a round went as promised: where `mayRepeat` is false no delivery outlasts the grace. */
export function isGood(report: RolledReport, options: RollingOptions, mayRepeat: boolean): boolean {
  const { failed, lost, unexplained, bad, released, expired, refused } = report;
  const { delaySec, graceSec } = options;
  return (
    failed.length + lost.length + unexplained.length + bad.length === 0 &&
    // Replicas may be late on a busy machine; no server says that it is closing, or refuses to be connected to.
    Object.keys(refused).every((code) => code === "durability_unavailable") &&
    report.unconnected + report.nowhere + report.passedOver === 0 &&
    report.longestStopMs < (delaySec + graceSec) * 1_000 + STOP_OVERTIME_MS &&
    (mayRepeat ? released + expired > 0 : released + expired === 0)
  );
}

function lineOf(name: string, report: RolledReport): string {
  const { failed, bad } = report;
  return (
    `rolling, ${name}: ${report.replaced} processes replaced, ${report.requests} requests, ${report.acknowledged} tasks ` +
    `acknowledged, ${failed.length} failed${failed.length > 0 ? ` (${failed[0]})` : ""}, refused ` +
    `${JSON.stringify(report.refused)}, ${report.unconnected + report.nowhere + report.passedOver} refused connections, ` +
    `${report.lost.length} lost, ${report.released} called again after a release, ${report.expired} after a lease that ran ` +
    `out, ${report.unexplained.length} without a reason; longest request ${report.longestRequestMs} ms, longest stop ` +
    `${report.longestStopMs} ms, ${bad.length} ended badly${bad.length > 0 ? ` (${bad[0]})` : ""}`
  );
}

const SHORT_MS = 300;
const LONG_MS = 4_000;

/** Deliveries are over well within the grace. */
const DRAINED = {
  delaySec: 10,
  graceSec: 25,
  leaseSec: 5,
  passes: ["surge", "in-place"],
  roles: ["serve", "work"],
  writers: 12,
  answerMs: (random: () => number) => random() * SHORT_MS,
  restMs: 1_500,
  replicas: 2,
} satisfies Omit<RollingOptions, "seed">;

/** Some deliveries take longer than the grace. */
const CUT_OFF = {
  ...DRAINED,
  delaySec: 3,
  graceSec: 1,
  passes: ["surge"],
  answerMs: (random: () => number) => (random() < 0.1 ? LONG_MS : random() * SHORT_MS),
} satisfies Omit<RollingOptions, "seed">;

const leg =
  (name: string, leg: Omit<RollingOptions, "seed">, mayRepeat: boolean): Proof =>
  async (_round, seed) => {
    const options = { ...leg, seed };
    const report = await rollingRound(options);
    return { good: isGood(report, options, mayRepeat), line: lineOf(name, report) };
  };

/** By the name that the command line takes. */
export const ROLLING_PROOFS = {
  rolling: [
    leg("deliveries shorter than the grace", DRAINED, false),
    leg("some longer than the grace", CUT_OFF, true),
  ],
} satisfies Readonly<Record<string, readonly Proof[]>>;
