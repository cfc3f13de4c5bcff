/** Sends a request by node:http, where Bun's fetch is not there to do it. */

import http from "node:http";
import https from "node:https";
import type { LookupFunction } from "node:net";
import type { Answer, Call, Dialler } from "./dial.ts";
import { readBounded } from "./response.ts";

/** Idle connections kept for the next delivery to one host. */
const MAX_IDLE_SOCKETS = 256;

/** Connections are kept alive and belong to the dialler; closing it closes them. */
export function createNodeDialler(): Dialler {
  // An empty proxyEnv, for NODE_USE_ENV_PROXY would let HTTP_PROXY and its kin decide the way out.
  const options = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS, proxyEnv: {} };
  const plain = new http.Agent(options);
  const secure = new https.Agent(options);
  return {
    dial: (call) =>
      call.url.protocol === "https:" ? send(call, https.request, secure) : send(call, http.request, plain),
    close: () => {
      plain.destroy();
      secure.destroy();
    },
  };
}

function send(call: Call, request: typeof http.request, agent: http.Agent): Promise<Answer> {
  const { url, addresses, signal } = call;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      agent,
      method: call.method,
      headers: { ...call.headers, ...lengthOf(call) },
      ...(addresses === null ? {} : { lookup: lookupIn(addresses) }),
    });
    const abort = () => {
      outgoing.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    outgoing.once("close", () => signal.removeEventListener("abort", abort));
    outgoing.on("error", reject);
    outgoing.once("response", (incoming) => resolve(new NodeAnswer(incoming, signal)));
    outgoing.once("upgrade", (_incoming, socket) => {
      socket.destroy();
      reject(Object.assign(new Error("an upgrade that was not asked for"), { code: "UnrequestedUpgrade" }));
    });
    if (call.body === null) outgoing.end();
    else outgoing.end(call.body);
    if (signal.aborted) abort();
  });
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
