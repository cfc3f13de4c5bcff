/** A process that sends enqueue requests at a pace whether or not they are answered, and says what became of them. */

import { HttpConnection } from "../../bench/http-connection.ts";
import { postBytes, statusOf } from "../../bench/http-framing.ts";
import { BATCH_PATH, ENQUEUE_PATH, enqueueBody, enqueueRequest, NOWHERE } from "../../bench/load-shape.ts";
import { optionsOf, say } from "../../bench/processes/messages.ts";
import { quantile } from "../../bench/statistics.ts";

export interface OverloadOptions {
  readonly port: number;
  /** Tasks of a request. */
  readonly batch: number;
  /** Also the most requests that are unanswered at once: where all are taken, a due request is not sent. */
  readonly connections: number;
  /** Requests a second; null sends the next whenever one was answered. */
  readonly perSec: number | null;
  readonly forMs: number;
}

export interface OverloadResult {
  readonly sent: number;
  /** Requests that were due while every connection waited for an answer. */
  readonly unsent: number;
  /** Tasks that were acknowledged. */
  readonly acknowledged: number;
  readonly acknowledgedPerSec: number;
  /** Requests refused with 429 or 503 and a Retry-After. */
  readonly refused: number;
  /** Tasks of a taken batch that were refused. */
  readonly refusedItems: number;
  /** Any other answers, the first few of them. */
  readonly odd: readonly string[];
  /** From sending to acknowledgement, in milliseconds; null where nothing was. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly slowestMs: number | null;
  /** Of the refusals. */
  readonly refusalP99Ms: number | null;
}

const TICK_MS = 2;
const MAX_ODD = 5;
/** After the last request; whoever has no answer by then hangs. */
const HUNG_MS = 15_000;

const options = optionsOf<OverloadOptions>();
const tasks = Array.from({ length: options.batch }, () => enqueueRequest(NOWHERE));
const request =
  options.batch === 1
    ? postBytes(options.port, ENQUEUE_PATH, enqueueBody(NOWHERE))
    : postBytes(options.port, BATCH_PATH, JSON.stringify({ tasks }));
const idle: HttpConnection[] = [];
const sentAtMs = new Map<HttpConnection, number>();
const tookMs: number[] = [];
const refusedMs: number[] = [];
const odd: string[] = [];
let acknowledged = 0;
let refusedItems = 0;
let sent = 0;
let unsent = 0;
let sending = true;

function send(connection: HttpConnection): void {
  sent++;
  sentAtMs.set(connection, performance.now());
  connection.send(request);
}

function onResponse(response: Buffer, connection: HttpConnection): void {
  const ms = performance.now() - (sentAtMs.get(connection) ?? Number.NaN);
  sentAtMs.delete(connection);
  const status = statusOf(response);
  if (status === 202) {
    tookMs.push(ms);
    acknowledged += countIn(response, '"enqueued":') ?? 1;
    refusedItems += countIn(response, '"rejected":') ?? 0;
  } else if (
    (status === 503 || status === 429) &&
    /\r\nretry-after: *[1-9]/i.test(response.toString("latin1"))
  ) {
    refusedMs.push(ms);
  } else isOdd(response.toString());
  if (sending && options.perSec === null) send(connection);
  else idle.push(connection);
}

/** A count at the end of a batch's answer; null in the answer of one task. */
function countIn(response: Buffer, name: string): number | null {
  const at = response.lastIndexOf(name);
  return at === -1
    ? null
    : Number.parseInt(response.toString("latin1", at + name.length, at + name.length + 10), 10);
}

function isOdd(what: string): void {
  if (odd.length < MAX_ODD) odd.push(what);
}

const connections = await Promise.all(
  Array.from({ length: options.connections }, () =>
    HttpConnection.open(options.port, onResponse, (reason) => {
      if (sending || sentAtMs.size > 0) isOdd(reason);
    }),
  ),
);
const startMs = performance.now();
if (options.perSec === null) {
  for (const connection of connections) send(connection);
  await Bun.sleep(options.forMs);
} else {
  idle.push(...connections);
  for (let due = 0; ; await Bun.sleep(TICK_MS)) {
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs > options.forMs) break;
    for (const until = (elapsedMs * options.perSec) / 1_000; due < until; due++) {
      const connection = idle.shift();
      if (connection === undefined) unsent++;
      else send(connection);
    }
  }
}
sending = false;
const elapsedSec = (performance.now() - startMs) / 1_000;
const acknowledgedInTime = acknowledged;
for (const deadline = performance.now() + HUNG_MS; sentAtMs.size > 0; await Bun.sleep(TICK_MS)) {
  if (performance.now() < deadline) continue;
  isOdd(`${sentAtMs.size} requests are unanswered`);
  break;
}
const at = (values: readonly number[], fraction: number) =>
  values.length === 0 ? null : Math.round(quantile(values, fraction) * 10) / 10;
say("result", {
  sent,
  unsent,
  acknowledged,
  acknowledgedPerSec: acknowledgedInTime / elapsedSec,
  refused: refusedMs.length,
  refusedItems,
  odd,
  p50Ms: at(tookMs, 0.5),
  p99Ms: at(tookMs, 0.99),
  slowestMs: at(tookMs, 1),
  refusalP99Ms: at(refusedMs, 0.99),
} satisfies OverloadResult);
process.exit(0);
