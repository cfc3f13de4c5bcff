/** The proofs for what is done to a queue as a whole: paused, resumed, and purged while everything else goes on. */

import { quantile } from "../../bench/statistics.ts";
import { liftLimits } from "../support/limits.ts";
import { until } from "../support/redis.ts";
import { wait } from "./failover-faults.ts";
import { type Api, Fleet, type Place, type QueueView } from "./limits-fleet.ts";
import { CountingTarget } from "./limits-target.ts";

const FLOW = "flow";
const DOOMED = "doomed";
const OTHER = "other";
const WORKERS = 2;
const CONCURRENCY = 20;
const ANSWER_MS = 10;
const FLOW_TASKS = 3_000;
const FLOWING = 200;
const FEW = 20;
const SETTLED_MS = 15_000;
/** Between two looks at a purge, and two requests beside it. */
const LOOK_EVERY_MS = 10;

export interface PauseReport {
  /** Tasks that waited when it was paused. */
  readonly waiting: number;
  /** Those that were begun while it was paused, when all that ran had ended and another queue's were delivered. */
  readonly begun: number;
  /** From the request to resume it until its next task arrived. */
  readonly resumedAfterMs: number;
  readonly undelivered: number;
}

/** Pauses a queue while its tasks flow, and resumes it. */
export async function pauseProof(place: Place): Promise<PauseReport> {
  return onFleet(place, async (api, target) => {
    await api.fill(FLOW_TASKS, () => taskOf(target, FLOW));
    await target.until("they flow", SETTLED_MS, () => target.arrivals.length >= FLOWING);
    await api.change("pause", FLOW);
    const paused = await until("what ran has ended", SETTLED_MS, async () => {
      const queue = await api.queue(FLOW);
      return queue.running === 0 && queue;
    });
    const atPause = target.of(FLOW).length;
    // These came later and are handed out by the same workers: what was to begin would have begun.
    await api.fill(FEW, () => taskOf(target, OTHER));
    await target.until("another queue's are delivered", SETTLED_MS, () => target.of(OTHER).length === FEW);
    const begun = target.of(FLOW).length - atPause;
    const resumedAt = performance.now();
    await api.change("resume", FLOW);
    await target.until("it goes on", SETTLED_MS, () => target.of(FLOW).length > atPause);
    const resumedAfterMs = Math.round(performance.now() - resumedAt);
    const all = () => target.arrivals.length >= FLOW_TASKS + FEW;
    await target.until("all are delivered", SETTLED_MS, all).catch(() => {});
    return {
      waiting: paused.counts.ready,
      begun,
      resumedAfterMs,
      undelivered: FLOW_TASKS - new Set(target.of(FLOW).map(({ taskId }) => taskId)).size,
    };
  });
}

export interface Latencies {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostMs: number;
}

export interface PurgeReport {
  readonly tasks: number;
  readonly filledPerSec: number;
  /** How far it was said to be, in order, without repetitions. */
  readonly progress: readonly { readonly removed: number; readonly share: number }[];
  readonly tookMs: number;
  /** What the queue held when the purge was over: what was handed in after it had begun. */
  readonly left: number;
  readonly handedInLater: number;
  /** Deliveries of the purged queue once it was resumed. */
  readonly delivered: number;
  /** Of GET /health/ready and POST /v1/enqueue while it went on. */
  readonly ready: Latencies;
  readonly enqueue: Latencies;
  /** Tasks of another queue that were delivered while it went on. */
  readonly deliveredMeanwhile: number;
  /** Answers that were not 200 or 202. */
  readonly odd: readonly string[];
}

/** Purges a queue of so many tasks, and gives up after `withinMs`. */
export async function purgeProof(place: Place, tasks: number, withinMs: number): Promise<PurgeReport> {
  return onFleet(place, async (api, target) => {
    await api.setQueue(DOOMED, { paused: true });
    const beganAt = performance.now();
    await api.fill(tasks, () => taskOf(target, DOOMED));
    const filledPerSec = Math.round((tasks * 1_000) / (performance.now() - beganAt));

    const beside = new Beside(api, target);
    await api.change("purge", DOOMED);
    const purgedAt = performance.now();
    await api.fill(FEW, () => taskOf(target, DOOMED));
    beside.start();
    const progress: { removed: number; share: number }[] = [];
    const over = await until("the purge is over", withinMs, async () => {
      const queue = await api.queue(DOOMED);
      if (queue.purge === null) return queue;
      if (JSON.stringify(queue.purge) !== JSON.stringify(progress.at(-1))) progress.push(queue.purge);
      return false;
    });
    const tookMs = Math.round(performance.now() - purgedAt);
    await beside.stop();
    await api.change("resume", DOOMED);
    await target.until("the rest is delivered", SETTLED_MS, () => target.of(DOOMED).length >= FEW);
    await until("nothing is left", SETTLED_MS, async () => waitingIn(await api.queue(DOOMED)) === 0);
    return {
      tasks,
      filledPerSec,
      progress: progress.map(({ removed, share }) => ({ removed, share })),
      tookMs,
      left: waitingIn(over),
      handedInLater: FEW,
      delivered: target.of(DOOMED).length,
      ready: latenciesOf(beside.readyMs),
      enqueue: latenciesOf(beside.enqueueMs),
      deliveredMeanwhile: beside.delivered,
      odd: beside.odd,
    };
  });
}

/** Asks whether the API is ready and hands in tasks of another queue, again and again. */
class Beside {
  readonly readyMs: number[] = [];
  readonly enqueueMs: number[] = [];
  readonly odd: string[] = [];
  /** Tasks of the other queue that were delivered between start and stop. */
  delivered = 0;
  readonly #api: Api;
  readonly #target: CountingTarget;
  #loops: Promise<void>[] = [];
  #stopped = false;

  constructor(api: Api, target: CountingTarget) {
    this.#api = api;
    this.#target = target;
  }

  start(): void {
    this.#loops = [
      this.#repeat(this.readyMs, 200, () => this.#api.ask("GET", "/health/ready")),
      this.#repeat(this.enqueueMs, 202, () => this.#api.enqueue(taskOf(this.#target, OTHER))),
    ];
  }

  async stop(): Promise<void> {
    this.delivered = this.#target.of(OTHER).length;
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #repeat(tookMs: number[], wanted: number, ask: () => Promise<{ status: number }>): Promise<void> {
    do {
      const askedAt = performance.now();
      const status = await ask().then(
        (answer) => answer.status,
        (thrown: unknown) => String(thrown),
      );
      tookMs.push(performance.now() - askedAt);
      if (status !== wanted) this.odd.push(`${status} instead of ${wanted}`);
      await wait(LOOK_EVERY_MS);
    } while (!this.#stopped);
  }
}

async function onFleet<T>(place: Place, proof: (api: Api, target: CountingTarget) => Promise<T>): Promise<T> {
  const target = new CountingTarget(() => ANSWER_MS);
  const fleet = await Fleet.open(place);
  try {
    const [api] = await fleet.serve(1);
    if (api === undefined) throw new Error("there is no API");
    await liftLimits(api.url);
    await fleet.work(WORKERS, CONCURRENCY);
    return await proof(api, target);
  } finally {
    await fleet.close();
    await target.stop();
  }
}

function taskOf(target: CountingTarget, queue: string) {
  return { client_id: "limits", queue, task: { url: target.urlOf(queue) } };
}

function waitingIn({ counts }: QueueView): number {
  return counts.ready + counts.scheduled + counts.retrying;
}

function latenciesOf(tookMs: readonly number[]): Latencies {
  return {
    requests: tookMs.length,
    p50Ms: Math.round(quantile(tookMs, 0.5)),
    p99Ms: Math.round(quantile(tookMs, 0.99)),
    mostMs: Math.round(Math.max(...tookMs)),
  };
}
