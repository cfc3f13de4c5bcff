/** A balancer as a Kubernetes service is one: new connections go to servers that are ready, those there are stay. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** How often each server is asked whether it is ready, and how long its answer is waited for. */
const PROBE_EVERY_MS = 150;
const PROBE_TIMEOUT_MS = 1_000;

interface Backend {
  readonly url: string;
  readonly port: number;
  isReady: boolean;
  stopProbing(): void;
}

/** Passes bytes on, and looks at none of them. */
export class ReadinessBalancer {
  /** Connections that came while no server was ready. */
  nowhere = 0;
  /** Servers that were taken for ready and refused a connection, which went to another then. */
  passedOver = 0;
  readonly #backends = new Map<string, Backend>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #turn = 0;

  static async start(): Promise<ReadinessBalancer> {
    const balancer = new ReadinessBalancer();
    await new Promise<void>((resolve) => balancer.#server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return balancer;
  }

  private constructor() {
    this.#server = createServer((client) => this.#serve(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Sends connections to a server whenever it is ready; resolves once it is for the first time. */
  async add(url: string): Promise<void> {
    const ready = Promise.withResolvers<void>();
    let timer: ReturnType<typeof setTimeout>;
    let stopped = false;
    const backend: Backend = {
      url,
      port: Number(new URL(url).port),
      isReady: false,
      stopProbing: () => {
        stopped = true;
        clearTimeout(timer);
      },
    };
    const probe = async () => {
      backend.isReady = await isReady(url);
      if (backend.isReady) ready.resolve();
      if (!stopped) timer = setTimeout(probe, PROBE_EVERY_MS);
    };
    this.#backends.set(url, backend);
    void probe();
    await ready.promise;
  }

  /** Forgets a server that has ended; connections to it are left alone. */
  remove(url: string): void {
    this.#backends.get(url)?.stopProbing();
    this.#backends.delete(url);
  }

  async stop(): Promise<void> {
    for (const { url } of [...this.#backends.values()]) this.remove(url);
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(client: Socket): void {
    this.#track(client);
    this.#pass(client, new Set());
  }

  #pass(client: Socket, tried: Set<Backend>): void {
    const ready = [...this.#backends.values()].filter((backend) => backend.isReady && !tried.has(backend));
    const backend = ready[this.#turn++ % Math.max(1, ready.length)];
    if (backend === undefined) {
      this.nowhere++;
      client.resetAndDestroy();
      return;
    }
    tried.add(backend);
    const server = connect({ host: "127.0.0.1", port: backend.port, allowHalfOpen: true });
    this.#track(server);
    let connected = false;
    server.once("connect", () => {
      connected = true;
      client.pipe(server);
      server.pipe(client);
    });
    server.once("close", () => {
      if (connected) {
        client.destroy();
        return;
      }
      this.passedOver++;
      this.#pass(client, tried);
    });
    client.once("close", () => server.destroy());
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    // Its other half is closed by what follows the error.
    socket.on("error", () => {});
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}
