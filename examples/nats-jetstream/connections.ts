/** One connection for each server, made when it is first needed and given up when it breaks. */

import {
  type Authenticator,
  connect,
  credsAuthenticator,
  type NatsConnection,
  tokenAuthenticator,
} from "@nats-io/transport-node";

/** Who we are, and how we talk. */
export interface ConnectionOptions {
  /** Told to the server. */
  readonly name: string;
  readonly token: string | undefined;
  /** The content of a .creds file. */
  readonly creds: string | undefined;
  /** Whether a connection without TLS is refused; where the server asks for TLS it is used in any case. */
  readonly tls: boolean;
}

/** How long a server may take until it has greeted us. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection on which two of these in a row are not answered is dead. */
const PING_INTERVAL_MS = 10_000;

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #open = new Map<string, Promise<NatsConnection>>();
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The connection to a server. Rejects when it cannot be reached; the next call tries again. */
  get(server: string): Promise<NatsConnection> {
    const known = this.#open.get(server);
    if (known !== undefined) return known;
    const opening = this.#connect(server);
    this.#open.set(server, opening);
    const forget = () => {
      if (this.#open.get(server) === opening) this.#open.delete(server);
    };
    opening.then((connection) => connection.closed()).then(forget, forget);
    return opening;
  }

  async #connect(server: string): Promise<NatsConnection> {
    const { name, token, creds, tls } = this.#options;
    const authenticator: Authenticator[] = [];
    if (token !== undefined) authenticator.push(tokenAuthenticator(token));
    if (creds !== undefined) authenticator.push(credsAuthenticator(new TextEncoder().encode(creds)));
    const connection = await connect({
      servers: server,
      name,
      timeout: CONNECT_TIMEOUT_MS,
      // A cluster would tell of servers that nobody listed.
      ignoreClusterUpdates: true,
      // Tasks are tried again by Task Runner: a broken connection must fail them, not hold them.
      reconnect: false,
      pingInterval: PING_INTERVAL_MS,
      ...(authenticator.length > 0 ? { authenticator } : {}),
      ...(tls ? { tls: {} } : {}),
    });
    if (this.#closed) await connection.close();
    return connection;
  }

  /** Closes them; one that is still being made is closed once it is there. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    const closing = [...this.#open.values()].map(async (opening) => (await opening).close());
    this.#open.clear();
    // Who waits for a server that does not greet would wait for CONNECT_TIMEOUT_MS.
    await Promise.race([
      Promise.allSettled(closing),
      new Promise((resolve) => setTimeout(resolve, CLOSE_WAIT_MS)),
    ]);
  }
}

const CLOSE_WAIT_MS = 500;
