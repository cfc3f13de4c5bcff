/** One address in front of several servers, as a load balancer or a Kubernetes service gives it. */

import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { HostPort } from "../../../src/store/redis/address.ts";

export interface Balancer extends HostPort {
  /** How many connections each backend was given. */
  readonly served: readonly number[];
  /** Breaks off every connection and stops listening. */
  stop(): Promise<void>;
}

/** Hands connections to the backends in turn; one that refuses is passed over, one that hangs is not. */
export async function startBalancer(backends: readonly HostPort[]): Promise<Balancer> {
  const served = backends.map(() => 0);
  const sockets = new Set<Socket>();
  let turn = 0;
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Its other half is closed by what follows the error.
    socket.on("error", () => {});
  };
  const serve = (client: Socket, triesLeft: number) => {
    const at = turn++ % backends.length;
    const backend = backends[at];
    if (backend === undefined || triesLeft === 0) return client.destroy();
    const server = connect(backend);
    track(server);
    let connected = false;
    server.once("connect", () => {
      connected = true;
      served[at] = (served[at] ?? 0) + 1;
      client.pipe(server);
      server.pipe(client);
    });
    server.once("close", () => (connected ? client.destroy() : serve(client, triesLeft - 1)));
    client.once("close", () => server.destroy());
  };
  const listener = createServer((client) => {
    track(client);
    serve(client, backends.length);
  });
  await new Promise<void>((resolve) => listener.listen({ host: "127.0.0.1", port: 0 }, resolve));
  return {
    host: "127.0.0.1",
    port: (listener.address() as AddressInfo).port,
    served,
    stop: async () => {
      const closed = new Promise((resolve) => listener.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
