/** Real servers for tests to deliver to: one that speaks HTTP and records what it gets, one that writes raw bytes. */

import { createServer, type Server, type Socket } from "node:net";

/** A request as it arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** With its query string. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The body as UTF-8. */
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly arrivedAtMs: number;
  readonly taskId: string | null;
  /** The client's port, which names its connection. */
  readonly connection: number;
  /** Aborts when the client goes away before it was answered. */
  readonly gone: AbortSignal;
}

/**
 * How a request is answered: a status, a whole answer, `held` until {@link TestTarget.release}, `never`,
 * or `endless` (200 and a body that does not end).
 */
export type Reply =
  | number
  | "held"
  | "never"
  | "endless"
  | {
      readonly status?: number;
      readonly headers?: Record<string, string>;
      readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
    };

/** Decides on the spot; what it returns is how the request is answered. */
export type Handler = (request: ReceivedRequest) => Reply | Promise<Reply>;

/** A certificate and its key, as PEM. */
export interface TargetTls {
  readonly cert: string;
  readonly key: string;
}

/** No wait of a test lasts longer unless it says so. */
const DEFAULT_WAIT_MS = 10_000;
/** Written at a time to a body that does not end. */
const ENDLESS_CHUNK = new Uint8Array(64 * 1024).fill(97);

interface Waiter {
  readonly met: () => boolean;
  readonly done: () => void;
}

/** An HTTP target on an ephemeral loopback port; answers 200 `ok` unless told otherwise. */
export class TestTarget {
  /** Everything that arrived, whole, in order of arrival. */
  readonly requests: ReceivedRequest[] = [];
  /** Clients that went away before they were answered. */
  gone = 0;
  /** Bytes handed to endless bodies. */
  endlessBytes = 0;
  readonly #server: Bun.Server<undefined>;
  readonly #handler: Handler | undefined;
  readonly #scripts = new Map<string, Reply[]>();
  readonly #waiters = new Set<Waiter>();
  #held: (() => void)[] = [];

  constructor(handler?: Handler, tls?: TargetTls) {
    this.#handler = handler;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 0,
      ...(tls === undefined ? {} : { tls }),
      fetch: (request, server) => this.#receive(request, server.requestIP(request)?.port ?? 0),
    });
  }

  get port(): number {
    return this.#server.port ?? 0;
  }

  /** The origin, without a slash at its end. */
  get url(): string {
    return this.#server.url.origin;
  }

  /** How many connections the requests came over. */
  get connections(): number {
    return new Set(this.requests.map((request) => request.connection)).size;
  }

  /** Answers requests to `path` (without a query) by these in turn; the last one is repeated. */
  answer(path: string, ...replies: Reply[]): void {
    this.#scripts.set(path, replies);
  }

  /** Answers 200 to all that is held now. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const letGo of held) letGo();
  }

  requestsFor(taskId: string): readonly ReceivedRequest[] {
    return this.requests.filter((request) => request.taskId === taskId);
  }

  /** Resolves with all requests once there are `count`; rejects when they do not come in time. */
  async waitFor(count: number, timeoutMs = DEFAULT_WAIT_MS): Promise<readonly ReceivedRequest[]> {
    await this.#until(() => this.requests.length >= count, `${count} requests`, timeoutMs);
    return this.requests;
  }

  /** Resolves once `count` clients have gone away unanswered. */
  waitForGone(count: number, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    return this.#until(() => this.gone >= count, `${count} clients to go away`, timeoutMs);
  }

  async stop(): Promise<void> {
    this.release();
    await this.#server.stop(true);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #until(met: () => boolean, what: string, timeoutMs: number): Promise<void> {
    if (met()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { met, done: () => settle(resolve) };
      const timer = setTimeout(
        () =>
          settle(() => reject(new Error(`waited ${timeoutMs} ms for ${what}; got ${this.requests.length}`))),
        timeoutMs,
      );
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        end();
      };
      this.#waiters.add(waiter);
    });
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) if (waiter.met()) waiter.done();
  }

  async #receive(request: Request, connection: number): Promise<Response> {
    const arrivedAtMs = Date.now();
    const body = await request.bytes();
    const { pathname, search } = new URL(request.url);
    request.signal.addEventListener("abort", () => {
      this.gone++;
      this.#changed();
    });
    const received: ReceivedRequest = {
      method: request.method,
      path: pathname + search,
      headers: Object.fromEntries(request.headers),
      body,
      text: new TextDecoder().decode(body),
      arrivedAtMs,
      taskId: request.headers.get("x-task-id"),
      connection,
      gone: request.signal,
    };
    this.requests.push(received);
    this.#changed();
    return this.#respond(await this.#replyTo(received, pathname));
  }

  #replyTo(received: ReceivedRequest, pathname: string): Reply | Promise<Reply> {
    const script = this.#scripts.get(pathname);
    const next = script === undefined || script.length <= 1 ? script?.[0] : script.shift();
    return next ?? this.#handler?.(received) ?? { body: "ok" };
  }

  async #respond(reply: Reply): Promise<Response> {
    if (reply === "never") return new Promise(() => {});
    if (reply === "held") {
      await new Promise<void>((released) => this.#held.push(released));
      return new Response("ok");
    }
    if (reply === "endless") return new Response(this.#endlessBody());
    if (typeof reply === "number") return new Response(null, { status: reply });
    const { status = 200, headers = {}, body = null } = reply;
    return new Response(body, { status, headers });
  }

  #endlessBody(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        this.endlessBytes += ENDLESS_CHUNK.length;
        controller.enqueue(ENDLESS_CHUNK);
        // Gives the socket its turn: a stream that is always ready would starve everything else.
        await new Promise<void>((later) => setImmediate(later));
      },
    });
  }
}

/** Starts an HTTP target; stop it, or hold it by `await using`. */
export async function startTarget(handler?: Handler, tls?: TargetTls): Promise<TestTarget> {
  return new TestTarget(handler, tls);
}

/** A target that speaks no HTTP of its own: the test writes the bytes. */
export interface RawTarget {
  readonly port: number;
  readonly url: string;
  /** What each connection sent so far. */
  readonly heard: readonly string[];
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a TCP target on an ephemeral loopback port. `onData` is called for everything a connection sends,
 * with how often that connection has sent something (from 1); it may write, end or destroy the socket.
 */
export async function startRawTarget(
  onData: (socket: Socket, turn: number) => void,
  options: { readonly allowHalfOpen?: boolean } = {},
): Promise<RawTarget> {
  const sockets = new Set<Socket>();
  const heard: string[] = [];
  const server: Server = createServer(options, (socket) => {
    sockets.add(socket);
    const index = heard.push("") - 1;
    let turn = 0;
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (data) => {
      heard[index] += data.toString("latin1");
      turn++;
      onData(socket, turn);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { port, url: `http://127.0.0.1:${port}`, heard, stop, [Symbol.asyncDispose]: stop };
}

/** Writes `chunk` again and again, as fast as it is taken, until the socket is closed; tells how much went out. */
export function pourInto(socket: Socket, chunk: string | Uint8Array): { readonly bytes: () => number } {
  let bytes = 0;
  const pour = () => {
    if (socket.destroyed) return;
    bytes += chunk.length;
    if (socket.write(chunk)) setImmediate(pour);
    else socket.once("drain", pour);
  };
  pour();
  return { bytes: () => bytes };
}

/** A loopback port on which nothing listens. */
export async function unusedPort(): Promise<number> {
  const target = await startRawTarget(() => {});
  await target.stop();
  return target.port;
}
