/** All processes of a chaos run: three APIs, three workers, a primary with two replicas, three Sentinels and a target. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { appCommand } from "../../scripts/app-process.ts";
import { freePorts } from "../support/redis/ports.ts";
import { Guard } from "./guard.ts";
import {
  fakeTimeLibrary,
  type Network,
  openLoopback,
  openNamespaces,
  type Place,
  whyNotIsolated,
} from "./network.ts";
import { Program } from "./program.ts";
import { RedisPart, redisSentinel, redisServer, type Spot } from "./redis-part.ts";
import { Target } from "./target.ts";

export const LEASE_SEC = 3;
const EACH = [1, 2, 3] as const;
const HEALTHY_MS = 120_000;
const PORTS = { redis: 6379, sentinel: 26_379, api: 8080, worker: 8082 } as const;
type Role = keyof typeof PORTS;
/** The processes whose clock can be moved. */
const MOVABLE = ["api3", "worker3"];

export class World {
  readonly guard: Guard;
  readonly network: Network;
  /** Why the machine gives no namespaces; null when it does. */
  readonly whyNotIsolated: string | null;
  readonly redis: RedisPart;
  readonly apis: readonly Program[];
  readonly workers: readonly Program[];
  readonly target: Target;
  /** Whether clocks can be moved. */
  readonly movesClocks: boolean;

  /** Starts everything and resolves once tasks can be taken and delivered; so many replicas confirm each. */
  static async open(acks: number): Promise<World> {
    const guard = await Guard.start();
    try {
      const why = await whyNotIsolated();
      const roles = Object.keys(PORTS) as Role[];
      const names = roles.flatMap((role) => EACH.map((nth) => `${role}${nth}`));
      const network = why === null ? await openNamespaces(names) : openLoopback(names);
      const spots = await spotsOf(network);
      const redis = await startRedis(guard.dir, spots, why === null);
      const library = fakeTimeLibrary();
      const programs = await Promise.all(
        (["worker", "api"] as const).flatMap((role) =>
          of(spots, role).map((spot) =>
            taskRunner(guard.dir, role, spot, { storeUrl: redis.url, acks }, library),
          ),
        ),
      );
      const target = await Target.start(network.hub, guard.dir);
      // Some at a time: all of them at once would make each other late on a small machine.
      for (const program of programs) await program.start();
      return new World(guard, network, why, redis, programs, target, library !== null);
    } catch (thrown) {
      await guard.keep();
      await guard.end();
      throw new Error(`the processes could not be started; their logs are in ${guard.dir}`, {
        cause: thrown,
      });
    }
  }

  private constructor(
    guard: Guard,
    network: Network,
    why: string | null,
    redis: RedisPart,
    programs: readonly Program[],
    target: Target,
    movesClocks: boolean,
  ) {
    this.guard = guard;
    this.network = network;
    this.whyNotIsolated = why;
    this.redis = redis;
    this.workers = programs.filter(({ name }) => name.startsWith("worker"));
    this.apis = programs.filter(({ name }) => name.startsWith("api"));
    this.target = target;
    this.movesClocks = movesClocks;
  }

  /** From now on the process' clock is so far ahead; only for {@link movable} ones. */
  async moveClock(program: Program, aheadSec: number): Promise<void> {
    await writeFile(clockFile(program.dir), clockText(aheadSec));
  }

  movable(program: Program): boolean {
    return this.movesClocks && MOVABLE.includes(program.name);
  }

  /** Takes everything down. */
  async close(): Promise<void> {
    this.target.stop();
    await this.guard.end();
  }
}

async function spotsOf(network: Network): Promise<ReadonlyMap<string, Spot>> {
  const free = network.isolated ? [] : await freePorts(network.places.size);
  return new Map(
    [...network.places.values()].map((place, index) => [
      place.name,
      { place, port: free[index] ?? PORTS[roleOf(place)] },
    ]),
  );
}

function roleOf({ name }: Place): Role {
  return name.slice(0, -1) as Role;
}

function of(spots: ReadonlyMap<string, Spot>, role: Role): Spot[] {
  return EACH.flatMap((nth) => spots.get(`${role}${nth}`) ?? []);
}

async function startRedis(
  root: string,
  spots: ReadonlyMap<string, Spot>,
  ownDisks: boolean,
): Promise<RedisPart> {
  const [primary, ...replicas] = of(spots, "redis");
  if (primary === undefined) throw new Error("there is no place for a primary");
  const servers = await Promise.all(
    [primary, ...replicas].map((spot) => redisServer(root, spot, primary, ownDisks)),
  );
  const places = of(spots, "sentinel");
  const sentinels = await Promise.all(
    places.map((spot) => redisSentinel(root, spot, primary, places.length)),
  );
  for (const each of [...servers, ...sentinels]) await each.start();
  const redis = new RedisPart(servers, sentinels);
  await redis.healthy(HEALTHY_MS);
  return redis;
}

async function taskRunner(
  root: string,
  role: "api" | "worker",
  { place, port }: Spot,
  { storeUrl, acks }: { readonly storeUrl: string; readonly acks: number },
  library: string | null,
): Promise<Program> {
  const dir = join(root, place.name);
  await mkdir(dir);
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? "",
    HOME: process.env.HOME ?? "/",
    HOST: place.host,
    PORT: String(port),
    STORE_URL: storeUrl,
    REDIS_MIN_REPLICA_ACKS: String(acks),
    ALLOW_PRIVATE_URLS: "true",
    LEASE_SEC: String(LEASE_SEC),
    // A target that was out of reach is tried again soon, so that what is measured is the queue.
    CB_TIMEOUT_SEC: "1",
    WORKER_CONCURRENCY: "40",
    SHUTDOWN_GRACE_SEC: "3",
    LOG_LEVEL: "warn",
  };
  if (library !== null && MOVABLE.includes(place.name)) {
    await writeFile(clockFile(dir), clockText(0));
    Object.assign(env, {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: clockFile(dir),
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    });
  }
  const argv = [...appCommand(), role === "api" ? "serve" : "work"];
  const ready = async ({ host }: Program) => {
    const answer = await fetch(`http://${host}:${port}/health/ready`, { signal: AbortSignal.timeout(1_000) });
    if (answer.status !== 200) throw new Error(`it answers ${answer.status}: ${await answer.text()}`);
  };
  return new Program({ place, port, dir, argv, env, ready });
}

function clockFile(dir: string): string {
  return join(dir, "clock");
}

function clockText(aheadSec: number): string {
  return `${aheadSec < 0 ? "" : "+"}${aheadSec}\n`;
}
