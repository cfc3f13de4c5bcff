/** Fuzzes the HTTP API of running servers, on the embedded store and on Redis, one of them standing still for a while. */

import fc from "fast-check";
import { type StandaloneRedis, startRedis } from "../../support/redis.ts";
import { Cases, type Job, must, type Report } from "../cases.ts";
import { changedInOnePlace, Values } from "../from-schema.ts";
import type { JsonSchema } from "../json-schema.ts";
import { Leg, type LegOptions } from "./leg.ts";
import { type Planned, requestsOf } from "./requests.ts";
import { Wire } from "./wire.ts";

/** Requests on their way at once while Redis stands still: each waits for the store's patience to end. */
const AT_ONCE = 32;
/** Requests while Redis stands still. */
const MAX_FROZEN = 256;

/** `cases` are shared out among an open server, one with keys, and one with keys on Redis. */
export async function fuzzHttp(job: Job, { redis: withRedis = true } = {}): Promise<Report> {
  const cases = new Cases(job);
  await onServer(cases, { name: "embedded", env: {}, keys: false }, withRedis ? 0.35 : 0.5);
  await onServer(
    cases,
    { name: "embedded with keys", env: { CLIENT_AUTH: "optional" }, keys: true },
    withRedis ? 0.25 : 0.5,
  );
  if (withRedis) {
    const redis = await startRedis();
    try {
      const env = { STORE_URL: redis.url, CLIENT_AUTH: "required" };
      await onServer(cases, { name: "redis with keys", env, keys: true }, 0.4, redis);
    } finally {
      await redis.stop();
    }
  }
  return cases.report();
}

async function onServer(
  cases: Cases,
  options: LegOptions,
  share: number,
  redis?: StandaloneRedis,
): Promise<void> {
  const leg = await Leg.start(options);
  try {
    const requests = requestsOf(leg.document);
    const run = (part: number) =>
      cases.run(
        `http ${options.name}`,
        share * part,
        requests,
        (planned) => leg.try(planned),
        (planned) => shown(leg, planned),
      );
    await run(0.3);
    await leg.warm();
    await run(0.55);
    await cases.run(
      `http ${options.name}: batches`,
      share * 0.08,
      batches(),
      (batch) => nothingHalfDone(leg, batch),
      shownBatch,
    );
    await cases.run(`http ${options.name}: refused settings`, share * 0.07, settings(leg), (change) =>
      changesNothing(leg, change),
    );
    if (redis !== undefined) await whileFrozen(cases, leg, redis, share);
  } finally {
    await leg.end(cases, cases.job);
  }
}

function shown(leg: Leg, { method, path, headers, body, shown: key }: Planned): string {
  const text =
    body === null
      ? ""
      : typeof body === "string"
        ? leg.pool.fill(body)
        : Buffer.from(body).toString("latin1");
  return `${method} ${leg.pool.fill(path)} key=${key} ${JSON.stringify(headers).slice(0, 500)}\n${text}`;
}

/** A batch, sent as a client of its own; `tasks` are values in any shape. */
interface Batch {
  readonly tasks: readonly unknown[];
  /** A fault of the whole: then nothing of it may be there. */
  readonly broken: "none" | "frame" | "cut" | "type";
}

let clients = 0;

function batches(): fc.Arbitrary<Batch> {
  const task = {
    url: "https://example.com/",
    method: "PUT",
    headers: { "x-a": "b" },
    body: { a: [1] },
    timeout_sec: 5,
  };
  const valid = fc.constantFrom<Record<string, unknown>>(
    { task },
    { task, delay: 3_600, queue: "fuzz-batch", name: "same" },
    { task, ordering_key: "k", metadata: { a: "b" }, priority: "low" },
    { task: { url: "http://127.0.0.1/" } },
    { task: { ...task, method: "GET" } },
  );
  const mine = valid.map((one) => ({ client_id: "@client@", ...one }));
  const item = fc.oneof({ weight: 3, arbitrary: mine }, { weight: 2, arbitrary: changedInOnePlace(mine) });
  const broken = fc.oneof(
    { weight: 3, arbitrary: fc.constant("none" as const) },
    fc.constantFrom("frame" as const, "cut" as const, "type" as const),
  );
  return fc
    .tuple(fc.array(item, { minLength: 1, maxLength: 8 }), broken)
    .map(([tasks, how]) => ({ tasks, broken: how }));
}

function shownBatch({ tasks, broken }: Batch): string {
  return `${broken}: ${JSON.stringify(tasks)}`;
}

/** What the answer says is kept is there, and nothing else. */
async function nothingHalfDone(leg: Leg, batch: Batch): Promise<void> {
  const client = `batch-${clients++}`;
  const whole = JSON.stringify({ tasks: batch.tasks, ...(batch.broken === "frame" && { x: 1 }) }).replaceAll(
    "@client@",
    client,
  );
  const body = batch.broken === "cut" ? whole.slice(0, -1) : whole;
  const planned: Planned = {
    operation: null,
    method: "POST",
    path: "/v1/enqueue/batch",
    headers: [["Content-Type", batch.broken === "type" ? "text/plain" : "application/json"]],
    body,
    shown: "admin",
    odd: false,
  };
  const { answer } = await leg.send(planned);
  must(answer !== null, () => "a batch got no answer");
  if (answer.status >= 400) leg.problem(answer);
  must(
    batch.broken === "none" || answer.status >= 400,
    () => `answered ${answer.status} although it is broken: ${batch.broken}`,
  );
  const listed = await leg.ask("GET", `/v1/tasks?client_id=${client}&limit=100`);
  const there = new Set<string>(
    (JSON.parse(listed.text).tasks as { task_id: string }[]).map((one) => one.task_id),
  );
  const told = new Set<string>();
  if (answer.status < 300) {
    const answered = JSON.parse(answer.text) as {
      results: { status: string; task_id?: string }[];
      enqueued: number;
      duplicates: number;
      rejected: number;
    };
    must(answered.results.length === batch.tasks.length, () => "there is not one result a task");
    const { enqueued, duplicates, rejected } = answered;
    must(
      enqueued + duplicates + rejected === batch.tasks.length,
      () => "the sums are not those of the results",
    );
    for (const { status, task_id: id } of answered.results)
      if (status === "enqueued" && id !== undefined) told.add(id);
    must(told.size === enqueued, () => "two tasks have one id, or a task was counted twice");
  }
  const strays = [...there].filter((id) => !told.has(id));
  must(strays.length === 0, () => `${strays.length} tasks are there of which the answer says nothing`);
  // A changed item may be of another client, where it is not listed; it must be there all the same.
  for (const id of told) {
    if (there.has(id)) continue;
    const read = await leg.ask("GET", `/v1/tasks/${id}`);
    must(read.status === 200, () => `task ${id} was said to be kept, and reading it answers ${read.status}`);
  }
}

interface Change {
  readonly read: string;
  readonly set: string;
  readonly body: unknown;
}

function settings(leg: Leg): fc.Arbitrary<Change> {
  const values = new Values(leg.document.schemas);
  const of = (path: string) => {
    const schema = leg.document.operations.find((one) => one.path === path)?.bodies["application/json"]
      ?.schema;
    must(schema !== undefined, () => `the document has no ${path}`);
    return values.of(schema as JsonSchema) as fc.Arbitrary<Record<string, unknown>>;
  };
  const change = (read: string, set: string, own: Record<string, unknown>) =>
    changedInOnePlace(of(set).map((value) => ({ ...value, ...own }))).map((body) => ({ read, set, body }));
  return fc.oneof(
    change("/admin/queues/get?queue=fuzz-set", "/admin/queues/set", { queue: "fuzz-set" }),
    change("/admin/clients/get?client_id=fuzz-set", "/admin/clients/set", { client_id: "fuzz-set" }),
    change("/admin/tiers", "/admin/tiers/set", { tier: "fuzz-set" }),
  );
}

/** Settings whose change is refused are as they were, and one that is taken shows what was set. */
async function changesNothing(leg: Leg, { read, set, body }: Change): Promise<void> {
  const before = await leg.ask("GET", read);
  const answer = await leg.ask("POST", set, body);
  if (answer.status < 400) return;
  const { status } = leg.problem(answer);
  must(status < 500, () => `${set} answered ${status}: ${answer.text}`);
  const after = await leg.ask("GET", read);
  must(before.text === after.text, () => `${set} was refused, and changed ${before.text} into ${after.text}`);
}

/** While Redis stands still nothing but 503 store_unavailable tells of it, and all is well once it goes on. */
async function whileFrozen(cases: Cases, leg: Leg, redis: StandaloneRedis, share: number): Promise<void> {
  const what = `http ${leg.options.name}: while Redis stands still`;
  const count = Math.max(1, Math.min(MAX_FROZEN, Math.round(cases.job.cases * share * 0.05)));
  const requests = fc.sample(requestsOf(leg.document), { seed: cases.job.seed, numRuns: count });
  await redis.process.freeze();
  try {
    const left = requests.values();
    const worker = async () => {
      const wire = new Wire(leg.server.port);
      for (const planned of left) {
        cases.count(what);
        try {
          const { answer } = await leg.send(planned, wire);
          if (answer === null || answer.status < 500 || /^\/(?:health|metrics)/.test(planned.path)) continue;
          if (planned.method === "HEAD" || (planned.odd && answer.text === "")) continue;
          const { code } = leg.problem(answer);
          must(code === "store_unavailable", () => `answered ${answer.status} ${code}: ${answer.text}`);
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          cases.found({ what, why, example: shown(leg, planned), seed: cases.job.seed });
        }
      }
      wire.close();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    redis.process.thaw();
  }
  await untilReady(leg);
  await cases.run(
    `http ${leg.options.name}: after Redis stood still`,
    share * 0.02,
    requestsOf(leg.document),
    (planned) => leg.try(planned),
    (planned) => shown(leg, planned),
  );
}

const READY_MS = 15_000;

async function untilReady(leg: Leg): Promise<void> {
  const untilMs = Date.now() + READY_MS;
  while (Date.now() < untilMs) {
    if ((await leg.ask("GET", "/health/ready")).status === 200) return;
    await Bun.sleep(100);
  }
  throw new Error("the server is not ready again after Redis has gone on");
}
