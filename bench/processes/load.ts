/** Sends one request over and over on many connections, one outstanding on each, and says how many were answered. */

import { HttpConnection } from "../http-connection.ts";
import { postBytes, statusOf } from "../http-framing.ts";
import { optionsOf, say } from "./messages.ts";

export interface LoadOptions {
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly connections: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface LoadResult {
  /** Answers of the 2xx kind per second, after the warm-up. */
  readonly perSec: number;
  readonly answered: number;
  /** The same, the warm-up included. */
  readonly acknowledged: number;
  /** Answers of any other kind, the warm-up included. */
  readonly refused: number;
  /** The first of those, to see what is wrong. */
  readonly refusal: string | null;
}

/** A machine that has other things to do may answer nothing for as long as a short measurement; it is waited for. */
const PATIENCE_MS = 10_000;

const options = optionsOf<LoadOptions>();
const request = postBytes(options.port, options.path, options.body);
let answered = 0;
let refused = 0;
let refusal: string | null = null;
let running = true;
let onAnswer: () => void = () => {};

/** Resolves once more than `count` have been answered, or nothing is to be waited for any more. */
async function answeredMoreThan(count: number): Promise<void> {
  if (answered > count || refused > 0 || !running) return;
  const next = new Promise<void>((resolve) => {
    onAnswer = resolve;
  });
  await Promise.race([next, Bun.sleep(PATIENCE_MS)]);
}

function onResponse(response: Buffer, connection: HttpConnection): void {
  const status = statusOf(response);
  if (status >= 200 && status < 300) answered++;
  else {
    refused++;
    refusal ??= response.toString();
  }
  onAnswer();
  if (running) connection.send(request);
}

function onEnd(reason: string): void {
  if (running) finish({ perSec: 0, answered, acknowledged: answered, refused: 1, refusal: reason });
}

/** Tells the bench, once. */
function finish(result: LoadResult): void {
  if (!running) return;
  running = false;
  say("result", result);
}

const opening = Array.from({ length: options.connections }, () =>
  HttpConnection.open(options.port, onResponse, onEnd),
);
const connections = await Promise.all(opening);
for (const connection of connections) connection.send(request);

await Bun.sleep(options.warmUpMs);
await answeredMoreThan(0);
const answeredBefore = answered;
const startMs = performance.now();
await Bun.sleep(options.measureMs);
await answeredMoreThan(answeredBefore);
const elapsedMs = performance.now() - startMs;
const counted = answered - answeredBefore;
finish({
  perSec: (counted * 1_000) / elapsedMs,
  answered: counted,
  acknowledged: answered,
  refused,
  refusal,
});
for (const connection of connections) connection.close();
