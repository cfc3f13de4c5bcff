/** The proofs for tasks running at once: counted where they arrive, while workers are killed and started again. */

import type { AppProcess } from "../../scripts/app-process.ts";
import { until } from "../support/redis.ts";
import { wait } from "./failover-faults.ts";
import { seeded } from "./kill-round.ts";
import { type Api, Fleet } from "./limits-fleet.ts";
import { CountingTarget } from "./limits-target.ts";
import { RunningWatch } from "./limits-watch.ts";

/** The tier `premium`. */
export const PREMIUM_AT_ONCE = 20;
const CLIENT = "premium-client";
const WORKERS = 3;
/** Of each worker: any one of them alone could use up what the client may. */
const CONCURRENCY = 20;
/** A delivery takes this long, at least and at most; longer where kills are to meet it under way. */
const MIN_ANSWER_MS = 10;
const MAX_ANSWER_MS = 60;
const MAX_SLOW_ANSWER_MS = 200;
/** What is given for each task before the proof gives up: several times what it takes. */
const MS_A_TASK = 50;
const GIVE_UP_MS = 30_000;

export interface RunningReport {
  /** The most requests under way at the target before the first kill, and after it. */
  readonly peakBefore: number;
  readonly peakAfter: number;
  /** The most that the API said were running. */
  readonly peakTold: number;
  readonly tasks: number;
  readonly kills: number;
  /** Requests that the killed workers had under way. */
  readonly cutOff: number;
  /** From the kill of two until all slots were taken again; null where others were killed. */
  readonly slotsBackMs: number | null;
  readonly undelivered: number;
  /** Tasks delivered more often than once. */
  readonly repeated: number;
  /** Times at which running, by the client, and the tasks that have a lease were found to agree. */
  readonly agreed: number;
  /** Each time they did not come to agree, and what they were. */
  readonly disagreed: readonly string[];
  /** What the API said was running when everything was delivered and settled. */
  readonly runningAtEnd: number;
  readonly tookMs: number;
}

export interface RunningOptions {
  readonly tasks: number;
  readonly leaseSec: number;
  readonly seed: number;
  /** Two workers are killed once, or one after another is for so long, and another takes its place. */
  readonly killing: "two" | { readonly forMs: number };
}

interface Run {
  readonly api: Api;
  readonly fleet: Fleet;
  readonly target: CountingTarget;
  readonly workers: readonly AppProcess[];
  readonly watch: RunningWatch;
  readonly leaseSec: number;
  cutOff: number;
  slotsBackMs: number | null;
}

/** Runs one proof on Redis; rejects only when it could not be run. */
export async function runningProof({
  tasks,
  leaseSec,
  seed,
  killing,
}: RunningOptions): Promise<RunningReport> {
  const random = seeded(seed);
  const longestMs = killing === "two" ? MAX_ANSWER_MS : MAX_SLOW_ANSWER_MS;
  const target = new CountingTarget(() => MIN_ANSWER_MS + random() * (longestMs - MIN_ANSWER_MS));
  const fleet = await Fleet.open("redis", { LEASE_SEC: String(leaseSec) });
  try {
    const [api] = await fleet.serve(1);
    if (api === undefined) throw new Error("there is no API");
    await api.setClient(CLIENT, { tier: "premium", overrides: { requests_per_minute: null } });
    const workers = await fleet.work(WORKERS, CONCURRENCY);
    const watch = new RunningWatch(api, CLIENT);
    const run: Run = { api, fleet, target, workers, watch, leaseSec, cutOff: 0, slotsBackMs: null };
    const beganAt = performance.now();
    const ids = await api.fill(tasks, () => ({ client_id: CLIENT, task: { url: target.urlOf(CLIENT) } }));
    const limitMs = GIVE_UP_MS + tasks * MS_A_TASK;
    await target.until("a third is delivered", limitMs, () => target.arrivals.length >= tasks / 3);
    const peakBefore = target.peak;
    target.forgetPeak();
    const kills = killing === "two" ? await killTwo(run) : await killForAWhile(run, killing.forMs, random);
    const missing = () => missingOf(ids, target);
    await until("all is delivered", limitMs, () => missing() === 0).catch(() => {});
    const tookMs = performance.now() - beganAt;
    await until("nothing runs", GIVE_UP_MS, async () => (await api.client(CLIENT)).running === 0).catch(
      () => {},
    );
    await watch.stop();
    return {
      peakBefore,
      peakAfter: target.peak,
      peakTold: watch.peak,
      tasks,
      kills,
      cutOff: target.lost,
      slotsBackMs: run.slotsBackMs === null ? null : Math.round(run.slotsBackMs),
      undelivered: missing(),
      repeated: target.arrivals.length - new Set(target.arrivals.map(({ taskId }) => taskId)).size,
      agreed: watch.agreed,
      disagreed: watch.disagreed,
      runningAtEnd: (await api.client(CLIENT)).running,
      tookMs: Math.round(tookMs),
    };
  } finally {
    await fleet.close();
    await target.stop();
  }
}

function missingOf(ids: readonly string[], target: CountingTarget): number {
  const seen = new Set(target.arrivals.map(({ taskId }) => taskId));
  return ids.filter((id) => !seen.has(id)).length;
}

/** Two workers die with all that is running under way; resolves when the third has taken all of their slots. */
async function killTwo(run: Run): Promise<number> {
  const { api, fleet, target, workers, leaseSec } = run;
  target.hold();
  try {
    await target.until("all slots are taken", GIVE_UP_MS, () => target.inFlight >= PREMIUM_AT_ONCE);
    const held = await leasesByPid(api);
    const most = [...workers].sort((a, b) => (held.get(b.pid) ?? 0) - (held.get(a.pid) ?? 0));
    const doomed = most.slice(0, 2);
    run.cutOff = doomed.reduce((sum, { pid }) => sum + (held.get(pid) ?? 0), 0);
    await Promise.all(doomed.map((worker) => fleet.kill(worker)));
    const killedAt = performance.now();
    await target.until("their requests are over", GIVE_UP_MS, () => target.lost === run.cutOff);
    const leftMs = leaseSec * 1_000 + GIVE_UP_MS;
    await target.until("all slots are taken again", leftMs, () => target.inFlight >= PREMIUM_AT_ONCE);
    run.slotsBackMs = performance.now() - killedAt;
    return doomed.length;
  } finally {
    target.release();
  }
}

/** How many tasks each worker has; its process's id stands in its name. */
async function leasesByPid(api: Api): Promise<ReadonlyMap<number, number>> {
  const held = new Map<number, number>();
  for (const { lease } of await api.list<{ lease: { worker: string } | null }>("state=running")) {
    const pid = Number(/-(\d+)-[0-9a-f]{8}$/.exec(lease?.worker ?? "")?.[1]);
    held.set(pid, (held.get(pid) ?? 0) + 1);
  }
  return held;
}

/** Kills one worker after another, none of which stays away for long; all are back in the end. */
async function killForAWhile(
  { api, fleet, workers, watch }: Run,
  forMs: number,
  random: () => number,
): Promise<number> {
  const alive = [...workers];
  const endAt = performance.now() + forMs;
  let kills = 0;
  while (performance.now() < endAt) {
    await wait(500 + random() * 2_500);
    // The one with the most to lose, more often than not.
    const held = await leasesByPid(api);
    alive.sort((a, b) => (held.get(b.pid) ?? 0) - (held.get(a.pid) ?? 0));
    const [doomed] = alive.splice(random() < 0.6 ? 0 : Math.floor(random() * alive.length), 1);
    if (doomed === undefined) throw new Error("there is no worker to kill");
    await fleet.kill(doomed);
    kills++;
    await watch.agree();
    alive.push(...(await fleet.work(1, CONCURRENCY)));
  }
  return kills;
}
