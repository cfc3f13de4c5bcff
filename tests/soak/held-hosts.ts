/** A dead host with a long line of tasks beside a healthy one, on two workers: who is slowed, and what the dead one gets. */

import { type Api, Fleet, type Place } from "./limits-fleet.ts";
import { CountingTarget } from "./limits-target.ts";
import type { Proof } from "./proof.ts";

export interface HeldHostsOptions {
  readonly place: Place;
  /** Tasks of the dead host. */
  readonly dead: number;
  /** Tasks of the healthy one, each time. */
  readonly well: number;
  /** How long the healthy one takes to answer. */
  readonly answerMs: number;
  readonly timeoutSec: number;
  /** Probes to wait for before the host comes back. */
  readonly probes: number;
}

export interface HeldHostsReport {
  /** Deliveries to the healthy host in a second: alone before, beside the dead one, alone after. */
  readonly perSec: readonly [before: number, beside: number, after: number];
  /** Deliveries that failed until both workers knew. */
  readonly failures: number;
  readonly probes: number;
  /** The least time between two probes; null with fewer than two. */
  readonly tightestMs: number | null;
  /** The most tasks that the statistics told as held back. */
  readonly heldBack: number;
  /** From the host's return until more than the probe had arrived. */
  readonly flowsAfterMs: number;
  /** From its return until its last task was delivered. */
  readonly doneAfterMs: number;
  /** Tasks of the dead host that did not succeed. */
  readonly unsucceeded: number;
  /** Attempts that were charged beyond the deliveries that were made. */
  readonly overcharged: number;
}

interface TaskView {
  readonly state: string;
  readonly attempts: readonly { readonly started_at: string; readonly status: number | null }[];
  readonly counts: { readonly attempts: number };
}

const PATIENCE_MS = 10 * 60_000;
const WORKERS = 2;
const CONCURRENCY = 50;
/** Attempts that begin within this of the first ones belong to finding out. */
const FINDING_OUT_MS = 2_000;
const LOOK_MS = 200;

/** Rejects when something that has to happen does not. */
export async function heldHostsRun(options: HeldHostsOptions): Promise<HeldHostsReport> {
  const { place, dead, well, answerMs, timeoutSec, probes } = options;
  const fleet = await Fleet.open(place, {
    CB_TIMEOUT_SEC: String(timeoutSec),
    MAX_RETRY: "1000",
    STORE_MAX_BYTES: "0",
  });
  const target = new CountingTarget(() => answerMs);
  const gone = refusedUrl();
  let back: Back | null = null;
  try {
    const [api] = await fleet.serve(1);
    if (api === undefined) throw new Error("no API");
    const free = { overrides: { requests_per_minute: null, max_concurrent: null } };
    for (const client of ["well", "dead"]) await api.setClient(client, free);
    await api.setQueue("default", {});
    await fleet.work(WORKERS, CONCURRENCY);
    const deliver = () => wellPerSec(api, target, well);

    // Processes that have just started are slower.
    await wellPerSec(api, target, well);
    await api.change("pause", "default");
    const before = await deliver();
    await api.change("pause", "default");
    await api.fill(dead, () => ({ client_id: "dead", task: { url: gone.url } }));
    const beside = await deliver();
    const heldBack = await metAll(api, gone.url, dead);
    const failed = await probed(api, probes, timeoutSec * 1_000);

    const backAt = performance.now();
    back = gone.comeBack();
    await back.until(2);
    const flowsAfterMs = performance.now() - backAt;
    await back.until(dead);
    const doneAfterMs = performance.now() - backAt;
    await api.change("pause", "default");
    const after = await deliver();

    const tasks = await settled(api, dead);
    const attempts = tasks.reduce((sum, task) => sum + task.counts.attempts, 0);
    return {
      perSec: [before, beside, after],
      failures: failed.finding,
      probes: failed.probesAt.length,
      tightestMs: tightest(failed.probesAt),
      heldBack,
      flowsAfterMs: Math.round(flowsAfterMs),
      doneAfterMs: Math.round(doneAfterMs),
      unsucceeded: dead - tasks.filter(({ state }) => state === "succeeded").length,
      overcharged: attempts - back.arrived - failuresIn(tasks).length,
    };
  } finally {
    await back?.stop();
    await fleet.close();
    await target.stop();
  }
}

/** Hands in the healthy host's tasks in the paused queue, lets it go on, and times it from the first to the last. */
async function wellPerSec(api: Api, target: CountingTarget, count: number): Promise<number> {
  const from = target.arrivals.length;
  await api.fill(count, () => ({ client_id: "well", task: { url: target.urlOf("well") } }));
  await api.change("resume", "default");
  await target.until("all were delivered", PATIENCE_MS, () => target.arrivals.length === from + count);
  const [first, last] = [target.arrivals[from], target.arrivals.at(-1)];
  return Math.round((count / ((last?.at ?? 0) - (first?.at ?? 0))) * 1_000);
}

/** Waits until the statistics tell nearly all tasks of the host as held back; how many. */
async function metAll(api: Api, url: string, count: number): Promise<number> {
  const host = new URL(url).origin;
  for (
    const deadline = performance.now() + PATIENCE_MS;
    performance.now() < deadline;
    await Bun.sleep(LOOK_MS)
  ) {
    const { body } = await api.ask<{ hosts: { host: string; tasks: number }[] }>("GET", "/admin/stats");
    const held = body.hosts.find((one) => one.host === host);
    // Those that failed themselves are tried again later by and by.
    if (held !== undefined && held.tasks >= count * 0.99) return held.tasks;
  }
  throw new Error("the dead host's tasks were not set aside");
}

interface Failed {
  readonly finding: number;
  /** When each probe began, in milliseconds since the epoch, in order. */
  readonly probesAt: readonly number[];
}

/** Waits for so many probes; whoever looks at every task to count them looks but once in a while. */
async function probed(api: Api, count: number, everyMs: number): Promise<Failed> {
  for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline; ) {
    await Bun.sleep(everyMs);
    const at = failuresIn(await api.list<TaskView>("client_id=dead"));
    const first = at[0] ?? 0;
    const probesAt = at.filter((ms) => ms > first + FINDING_OUT_MS);
    if (probesAt.length >= count) return { finding: at.length - probesAt.length, probesAt };
  }
  throw new Error("the dead host was not probed");
}

/** When each failed attempt began, in order. */
function failuresIn(tasks: readonly TaskView[]): number[] {
  return tasks
    .flatMap((task) => task.attempts.filter(({ status }) => status === null))
    .map(({ started_at }) => Date.parse(started_at))
    .sort((a, b) => a - b);
}

async function settled(api: Api, count: number): Promise<readonly TaskView[]> {
  let tasks: readonly TaskView[] = [];
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; await Bun.sleep(LOOK_MS)) {
    tasks = await api.list<TaskView>("client_id=dead");
    if (tasks.filter(({ state }) => state === "succeeded").length === count) break;
  }
  return tasks;
}

function tightest(at: readonly number[]): number | null {
  const gaps = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
  return gaps.length === 0 ? null : Math.min(...gaps);
}

interface Back {
  /** Requests so far. */
  readonly arrived: number;
  until(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** A URL that nobody listens at, until it comes back. */
function refusedUrl(): { readonly url: string; comeBack(): Back } {
  const listen = (port: number, onRequest: () => void) =>
    Bun.serve({
      port,
      hostname: "127.0.0.1",
      fetch: () => {
        onRequest();
        return new Response("ok");
      },
    });
  const taken = listen(0, () => {});
  const { port } = taken;
  void taken.stop(true);
  if (port === undefined) throw new Error("no port");
  return {
    url: `http://127.0.0.1:${port}/dead`,
    comeBack: () => {
      let arrived = 0;
      const server = listen(port, () => {
        arrived += 1;
      });
      return {
        get arrived() {
          return arrived;
        },
        async until(count) {
          for (const deadline = performance.now() + PATIENCE_MS; arrived < count; await Bun.sleep(10)) {
            if (performance.now() > deadline) throw new Error(`${arrived} of ${count} arrived`);
          }
        },
        stop: () => server.stop(true),
      };
    },
  };
}

// An answer that takes a while makes slots what is scarce, and the figures those of a quiet machine.
const TASKS = { dead: 100_000, well: 20_000, answerMs: 25, timeoutSec: 5, probes: 5 };
/** What the healthy host may lose, and until when the dead one's tasks flow after its return. */
const LEAST_SHARE = 0.9;
const FLOWS_WITHIN_MS = TASKS.timeoutSec * 1_000 + 2_000;
/** A probe that fails begins the time anew; clocks of two processes may differ by a little. */
const CLOCKS_MS = 50;

async function heldHosts(place: Place) {
  const report = await heldHostsRun({ place, ...TASKS });
  const [before, beside, after] = report.perSec;
  const share = (2 * beside) / (before + after);
  return {
    good:
      share >= LEAST_SHARE &&
      (report.tightestMs ?? 0) >= TASKS.timeoutSec * 1_000 - CLOCKS_MS &&
      report.flowsAfterMs <= FLOWS_WITHIN_MS &&
      report.unsucceeded === 0 &&
      report.overcharged === 0,
    line:
      `hosts on ${place}: beside ${TASKS.dead} tasks of a dead host ${beside}/s, alone ${before}/s before and ${after}/s ` +
      `after (${Math.round(share * 100)} %); found out with ${report.failures} failures, ${report.heldBack} held back, ` +
      `${report.probes} probes at least ${report.tightestMs} ms apart; back, its tasks flowed after ${report.flowsAfterMs} ms, ` +
      `all were delivered after ${report.doneAfterMs} ms, ${report.unsucceeded} were not; ${report.overcharged} attempts ` +
      `charged without a delivery`,
  };
}

/** By the name that the command line takes. */
export const HOSTS_PROOFS = {
  hosts: [() => heldHosts("embedded"), () => heldHosts("redis")],
} satisfies Readonly<Record<string, readonly Proof[]>>;
