/** Sends a request by Bun's fetch, to the very address that was judged. */

import { connect } from "node:net";
import type { Answer, Call, Dialler } from "./dial.ts";
import { codeOf, isNotConnected } from "./failure.ts";
import { literalAddress, withoutRootDots } from "./guard.ts";
import { MAX_RESPONSE_BYTES, readBounded } from "./response.ts";

/** No name needs more: a host that refused on all of these is down. */
const MAX_ADDRESSES_TRIED = 4;

/** Hosts that are remembered; past it all are forgotten, and the next delivery to each finds out again. */
const MAX_REMEMBERED = 10_000;
/** A host that takes no connection within this is in doubt. */
const REACHED_MS = 1_000;

/**
 * fetch does not tell whether it is still connecting, which to a host that drops packets takes it two minutes. So a
 * host that nothing is known of is tried by a connection that carries nothing; one that does not take it, and one with
 * which an exchange ended without an answer, is in doubt: what goes there goes by `careful`, which bounds connecting
 * and tries other addresses meanwhile, until one is answered.
 */
export function createFetchDialler(careful: Dialler): Dialler {
  /** Whether it may be dialled by fetch, by origin. */
  const known = new Map<string, boolean>();
  const remember = (origin: string, isWell: boolean) => {
    if (known.size >= MAX_REMEMBERED) known.clear();
    known.set(origin, isWell);
  };
  /** One connection tells all who ask meanwhile. */
  const asked = new Map<string, Promise<void>>();
  const findOut = (call: Call): Promise<void> => {
    const { origin } = call.url;
    const under = asked.get(origin);
    if (under !== undefined) return under;
    const found = isReached(call).then((isWell) => {
      asked.delete(origin);
      if (isWell !== null) remember(origin, isWell);
    });
    asked.set(origin, found);
    return found;
  };
  return {
    dial: async (call) => {
      const { origin } = call.url;
      if (!known.has(origin)) await findOut(call);
      if (known.get(origin) === false) {
        const answer = await careful.dial(call);
        remember(origin, true);
        return answer;
      }
      try {
        return await dialWithFetch(call);
      } catch (thrown) {
        if (call.signal.aborted || codeOf(thrown) === "ETIMEDOUT") remember(origin, false);
        throw thrown;
      }
    },
    close: () => careful.close(),
  };
}

/**
 * Whether the host takes a connection at once, or refuses one: of what goes wrong there fetch tells more. Null when the
 * call was broken off before it showed.
 */
function isReached({ url, addresses, signal }: Call): Promise<boolean | null> {
  if (signal.aborted) return Promise.resolve(null);
  const port = Number(url.port === "" ? DEFAULT_PORTS[url.protocol] : url.port);
  const hostname = literalAddress(url.hostname) ?? url.hostname;
  return new Promise((resolve) => {
    const socket = connect({ host: addresses?.[0] ?? hostname, port });
    const settle = (isWell: boolean | null) => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      resolve(isWell);
    };
    const abort = () => settle(null);
    signal.addEventListener("abort", abort, { once: true });
    socket.setTimeout(REACHED_MS, () => settle(false));
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(true));
  });
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };

/** Dials one address after the other until one connects. */
async function dialWithFetch(call: Call): Promise<Answer> {
  const { url, addresses } = call;
  if (addresses === null || literalAddress(url.hostname) !== null) {
    return new FetchAnswer(await fetch(url.href, initOf(call)));
  }
  let refused: unknown = new TypeError("no address to dial");
  for (const address of addresses.slice(0, MAX_ADDRESSES_TRIED)) {
    try {
      return new FetchAnswer(await fetch(hrefAt(url, address), initAt(call)));
    } catch (thrown) {
      if (!isNotConnected(thrown)) throw thrown;
      refused = thrown;
    }
  }
  throw refused;
}

function initOf(call: Call): BunFetchRequestInit {
  return {
    method: call.method,
    headers: call.headers,
    body: call.body as string | Uint8Array<ArrayBuffer> | null,
    signal: call.signal,
    redirect: "manual",
    // Bun's own limit is five idle minutes, a delivery's is its own.
    timeout: false,
    // Else HTTP_PROXY and its kin would decide the way out.
    proxy: false,
    // Bun unpacks without a bound: 200 KB of gzip were seen to take 200 MB.
    decompress: false,
  };
}

/** The address is dialled, the name is asked for and verified. */
function initAt(call: Call): BunFetchRequestInit {
  const init = initOf(call);
  init.headers = { ...call.headers, host: call.url.host };
  // A server's certificate never has the trailing dot that a name may be written with (RFC 6066, section 3).
  if (call.url.protocol === "https:") init.tls = { serverName: withoutRootDots(call.url.hostname) };
  return init;
}

function hrefAt(url: URL, address: string): string {
  const host = address.includes(":") ? `[${address}]` : address;
  const port = url.port === "" ? "" : `:${url.port}`;
  return `${url.protocol}//${host}${port}${url.pathname}${url.search}`;
}

class FetchAnswer implements Answer {
  readonly #response: Response;

  constructor(response: Response) {
    this.#response = response;
  }

  get status(): number {
    return this.#response.status;
  }

  header(name: string): string | null {
    return this.#response.headers.get(name);
  }

  read(): Promise<string | Uint8Array> {
    const { headers } = this.#response;
    const length = headers.get("content-length");
    const short = length !== null && /^\d{1,5}$/.test(length) && Number(length) <= MAX_RESPONSE_BYTES;
    // Chunks make the length void (RFC 9112, section 6.3). A stream costs a quarter of the throughput.
    if (short && headers.get("transfer-encoding") === null) {
      return headers.get("content-encoding") === null ? this.#response.text() : this.#response.bytes();
    }
    const { body } = this.#response;
    return body === null ? Promise.resolve("") : readBounded(body);
  }
}
