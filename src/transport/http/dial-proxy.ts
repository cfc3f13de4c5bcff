/** Sends a request through an HTTP proxy: by a tunnel for https, by the whole URL for http. The proxy resolves the names. */

import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { hostInUrl } from "../../core/address.ts";
import type { DialClock, Dialler } from "./dial.ts";
import { AGENT_OPTIONS, CONNECT_TIMEOUT_MS, isSecure, originOf, send } from "./dial-node.ts";
import { codedError, ProxyFailure, proxyFailureFor } from "./failure.ts";
import { literalAddress } from "./guard.ts";

/** Where the proxy is, and what it is told of us. */
interface Proxy {
  readonly host: string;
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a tunnel is made by: `unwanted` aborts with the delivery that it is for, before there is a socket to close. */
interface TunnelOptions extends https.RequestOptions {
  readonly unwanted?: AbortSignal;
}

type OnSocket = (error: Error | null, socket: Duplex) => void;

/**
 * A dialler through `http://[user:password@]host:port`, whose login goes to the proxy and to nobody else. The
 * addresses of a call are of no use here: the proxy is asked for the name, which it may know better or filter by.
 */
export function createProxyDialler(proxyUrl: string, clock: DialClock): Dialler {
  const proxy = readProxy(new URL(proxyUrl));
  const plain = new http.Agent(AGENT_OPTIONS);
  const tunnels = new TunnelAgent(proxy, clock);
  return {
    dial: async (call) => {
      if (isSecure(call.url)) {
        const options: TunnelOptions = { ...originOf(call.url), agent: tunnels, unwanted: call.signal };
        return await send(call, https.request, options, clock);
      }
      const { url } = call;
      const path = `${url.origin}${url.pathname}${url.search}`;
      const headers = { ...call.headers, host: url.host, ...proxy.headers };
      const options = { host: proxy.host, port: proxy.port, path, agent: plain };
      return await send({ ...call, headers }, http.request, options, clock).catch((thrown: unknown) => {
        throw proxyFailureFor(thrown) ?? thrown;
      });
    },
    close: () => {
      plain.destroy();
      tunnels.destroy();
    },
  };
}

function readProxy({ hostname, port, username, password }: URL): Proxy {
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization = `Basic ${Buffer.from(login).toString("base64")}`;
  return {
    host: literalAddress(hostname) ?? hostname,
    port: port === "" ? 80 : Number(port),
    headers: login === ":" ? {} : { "proxy-authorization": authorization },
  };
}

/** Makes TLS connections that begin behind the proxy, and keeps them as any agent does. */
class TunnelAgent extends https.Agent {
  readonly #proxy: Proxy;
  readonly #clock: DialClock;
  // Deno's tls.connect knows the authorities of NODE_EXTRA_CA_CERTS only when it is told of them.
  readonly #trust = tls.createSecureContext({ ca: tls.getCACertificates("default") });

  constructor(proxy: Proxy, clock: DialClock) {
    super(AGENT_OPTIONS);
    this.#proxy = proxy;
    this.#clock = clock;
  }

  override createConnection(options: TunnelOptions, onSocket: OnSocket): undefined {
    const { port, servername, unwanted } = options;
    const host = options.host ?? "";
    const authority = `${hostInUrl(host)}:${port}`;
    this.#connect(authority, unwanted).then(
      (socket) => {
        const secure = tls.connect({
          socket,
          host,
          secureContext: this.#trust,
          ...(servername === undefined || servername === "" ? {} : { servername }),
        });
        this.#boundHandshake(secure);
        onSocket(null, secure);
      },
      // Typed as if there were a socket in any case.
      (reason: Error) => (onSocket as (error: Error) => void)(reason),
    );
  }

  /** Asks the proxy for a connection to `authority`. */
  #connect(authority: string, unwanted: AbortSignal | undefined): Promise<Duplex> {
    const { host, port, headers } = this.#proxy;
    return new Promise((resolve, reject) => {
      const asking = http.request({
        host,
        port,
        method: "CONNECT",
        path: authority,
        headers: { host: authority, ...headers },
        agent: false,
      });
      const fail = (reason: unknown) => {
        asking.destroy();
        reject(proxyFailureFor(reason) ?? new ProxyFailure("the egress proxy broke off", true));
      };
      const abort = () => fail(codedError("ABORT_ERR"));
      const cancelTimer = this.#clock.after(CONNECT_TIMEOUT_MS, () => fail(codedError("ETIMEDOUT")));
      const settle = () => {
        cancelTimer();
        unwanted?.removeEventListener("abort", abort);
      };
      unwanted?.addEventListener("abort", abort, { once: true });
      asking.once("close", settle);
      asking.on("error", fail);
      asking.once("connect", (answer, socket, head) => {
        settle();
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300 && head.length === 0) return resolve(socket);
        socket.destroy();
        reject(ProxyFailure.answered(status));
      });
      // Some runtimes tell of a refusal so.
      asking.once("response", (answer) => fail(ProxyFailure.answered(answer.statusCode ?? 0)));
      asking.end();
      if (unwanted?.aborted === true) abort();
    });
  }

  #boundHandshake(socket: tls.TLSSocket): void {
    const cancel = this.#clock.after(CONNECT_TIMEOUT_MS, () => socket.destroy(codedError("ETIMEDOUT")));
    socket.once("secureConnect", cancel);
    socket.once("close", cancel);
  }
}
