/**
 * A target in a process of its own, so that what it holds is not counted as ours. Prints its port; each path is a way
 * to misbehave. Ends when its standard input does.
 */

import { createServer, type Socket } from "node:net";
import process from "node:process";

const CHUNK = `10000\r\n${"a".repeat(65_536)}\r\n`;
const DRIP_MS = 20;

const WAYS: Readonly<Record<string, (socket: Socket) => void>> = {
  "/ok": (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
  "/endless": (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    pour(socket, CHUNK);
  },
  "/headers": (socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    pour(socket, `X-Filler: ${"y".repeat(1_000)}\r\n`);
  },
  "/provisional": (socket) => pour(socket, "HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000)),
  "/drip": (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    const drip = setInterval(() => (socket.destroyed ? clearInterval(drip) : socket.write("x")), DRIP_MS);
  },
  "/reset": (socket) => socket.resetAndDestroy(),
  "/half": (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"),
  "/garbage": (socket) => socket.end("SSH-2.0-OpenSSH_9.6\r\n"),
  "/silent": () => {},
};

function pour(socket: Socket, chunk: string): void {
  if (socket.destroyed) return;
  if (socket.write(chunk)) setImmediate(() => pour(socket, chunk));
  else socket.once("drain", () => pour(socket, chunk));
}

const server = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.on("data", (data) => {
    const path = /^[A-Z]+ (\/[a-z]*)/.exec(data.toString("latin1"))?.[1];
    if (path !== undefined) WAYS[path]?.(socket);
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  console.log(address !== null && typeof address === "object" ? address.port : 0);
});
process.stdin.resume();
process.stdin.once("end", () => process.exit(0));
