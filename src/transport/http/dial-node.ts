/** Sends a request by node:http, where Bun's fetch is not there to do it or cannot tell how far it came. */

import http from "node:http";
import https from "node:https";
import type { LookupFunction, Socket } from "node:net";
import type { Answer, Call, DialClock, Dialler } from "./dial.ts";
import { codedError } from "./failure.ts";
import { literalAddress, withoutRootDots } from "./guard.ts";
import { readBounded } from "./response.ts";

/** Until a connection is there, TLS included; the system alone would try for two minutes. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** A target has no use for more; without an end to them Deno was seen to take 2 GB. */
const MAX_PROVISIONAL = 100;
/** Idle connections kept for the next delivery to one host. */
const MAX_IDLE_SOCKETS = 256;

/** What agents are made with. An empty proxyEnv, for NODE_USE_ENV_PROXY would let HTTP_PROXY and its kin decide the way out. */
export const AGENT_OPTIONS = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS, proxyEnv: {} };

/** Connections are kept alive and belong to the dialler; closing it closes them. */
export function createNodeDialler(clock: DialClock): Dialler {
  const plain = new http.Agent(AGENT_OPTIONS);
  const secure = new https.Agent(AGENT_OPTIONS);
  return {
    dial: (call) => {
      const { addresses } = call;
      const lookup = addresses === null ? {} : { lookup: lookupIn(addresses) };
      return isSecure(call.url)
        ? send(call, https.request, { ...originOf(call.url), ...lookup, agent: secure }, clock)
        : send(call, http.request, { ...originOf(call.url), ...lookup, agent: plain }, clock);
    },
    close: () => {
      plain.destroy();
      secure.destroy();
    },
  };
}

export function isSecure(url: URL): boolean {
  return url.protocol === "https:";
}

/** Where a URL is to be asked, and the name that its certificate must have. */
export function originOf(url: URL): https.RequestOptions {
  const literal = literalAddress(url.hostname);
  return {
    host: literal ?? url.hostname,
    port: url.port === "" ? (isSecure(url) ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    ...(isSecure(url) && literal === null ? { servername: withoutRootDots(url.hostname) } : {}),
  };
}

/** Sends a call by `request`, to where the options say. Rejects as {@link Dialler.dial} does. */
export function send(
  call: Call,
  request: typeof http.request,
  options: https.RequestOptions,
  clock: DialClock,
): Promise<Answer> {
  const { signal } = call;
  return new Promise((resolve, reject) => {
    const headers = { host: call.url.host, ...call.headers, ...lengthOf(call) };
    const outgoing = request({ ...options, method: call.method, headers });
    const fail = (reason: unknown) => {
      outgoing.destroy();
      reject(reason);
    };
    const abort = () => fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    outgoing.once("close", () => signal.removeEventListener("abort", abort));
    outgoing.on("error", reject);
    outgoing.once("socket", (socket) => {
      // Else Deno 2.9.6 sends it once more when a kept connection is closed, even by us (denoland/deno#36786).
      Object.assign(outgoing, { reusedSocket: false });
      boundConnect(socket, isSecure(call.url), clock, fail);
    });
    let provisional = 0;
    outgoing.on("information", () => {
      provisional++;
      if (provisional > MAX_PROVISIONAL) fail(codedError("EndlessProvisional"));
    });
    outgoing.once("response", (incoming) => resolve(new NodeAnswer(incoming, signal)));
    outgoing.once("upgrade", (_incoming, socket) => {
      socket.destroy();
      reject(codedError("UnrequestedUpgrade"));
    });
    if (call.body === null) outgoing.end();
    else outgoing.end(call.body);
    if (signal.aborted) abort();
  });
}

/** Gives a new connection its time; a kept one is there. */
function boundConnect(socket: Socket, isTls: boolean, clock: DialClock, fail: (reason: Error) => void): void {
  if (!socket.connecting) return;
  const cancel = clock.after(CONNECT_TIMEOUT_MS, () => fail(codedError("ETIMEDOUT")));
  socket.once(isTls ? "secureConnect" : "connect", cancel);
  socket.once("close", cancel);
}

function lengthOf({ method, body }: Call): Record<string, string> {
  if (body !== null) return { "content-length": String(Buffer.byteLength(body)) };
  return method === "GET" || method === "HEAD" ? {} : { "content-length": "0" };
}

/** Answers every question with the addresses that were judged. */
function lookupIn(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return (_hostname, options, callback) => {
    const first = found[0];
    if (options.all === true || first === undefined) callback(null, found);
    else callback(null, first.address, first.family);
  };
}

class NodeAnswer implements Answer {
  readonly status: number;
  readonly #incoming: http.IncomingMessage;
  readonly #signal: AbortSignal;

  constructor(incoming: http.IncomingMessage, signal: AbortSignal) {
    this.status = incoming.statusCode ?? 0;
    this.#incoming = incoming;
    this.#signal = signal;
  }

  header(name: string): string | null {
    const value = this.#incoming.headers[name];
    return value === undefined ? null : String(value);
  }

  async read(): Promise<Uint8Array> {
    const abort = () => this.#incoming.destroy();
    this.#signal.addEventListener("abort", abort, { once: true });
    if (this.#signal.aborted) abort();
    try {
      return await readBounded(this.#incoming);
    } finally {
      this.#signal.removeEventListener("abort", abort);
    }
  }
}
