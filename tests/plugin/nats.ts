/** Runs a NATS server of a test's own on loopback, and looks into its streams. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

const START_TIMEOUT_MS = 10_000;

export interface NatsServer {
  /** host:port */
  readonly address: string;
  readonly port: number;
  /** Ends it; what its streams hold stays for the next start in the same place. */
  stop(): Promise<void>;
}

export interface NatsOptions {
  /** A free one unless told. */
  readonly port?: number;
  /** Where its streams lie; a place of its own unless told. */
  readonly storeDir?: string;
  readonly token?: string;
}

/** Starts `nats-server` with JetStream; rejects when it does not come up. */
export async function startNats({ port, storeDir, token }: NatsOptions = {}): Promise<NatsServer> {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-nats-"));
  const args = ["-a", "127.0.0.1", "-p", String(port ?? -1), "--ports_file_dir", dir];
  args.push("-js", "-sd", storeDir ?? dir, ...(token === undefined ? [] : ["--auth", token]));
  const found = Promise.withResolvers<number>();
  const watcher = watch(dir, () => {
    const taken = portIn(dir);
    if (taken !== null) found.resolve(taken);
  });
  const child = Bun.spawn(["nats-server", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const log = new Response(child.stderr).text();
  const timer = setTimeout(
    () => found.reject(new Error("nats-server did not come up in time")),
    START_TIMEOUT_MS,
  );
  child.exited.then(async (status) =>
    found.reject(new Error(`nats-server ended with status ${status}: ${await log}`)),
  );
  try {
    const taken = await found.promise;
    return {
      address: `127.0.0.1:${taken}`,
      port: taken,
      stop: async () => {
        child.kill("SIGTERM");
        await child.exited;
        rmSync(dir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    await child.exited;
    rmSync(dir, { recursive: true, force: true });
    throw error;
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

/** The port in the file that the server writes once it listens. */
function portIn(dir: string): number | null {
  const name = readdirSync(dir).find((file) => file.endsWith(".ports"));
  const text = name === undefined ? "" : readFileSync(join(dir, name), "utf8");
  const port = /nats:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
  return port === undefined ? null : Number(port);
}

/** A message that a stream holds. */
export interface Stored {
  readonly subject: string;
  readonly body: Uint8Array;
  header(name: string): string;
}

/** A stream as a test sees it, over a connection of its own. */
export class StreamView {
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #name: string;
  readonly #seen: Stored[] = [];
  #lastSeq = 0;

  private constructor(connection: NatsConnection, manager: JetStreamManager, name: string) {
    this.#connection = connection;
    this.#manager = manager;
    this.#name = name;
  }

  /** Makes the stream, unless it is there, with what `limits` says. */
  static async of(
    address: string,
    name: string,
    subjects: string[],
    { token, maxMessages }: { readonly token?: string; readonly maxMessages?: number } = {},
  ): Promise<StreamView> {
    const connection = await connect({ servers: address, ...(token === undefined ? {} : { token }) });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({
      name,
      subjects,
      ...(maxMessages === undefined ? {} : { max_msgs: maxMessages, discard: "new" as const }),
    });
    return new StreamView(connection, manager, name);
  }

  /** Everything that it has stored so far, in order. */
  async stored(): Promise<readonly Stored[]> {
    const { state } = await this.#manager.streams.info(this.#name);
    while (this.#lastSeq < state.last_seq) {
      this.#lastSeq++;
      const message = await this.#manager.streams.getMessage(this.#name, { seq: this.#lastSeq });
      if (message === null) throw new Error(`message ${this.#lastSeq} is gone`);
      this.#seen.push({
        subject: message.subject,
        body: message.data,
        header: (name) => message.header.get(name),
      });
    }
    return this.#seen;
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}

/** Something on loopback that speaks first, as NATS servers do, but not as they do. */
export interface Impostor {
  readonly address: string;
  stop(): Promise<void>;
}

/** Calls `onConnection` with everyone who connects. */
export async function startImpostor(onConnection: (socket: Socket) => void): Promise<Impostor> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return {
    address: `127.0.0.1:${address.port}`,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
