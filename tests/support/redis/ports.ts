/** Free loopback ports for servers that cannot be asked to take port 0 and tell which it became. */

import { createServer, type Server } from "node:net";

/**
 * Below the range that systems take the ports of outgoing connections from: otherwise a client that dials a
 * stopped server could be given that very port, which blocks its restart or connects the client to itself.
 */
const LOWEST = 15_000;
const HIGHEST = 32_000;
const MAX_TRIES = 200;

/** `count` different ports on which nothing listens right now. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < count; tries++) {
      if (tries > MAX_TRIES + count)
        throw new Error(`no ${count} free ports between ${LOWEST} and ${HIGHEST}`);
      const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
      const server = await listen(port);
      if (server === null) continue;
      held.push(server);
      ports.push(port);
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** A server on the port, or null when it is taken. */
function listen(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(server));
  });
}
