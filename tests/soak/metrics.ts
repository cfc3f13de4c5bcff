/** The proof of the metrics: tasks of every fate, and what all processes tell of them equals what was sent. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";
import { startRedis, until } from "../support/redis.ts";
import { Samples } from "../telemetry/samples.ts";
import { Api, type Enqueued, type NewTaskBody, type Place } from "./limits-fleet.ts";
import type { Proof } from "./proof.ts";

export interface MetricsOptions {
  /** One API and two workers on Redis, or `all` with the embedded store. */
  readonly place: Place;
  readonly tasks: number;
  /** What all of it may take before it is given up. */
  readonly withinMs: number;
}

export interface MetricsReport {
  /** What was told otherwise than it is: what, what was told, and what is so. */
  readonly wrong: readonly (readonly [what: string, told: number, expected: number])[];
  /** Labels with more values than they may have, or that nobody knows of. */
  readonly unbounded: readonly string[];
  /** The most samples that one process tells, and the longest that a scrape took. */
  readonly samples: number;
  readonly slowestScrapeMs: number;
  readonly tookMs: number;
}

const CLIENTS = 300;
const QUEUES = 150;
const PRIORITIES = ["critical", "high", "normal", "low"] as const;
/** Of so many first tasks those that succeed at once are handed in twice under one name. */
const NAMED_AMONG = 100;
/** What a client of the tier `tight` may hand in, and what it hands in beyond that. */
const LIMIT = 5;
const PAST_LIMIT = 7;
const CANCELS_AT_ONCE = 16;
const SCRAPE_EVERY_MS = 500;
/** The store's state is remembered for 5 s. */
const STATE_MS = 15_000;
/** What a label may have: queues and clients past the first share one; of the others all values are known. */
const LABELS: Readonly<Record<string, number>> = {
  queue: 101,
  client: 201,
  tier: 51,
  priority: 4,
  state: 7,
  result: 6,
  outcome: 6,
  reason: 14,
  method: 40,
  why: 2,
  to: 2,
  stage: 3,
  kind: 20,
  le: 60,
  role: 1,
  version: 1,
  runtime: 1,
  store: 1,
};
const MAX_SAMPLES = 20_000;

/** What becomes of a task, by its place among all. */
type Fate = "succeeds" | "succeeds later" | "fails once" | "dies" | "is cancelled";
/** Of twenty tasks in turn. */
const FATES: readonly Fate[] = [
  ...Array<Fate>(12).fill("succeeds"),
  ...Array<Fate>(2).fill("succeeds later"),
  ...Array<Fate>(3).fill("fails once"),
  ...Array<Fate>(2).fill("dies"),
  "is cancelled",
];

interface SentTask extends NewTaskBody {
  readonly priority?: string;
  readonly name?: string;
  readonly retry?: { readonly min_backoff_sec: number };
}

/** Sends so many tasks, waits until all have met their fate, and holds what is told against it. */
export async function metricsProof(options: MetricsOptions): Promise<MetricsReport> {
  const beganAt = performance.now();
  const target = new FatefulTarget();
  const fleet = await startFleet(options.place);
  try {
    const [api] = fleet.apis;
    if (api === undefined) throw new Error("there is no API");
    const sent = await sendAll(api, target, options.tasks);
    const expected = expectedOf(sent, options.tasks);
    let scrapes = await scrapeAll(fleet.processes);
    await until("every task has met its fate", options.withinMs, async () => {
      await Bun.sleep(SCRAPE_EVERY_MS);
      scrapes = await scrapeAll(fleet.processes);
      return sumOf(scrapes, "task_runner_outcomes_total") >= expected.leases;
    });
    let wrong: MetricsReport["wrong"] = [];
    await until("the store's state is told anew", STATE_MS, async () => {
      wrong = wrongIn(scrapes, expected, target.requests);
      if (wrong.length === 0) return true;
      await Bun.sleep(SCRAPE_EVERY_MS);
      scrapes = await scrapeAll(fleet.processes);
      return false;
    }).catch(() => null);
    return {
      wrong,
      unbounded: scrapes.flatMap(({ samples }) => unboundedIn(samples)),
      samples: Math.max(...scrapes.map(({ samples }) => samples.size)),
      slowestScrapeMs: Math.round(Math.max(...scrapes.map(({ tookMs }) => tookMs))),
      tookMs: Math.round(performance.now() - beganAt),
    };
  } finally {
    await fleet.close();
    await target.stop();
  }
}

/** Answers as the path asks: well, with a status that is final, or with a failure the first time. */
class FatefulTarget {
  requests = 0;
  readonly #failed = new Set<string>();
  readonly #server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: async (request) => {
      this.requests++;
      await request.arrayBuffer();
      const { pathname } = new URL(request.url);
      if (pathname === "/dies") return new Response(null, { status: 404 });
      const id = request.headers.get("x-task-id") ?? "";
      if (pathname !== "/fails-once" || this.#failed.has(id)) return new Response("ok");
      this.#failed.add(id);
      return new Response(null, { status: 503 });
    },
  });

  urlOf(path: string): string {
    return `${this.#server.url.origin}${path}`;
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }
}

interface Fleet {
  readonly apis: readonly Api[];
  readonly processes: readonly AppProcess[];
  close(): Promise<void>;
}

async function startFleet(place: Place): Promise<Fleet> {
  const redis = place === "redis" ? await startRedis({ password: "metrics" }) : null;
  const dir = redis === null ? await mkdtemp(join(tmpdir(), "task-runner-metrics-")) : null;
  const env: Record<string, string> = {
    ...(redis === null ? { DATA_DIR: dir ?? "" } : { STORE_URL: redis.url }),
    ALLOW_PRIVATE_URLS: "true",
    METRICS_CLIENT_LABELS: "true",
    WORKER_CONCURRENCY: "100",
    // One host answers well and badly: its breaker would hold back what is to succeed.
    CB_FAILURE_THRESHOLD: "1000",
  };
  const processes: AppProcess[] = [];
  const close = async () => {
    await Promise.all(processes.map((process) => process.stop()));
    await redis?.stop();
    if (dir !== null) await rm(dir, { recursive: true, force: true });
  };
  try {
    const commands = redis === null ? (["all"] as const) : (["serve", "work", "work"] as const);
    for (const command of commands) processes.push(await startApp({ command, env }));
    const apis = processes.slice(0, 1).map(({ url }) => new Api(url));
    for (const { url } of apis) await liftLimits(url);
    return { apis, processes, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** Sends all tasks; how many there are of each fate. */
async function sendAll(api: Api, target: FatefulTarget, tasks: number): Promise<ReadonlyMap<Fate, number>> {
  await api.setQueue("dying", { permanent_statuses: [404] });
  await api.ask("POST", "/admin/tiers/set", {
    tier: "tight",
    requests_per_minute: LIMIT,
    max_concurrent: null,
  });
  await api.setClient("tight", { tier: "tight" });
  const fates = Array.from({ length: tasks }, (_, at) => FATES[at % FATES.length] ?? "succeeds");
  const ids = await api.fill(tasks, (at) => taskOf(at, fates[at] ?? "succeeds", target));
  await cancelAll(api, ids);
  await sendAgain(api, target);
  return new Map(FATES.map((fate) => [fate, fates.filter((each) => each === fate).length]));
}

function taskOf(at: number, fate: Fate, target: FatefulTarget): SentTask {
  // Tasks of one fate have successive numbers: every client and every queue has its share of all fates.
  const shared = {
    client_id: `client-${at % CLIENTS}`,
    priority: PRIORITIES[Math.floor(at / CLIENTS) % PRIORITIES.length] ?? "normal",
  };
  const ok = { url: target.urlOf("/ok") };
  switch (fate) {
    case "succeeds": {
      const queue = `bulk-${at % QUEUES}`;
      return { ...shared, queue, task: ok, ...(at < NAMED_AMONG && { name: `name-${at}` }) };
    }
    case "succeeds later":
      return { ...shared, queue: "later", delay: 1 + (at % 3), task: ok };
    case "fails once":
      return {
        ...shared,
        queue: "flaky",
        task: { url: target.urlOf("/fails-once") },
        retry: { min_backoff_sec: 0.05 },
      };
    case "dies":
      return { ...shared, queue: "dying", task: { url: target.urlOf("/dies") } };
    case "is cancelled":
      return { ...shared, queue: CANCELLED_QUEUE, delay: 86_400, task: ok };
  }
}

const CANCELLED_QUEUE = "cancelled";

async function cancelAll(api: Api, ids: readonly string[]): Promise<void> {
  const listed = await api.list<{ task_id: string }>(`queue=${CANCELLED_QUEUE}`);
  const known = new Set(ids);
  const left = listed.map(({ task_id: id }) => id).filter((id) => known.has(id));
  const cancel = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      const { status } = await fetch(`${api.url}/v1/tasks/${id}`, { method: "DELETE" });
      if (status !== 200) throw new Error(`a cancel was answered with ${status}`);
    }
  };
  await Promise.all(Array.from({ length: CANCELS_AT_ONCE }, cancel));
}

/** Named tasks a second time, and more than a client of the tier `tight` may: none of them is made but what it may. */
async function sendAgain(api: Api, target: FatefulTarget): Promise<void> {
  const named = namedPlaces().map((at) => taskOf(at, "succeeds", target));
  const tight = Array.from({ length: LIMIT + PAST_LIMIT }, () => ({
    client_id: "tight",
    task: { url: target.urlOf("/ok") },
  }));
  const answer = await api.ask<{ results: readonly Enqueued[] }>("POST", "/v1/enqueue/batch", {
    tasks: [...named, ...tight],
  });
  if (answer.status !== 202) throw new Error(`the second sending was answered with ${answer.status}`);
}

/** The places of the tasks that have names. */
function namedPlaces(): number[] {
  return Array.from({ length: NAMED_AMONG }, (_, at) => at).filter(
    (at) => FATES[at % FATES.length] === "succeeds",
  );
}

/** What is to be told, by metric and labels; counters over all processes. */
interface Expected {
  readonly leases: number;
  readonly counters: readonly (readonly [
    name: string,
    labels: Readonly<Record<string, string>>,
    value: number,
  ])[];
  readonly states: Readonly<Record<string, number>>;
}

function expectedOf(sent: ReadonlyMap<Fate, number>, tasks: number): Expected {
  const of = (fate: Fate) => sent.get(fate) ?? 0;
  const [once, dead] = [of("fails once"), of("dies")];
  const succeeded = of("succeeds") + of("succeeds later") + once + LIMIT;
  const leases = succeeded + once + dead;
  const duplicates = namedPlaces().length;
  return {
    leases,
    counters: [
      ["enqueues_total", { result: "created" }, tasks + LIMIT],
      ["enqueues_total", { result: "duplicate" }, duplicates],
      ["enqueues_total", { result: "rate_limited" }, PAST_LIMIT],
      ["enqueues_total", {}, tasks + LIMIT + duplicates + PAST_LIMIT],
      ["rate_limited_total", { tier: "tight" }, PAST_LIMIT],
      ["leases_total", {}, leases],
      ["outcomes_total", { outcome: "succeeded", reason: "ok" }, succeeded],
      ["outcomes_total", { outcome: "retry", reason: "status_5xx" }, once],
      ["outcomes_total", { outcome: "dead", reason: "status_4xx" }, dead],
      ["outcomes_total", {}, leases],
      ["enqueue_to_start_seconds_count", {}, leases],
      ["attempt_duration_seconds_count", { outcome: "succeeded" }, succeeded],
      ["attempt_duration_seconds_count", { outcome: "failed" }, once + dead],
      ["client_enqueues_total", { result: "created" }, tasks + LIMIT],
      ["client_outcomes_total", {}, leases],
      ["stale_settles_total", {}, 0],
      ["rescues_total", {}, 0],
      ["leases_lost_total", {}, 0],
      ["store_errors_total", {}, 0],
    ],
    states: {
      succeeded,
      dead,
      cancelled: of("is cancelled"),
      ready: 0,
      running: 0,
      retrying: 0,
      scheduled: 0,
    },
  };
}

interface Scrape {
  readonly samples: Samples;
  readonly tookMs: number;
}

function scrapeAll(processes: readonly AppProcess[]): Promise<Scrape[]> {
  return Promise.all(
    processes.map(async ({ url }) => {
      const beganAt = performance.now();
      const answer = await fetch(`${url}/metrics`);
      const samples = Samples.of(await answer.text());
      return { samples, tookMs: performance.now() - beganAt };
    }),
  );
}

function sumOf(scrapes: readonly Scrape[], name: string, labels?: Readonly<Record<string, string>>): number {
  return scrapes.reduce((total, { samples }) => total + samples.sum(name, labels), 0);
}

function wrongIn(scrapes: readonly Scrape[], expected: Expected, requests: number): MetricsReport["wrong"] {
  const counters = expected.counters.map(
    ([name, labels, value]) =>
      [`${name}${JSON.stringify(labels)}`, sumOf(scrapes, `task_runner_${name}`, labels), value] as const,
  );
  // Every process tells the same of the store.
  const states = scrapes.flatMap(({ samples }) =>
    Object.entries(expected.states).map(
      ([state, value]) => [`tasks ${state}`, samples.sum("task_runner_tasks", { state }), value] as const,
    ),
  );
  const all = [...counters, ...states, ["requests to the target", requests, expected.leases] as const];
  return all.filter(([, told, value]) => told !== value);
}

function unboundedIn(samples: Samples): string[] {
  const over = [...samples.labels()].flatMap(([label, values]) =>
    values <= (LABELS[label] ?? 0) ? [] : [`${label} has ${values} values`],
  );
  return samples.size <= MAX_SAMPLES ? over : [...over, `${samples.size} samples`];
}

const MANY = 100_000;
const MANY_WITHIN_MS = 300_000;

const many =
  (place: Place): Proof =>
  async () => {
    const report = await metricsProof({ place, tasks: MANY, withinMs: MANY_WITHIN_MS });
    const { wrong, unbounded, samples, slowestScrapeMs, tookMs } = report;
    return {
      good: wrong.length + unbounded.length === 0,
      line:
        `metrics on ${place}: ${MANY} tasks in ${tookMs} ms; ${wrong.length} counts are wrong` +
        `${wrong.length > 0 ? ` (${JSON.stringify(wrong)})` : ""}, ${unbounded.length} labels unbounded ` +
        `${unbounded.join(", ")}; at most ${samples} samples a process, the slowest scrape took ${slowestScrapeMs} ms`,
    };
  };

/** By the name that the command line takes. */
export const METRICS_PROOFS = {
  metrics: [many("redis"), many("embedded")],
} satisfies Readonly<Record<string, readonly Proof[]>>;
