/** Sends a request by Bun's fetch, to the very address that was judged. */

import type { Answer, Call } from "./dial.ts";
import { isNotConnected } from "./failure.ts";
import { literalAddress } from "./guard.ts";
import { MAX_RESPONSE_BYTES, readBounded } from "./response.ts";

/** No name needs more: a host that refused on all of these is down. */
const MAX_ADDRESSES_TRIED = 4;

/** Dials one address after the other until one connects. */
export async function dialWithFetch(call: Call): Promise<Answer> {
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
  if (call.url.protocol === "https:") init.tls = { serverName: call.url.hostname.replace(/\.+$/, "") };
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
