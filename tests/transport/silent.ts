/**
 * Waits for a target that says nothing for long and then answers, by every way out at once; each must be a success.
 *
 *     bun tests/transport/silent.ts [--sec 360]        deno run -A tests/transport/silent.ts [--sec 360]
 *
 * Prints one line a way, and ends with status 1 unless all were delivered. Six minutes are more than the five
 * after which Bun's fetch gives up unless it is told not to.
 */

import { createServer, type Socket } from "node:net";
import process from "node:process";
import { createNodeDialler } from "../../src/transport/http/dial-node.ts";
import type { HttpTransportOptions } from "../../src/transport/http/http.ts";
import { httpTransport, realClock } from "./fixtures.ts";
import { startProxy } from "./proxy-server.ts";

const TIMEOUT_MS = 1_800_000;
const HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";

const secondsAt = process.argv.indexOf("--sec");
const silenceMs = (secondsAt === -1 ? 360 : Number(process.argv[secondsAt + 1])) * 1_000;

const sockets = new Set<Socket>();
const server = createServer((socket) => {
  sockets.add(socket);
  socket.on("error", () => socket.destroy());
  socket.once("data", (request) => {
    const begins = request.toString("latin1").startsWith("POST /mid-body");
    if (begins) socket.write(`${HEAD}la`);
    setTimeout(() => socket.write(begins ? "te" : `${HEAD}late`), silenceMs);
  });
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const address = server.address();
const port = address !== null && typeof address === "object" ? address.port : 0;
const proxy = await startProxy();

/** Each delivery has a transport of its own, for it is closed with it. */
const WAYS: Readonly<Record<string, () => Partial<HttpTransportOptions>>> = {
  "the runtime's own": () => ({}),
  "judged addresses": () => ({
    allowPrivate: false,
    allowCidrs: ["127.0.0.1/32"],
    resolve: async () => ["127.0.0.1"],
  }),
  "hosts in doubt": () => ({ dialler: createNodeDialler(realClock) }),
  "a proxy": () => ({ proxyUrl: `http://127.0.0.1:${proxy.port}` }),
};

async function wait(way: string, options: Partial<HttpTransportOptions>, path: string): Promise<boolean> {
  const transport = httpTransport(options);
  const startedAt = performance.now();
  const url = `http://silent.example:${port}${path}`;
  const target = {
    url:
      options.resolve === undefined && options.proxyUrl === undefined
        ? url.replace("silent.example", "127.0.0.1")
        : url,
    method: "POST",
    headers: {},
    body: "x",
  };
  const outcome = await transport.deliver(
    {
      taskId: "silent",
      queue: "default",
      target,
      attempt: 1,
      fence: 1,
      scheduledAtMs: 0,
      timeoutMs: TIMEOUT_MS,
      traceparent: null,
      allowedHosts: null,
      signingSecrets: [],
    },
    new AbortController().signal,
  );
  await transport.close();
  const tookMs = Math.round(performance.now() - startedAt);
  console.log(JSON.stringify({ way, path, tookMs, outcome }));
  return outcome.kind === "delivered" && outcome.responseExcerpt === "late" && tookMs >= silenceMs;
}

const answered = await Promise.all(
  Object.entries(WAYS).flatMap(([way, options]) =>
    ["/before-head", "/mid-body"].map((path) => wait(way, options(), path)),
  ),
);
for (const socket of sockets) socket.destroy();
server.close();
await proxy.stop();
process.exitCode = answered.every(Boolean) ? 0 : 1;
