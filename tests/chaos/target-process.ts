/** The target of a chaos run as a process of its own: answers as each URL says, and prints every call once it is over. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import type { Call, CallEnd } from "./history.ts";

/** What a line on its standard input tells it: answer so much later, and drop such a share of the calls. */
export interface Weather {
  readonly slowMs: number;
  readonly dropShare: number;
}

let weather: Weather = { slowMs: 0, dropShare: 0 };

const servers = [1, 2].map(() => createServer(receive));
// A worker that finds a kept connection closed has a failed attempt; the workers close them first.
for (const server of servers) server.keepAliveTimeout = 600_000;

function receive(request: IncomingMessage, response: ServerResponse): void {
  const arrivedMs = Date.now();
  const asked = new URL(request.url ?? "/", "http://target").searchParams;
  const attempt = Number(request.headers["x-task-attempt"]);
  let over = false;
  const finish = (end: CallEnd) => {
    if (over) return;
    over = true;
    const call: Call = {
      n: Number(asked.get("n")),
      id: String(request.headers["x-task-id"]),
      attempt,
      fence: Number(request.headers["x-task-fence"]),
      client: asked.get("c") ?? "",
      queue: asked.get("q") ?? "",
      arrivedMs,
      endedMs: Date.now(),
      end,
    };
    process.stdout.write(`${JSON.stringify(call)}\n`);
  };
  response.on("close", () => finish("gone"));
  request.resume();
  const answer = () => {
    if (over) return;
    if (Math.random() < weather.dropShare) {
      finish("dropped");
      request.socket.destroy();
      return;
    }
    const fails = attempt <= Number(asked.get("f"));
    // It is over before its caller can know, so that what is counted is never too much.
    finish(fails ? "failed" : "ok");
    response.writeHead(fails ? 500 : 200).end(fails ? "as told" : "ok");
  };
  setTimeout(answer, Number(asked.get("ms")) + weather.slowMs);
}

const host = process.argv[2] ?? "127.0.0.1";
const ports = await Promise.all(
  servers.map(async (server) => {
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    return (server.address() as AddressInfo).port;
  }),
);
process.stdout.write(`${JSON.stringify(ports)}\n`);

// Its input ends with the run.
for await (const line of createInterface({ input: process.stdin })) weather = JSON.parse(line) as Weather;
process.exit(0);
