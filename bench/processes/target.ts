/** A target that answers at once and remembers when each delivery arrived, cheap enough not to be what is measured. */

import { MessageReader } from "../http-framing.ts";
import { on, optionsOf, preciseNowMs, say } from "./messages.ts";

export interface TargetOptions {
  /** After this many deliveries it says `reached`. */
  readonly expected: number;
  /** How long it takes to answer, in milliseconds; it answers at once unless given. */
  readonly answerAfterMs?: number;
}

export interface TargetResult {
  readonly deliveries: number;
  /** Deliveries per second between the first and the last fifth. */
  readonly steadyPerSec: number;
  /** Of bodies with a `markMs`, how many milliseconds after that instant they arrived, in order of arrival. */
  readonly afterMarkMs: readonly number[];
}

const ANSWER = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
const MARK = Buffer.from('"markMs":');

const options = optionsOf<TargetOptions>();
const { answerAfterMs = 0 } = options;
const arrivalsMs: number[] = [];
const afterMarkMs: number[] = [];

function receive(message: Buffer, bodyStart: number): void {
  const nowMs = preciseNowMs();
  arrivalsMs.push(nowMs);
  const mark = message.indexOf(MARK, bodyStart);
  if (mark !== -1)
    afterMarkMs.push(nowMs - Number.parseFloat(message.toString("latin1", mark + MARK.length)));
  if (arrivalsMs.length === options.expected) say("reached");
}

/** The rate over the middle three fifths: neither the start nor the last stragglers. */
function steadyPerSec(): number {
  const from = Math.floor(arrivalsMs.length * 0.2);
  const to = Math.floor(arrivalsMs.length * 0.8);
  const elapsedMs = (arrivalsMs[to] ?? 0) - (arrivalsMs[from] ?? 0);
  return elapsedMs > 0 ? ((to - from) * 1_000) / elapsedMs : 0;
}

const server = Bun.listen<{ reader: MessageReader }>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open: (socket) => {
      const reader = new MessageReader((message, bodyStart) => {
        receive(message, bodyStart);
        if (answerAfterMs === 0) socket.write(ANSWER);
        else setTimeout(() => socket.write(ANSWER), answerAfterMs);
      });
      socket.data = { reader };
    },
    data: (socket, chunk) => socket.data.reader.push(chunk),
    error: (_socket, error) => console.error(`target: ${error.message}`),
  },
});

on("report", () => {
  const result: TargetResult = { deliveries: arrivalsMs.length, steadyPerSec: steadyPerSec(), afterMarkMs };
  say("result", result);
});
say("ready", server.port);
