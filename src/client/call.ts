/** Sends one request of the client: with its keys, within its time, and once more where that is asked for and safe. */

import { ApiError, errorOf } from "./error.ts";
import { pause } from "./pause.ts";

export interface ClientOptions {
  /** Where the server is, with its PATH_PREFIX if it has one. */
  readonly url: string;
  /** A key of a client, `trk.…`. */
  readonly apiKey?: string;
  /** The server's ADMIN_API_KEY; it opens everything. */
  readonly adminKey?: string;
  /** How long a call may take, its repeats and their waits included, in milliseconds; 30,000 unless told. */
  readonly timeoutMs?: number;
  /** How often a call that is safe to repeat is repeated when it is answered 429 or 503; 3 unless told, 0 for never. */
  readonly maxRepeats?: number;
  /** Sends the requests in place of the runtime's own. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Of a single call. */
export interface CallOptions {
  /** Breaks the call off, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** In place of the client's own. */
  readonly timeoutMs?: number | undefined;
}

export interface Sending {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** From the base on, its parts encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Whether a second sending does nothing that the first has not done. */
  readonly repeatable: boolean;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest that timers of all runtimes take. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const DEFAULT_REPEATS = 3;
/** Where an answer asks to come back and does not say when. */
const DEFAULT_RETRY_AFTER_SEC = 1;
/** So that many who were told the same do not come back at once. */
const SPREAD_MS = 250;

export class Caller {
  readonly timeoutMs: number;
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #maxRepeats: number;
  readonly #fetch: NonNullable<ClientOptions["fetch"]>;

  /** Throws a TypeError for a URL that is none, a RangeError for a time that is none. */
  constructor({ url, apiKey, adminKey, timeoutMs, maxRepeats, fetch }: ClientOptions) {
    this.#base = baseOf(url);
    this.timeoutMs = checkedTimeout(timeoutMs ?? DEFAULT_TIMEOUT_MS);
    this.#maxRepeats = maxRepeats ?? DEFAULT_REPEATS;
    this.#headers = {
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
      ...(adminKey !== undefined && { "x-admin-key": adminKey }),
    };
    // Looked up at each call, for programs that replace it later.
    this.#fetch = fetch ?? ((to, init) => globalThis.fetch(to, init));
  }

  /** The JSON that is answered. Rejects with an ApiError, or with the signal's reason. */
  async json<T>(sending: Sending, { signal, timeoutMs = this.timeoutMs }: CallOptions = {}): Promise<T> {
    const endMs = performance.now() + checkedTimeout(timeoutMs);
    const within = new Within(timeoutMs, signal);
    try {
      for (let repeats = 0; ; repeats++) {
        const answer = await this.#once(sending, within.signal);
        if (!(answer instanceof ApiError)) return answer.value as T;
        if (!sending.repeatable || repeats >= this.#maxRepeats || !isBusy(answer)) throw answer;
        const afterMs = (answer.retryAfterSec ?? DEFAULT_RETRY_AFTER_SEC) * 1_000 + Math.random() * SPREAD_MS;
        // Waiting for what cannot come in time helps nobody.
        if (performance.now() + afterMs >= endMs) throw answer;
        await pause(afterMs, within.signal);
      }
    } finally {
      within.close();
    }
  }

  async #once(sending: Sending, signal: AbortSignal): Promise<{ readonly value: unknown } | ApiError> {
    const { method, path, query, body, headers } = sending;
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(`${this.#base}${path}${queryOf(query ?? {})}`, {
        method,
        headers: {
          accept: "application/json",
          ...(body !== undefined && { "content-type": "application/json" }),
          ...this.#headers,
          ...given(headers ?? {}),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        // The API sends nobody elsewhere, and keys are not to be shown to whoever does.
        redirect: "error",
        signal,
      });
      text = await response.text();
    } catch (thrown) {
      throw signal.aborted ? signal.reason : unreachable(thrown);
    }
    if (!response.ok) return errorOf(response, text);
    try {
      return { value: JSON.parse(text) };
    } catch {
      return errorOf(response, text);
    }
  }
}

/** The time that a call has, and whoever may break it off: aborted by either, with what the call then rejects with. */
class Within {
  readonly signal: AbortSignal;
  /** Ends the watch; to be called whatever came of the call. */
  readonly close: () => void;

  constructor(timeoutMs: number, given: AbortSignal | undefined) {
    given?.throwIfAborted();
    const controller = new AbortController();
    this.signal = controller.signal;
    const onAbort = () => controller.abort(given?.reason);
    given?.addEventListener("abort", onAbort, { once: true });
    const late = { code: "timed_out", message: `No answer came within ${timeoutMs} ms.` } as const;
    const timer = setTimeout(() => controller.abort(new ApiError(late)), timeoutMs);
    this.close = () => {
      clearTimeout(timer);
      given?.removeEventListener("abort", onAbort);
    };
  }
}

/** Whether it may go well later: wrong keys that come too often do not become right. */
function isBusy({ status, code }: ApiError): boolean {
  return (status === 429 || status === 503) && code !== "too_many_attempts";
}

function unreachable(cause: unknown): ApiError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ApiError({ code: "unreachable", message: `No answer came: ${why}`, cause });
}

function baseOf(url: string): string {
  const { protocol, origin, pathname, search, hash } = new URL(url);
  if (!/^https?:$/.test(protocol) || search !== "" || hash !== "") {
    throw new TypeError("url has to be http: or https:, with a path at most");
  }
  return `${origin}${pathname.replace(/\/+$/, "")}`;
}

function checkedTimeout(ms: number): number {
  if (ms > 0 && ms <= MAX_TIMEOUT_MS) return ms;
  throw new RangeError(`a timeout is more than 0 and at most ${MAX_TIMEOUT_MS} ms`);
}

function queryOf(query: NonNullable<Sending["query"]>): string {
  const text = new URLSearchParams(given(query)).toString();
  return text === "" ? "" : `?${text}`;
}

function given(values: Readonly<Record<string, string | number | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}
