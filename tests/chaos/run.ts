/** One chaos run from beginning to end: processes up, load on, faults done, everything drained and written down. */

import { seeded } from "../soak/kill-round.ts";
import { until } from "../support/redis.ts";
import { everythingListed, told, unfinished } from "./ending.ts";
import type { History } from "./history.ts";
import { Load } from "./load.ts";
import { canDo, Nemesis, type Round, roundsOf } from "./nemesis.ts";
import { wait } from "./shell.ts";
import { storeProblems } from "./store-walk.ts";
import { LEASE_SEC, World } from "./world.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** Tasks a second, those of the ordering keys and the batches beside. */
  readonly perSec: number;
  /**
   * Replicas that must have a task before it is acknowledged. With one of two, a failover that nobody planned, of a
   * machine with too much to do, may rightly lose what the other replica had not got yet; with both none may.
   */
  readonly acks: 1 | 2;
  /** These rounds, or as many as there is time for. Rounds that the machine cannot do are left out. */
  readonly faults: { readonly rounds: readonly Round[] } | { readonly forMs: number };
  /** Told of each step. */
  readonly tell: (line: string) => void;
}

export interface ChaosRun {
  readonly history: History;
  /** Where what is kept of a run lies, once {@link keep} was called. */
  readonly dir: string;
  readonly whyNotIsolated: string | null;
  readonly longestAnswerMs: number;
  /** Keeps the run's directory, with the logs of all processes, after {@link close}. */
  keep(): Promise<void>;
  close(): Promise<void>;
}

const SETTLE_MS = 2_000;
/** From the end of the load until everything must have ended: the longest waits for retries are a few seconds. */
const DRAIN_MS = 120_000;

/** Runs it; rejects only when the run itself could not be made. What it returns is to be closed. */
export async function chaosRun({ seed, perSec, acks, faults, tell }: ChaosOptions): Promise<ChaosRun> {
  const random = seeded(seed);
  const world = await World.open(acks);
  try {
    const { target, apis, redis } = world;
    if (world.whyNotIsolated !== null) tell(`on loopback, without partitions: ${world.whyNotIsolated}`);
    if (!world.movesClocks) tell("without moved clocks: libfaketime is not installed");
    const load = new Load({ apis, target, random: seeded(seed + 1), perSec });
    const nemesis = new Nemesis(world, load, random, tell);
    const beganMs = Date.now();
    await load.start();
    await wait(SETTLE_MS);
    if ("rounds" in faults) {
      for (const round of faults.rounds) {
        if (canDo(world, round)) await nemesis.do(round);
      }
    } else {
      const rounds = roundsOf(world, random);
      while (Date.now() - beganMs < faults.forMs) await nemesis.do(rounds.next().value);
    }
    await load.stop();
    tell(`${load.acknowledged.length} tasks acknowledged; waiting for the last of them`);
    const [api] = apis;
    if (api === undefined) throw new Error("there is no API");
    // Where it does not drain the checks tell what is missing.
    await until("everything has ended", DRAIN_MS, async () => (await unfinished(api)) === 0).catch(() => {});
    const endedMs = Date.now();
    const history: History = {
      seed,
      leaseMs: LEASE_SEC * 1_000,
      beganMs,
      endedMs,
      acknowledged: load.acknowledged,
      unknown: load.unknown,
      limited: load.limited,
      odd: load.odd,
      calls: target.calls,
      faults: nemesis.records,
      switchedMs: await redis.switchedMs(),
      listed: await everythingListed(api),
      told: await told(api),
      broken: await storeProblems(() => redis.primary()),
    };
    return {
      history,
      dir: world.guard.dir,
      whyNotIsolated: world.whyNotIsolated,
      longestAnswerMs: Math.round(load.longestAnswerMs),
      keep: () => world.guard.keep(),
      close: () => world.close(),
    };
  } catch (thrown) {
    await world.guard.keep();
    await world.close();
    throw new Error(`the run could not be made; its logs are in ${world.guard.dir}`, { cause: thrown });
  }
}
