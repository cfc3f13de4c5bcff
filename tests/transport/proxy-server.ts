/** An HTTP proxy for tests on an ephemeral loopback port: tunnels, whole URLs, a login, and names that it alone knows. */

import { createServer, type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";

export interface TestProxy {
  readonly port: number;
  /** Each wish: `CONNECT name:port` or `POST http://name:port/path`. */
  readonly asked: readonly string[];
  /** What each wish came with as Proxy-Authorization. */
  readonly logins: readonly (string | undefined)[];
  /** Connections that were ever made to it. */
  readonly accepted: () => number;
  /** Connections that are open to it. */
  readonly open: () => number;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ProxyOptions {
  /** `user:password` that it wants. */
  readonly login?: string;
  /** Answers every wish for a tunnel with this status, or with silence. */
  readonly tunnels?: number | "silent" | "drop";
}

/** Starts a proxy; every name leads to 127.0.0.1 at the port that was asked for. */
export async function startProxy({ login, tunnels }: ProxyOptions = {}): Promise<TestProxy> {
  const asked: string[] = [];
  const logins: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  let accepted = 0;
  const wanted = login === undefined ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
  const note = (incoming: IncomingMessage) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    logins.push(incoming.headers["proxy-authorization"]);
    return wanted === undefined || incoming.headers["proxy-authorization"] === wanted;
  };
  const server = createServer((incoming, answer) => {
    if (!note(incoming)) {
      answer.writeHead(407, { "proxy-authenticate": "Basic" }).end("who are you?");
      return;
    }
    const url = new URL(incoming.url ?? "");
    const { "proxy-authorization": _, ...headers } = incoming.headers;
    const onward = request(
      {
        host: "127.0.0.1",
        port: url.port,
        method: incoming.method,
        path: url.pathname + url.search,
        headers,
      },
      (reply) => {
        answer.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(answer);
      },
    );
    onward.on("error", () => answer.writeHead(502).end());
    incoming.pipe(onward);
  });
  server.on("connect", (incoming: IncomingMessage, socket: Socket) => {
    const isKnown = note(incoming);
    socket.on("error", () => socket.destroy());
    if (tunnels === "silent") return;
    if (tunnels === "drop") return socket.destroy();
    if (!isKnown || tunnels !== undefined) {
      return socket.end(`HTTP/1.1 ${isKnown ? tunnels : 407} No\r\nContent-Length: 0\r\n\r\n`);
    }
    const port = Number(/:(\d+)$/.exec(incoming.url ?? "")?.[1]);
    const onward = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(onward);
      onward.pipe(socket);
    });
    onward.on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy());
  });
  server.on("connection", (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((closed) => server.close(() => closed()));
  };
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    asked,
    logins,
    accepted: () => accepted,
    open: () => sockets.size,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
