/** Sends a request by Bun's fetch, to the very address that was judged. */

import type { Answer, Call, Dialler } from "./dial.ts";
import { codeOf, isNotConnected } from "./failure.ts";
import { literalAddress, withoutRootDots } from "./guard.ts";
import { MAX_RESPONSE_BYTES, readBounded } from "./response.ts";

/** No name needs more: a host that refused on all of these is down. */
const MAX_ADDRESSES_TRIED = 4;

/** Hosts in doubt that are remembered; past it all are forgotten, and the next delivery to each tells again. */
const MAX_DOUBTFUL = 1_000;

/**
 * fetch does not tell whether it is still connecting, which to a host that drops packets takes it two minutes. So
 * where an exchange ended without an answer, the host's next one goes by `careful`, which bounds that and tries other
 * addresses meanwhile, until one is answered.
 */
export function createFetchDialler(careful: Dialler): Dialler {
  const doubtful = new Set<string>();
  return {
    dial: async (call) => {
      const { host } = call.url;
      if (doubtful.has(host)) {
        const answer = await careful.dial(call);
        doubtful.delete(host);
        return answer;
      }
      try {
        return await dialWithFetch(call);
      } catch (thrown) {
        if (call.signal.aborted || codeOf(thrown) === "ETIMEDOUT") {
          if (doubtful.size >= MAX_DOUBTFUL) doubtful.clear();
          doubtful.add(host);
        }
        throw thrown;
      }
    },
    close: () => careful.close(),
  };
}

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
