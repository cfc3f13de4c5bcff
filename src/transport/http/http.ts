/** Delivers tasks over HTTP: one request, one answer, one outcome. */

import type { Clock } from "../../core/clock.ts";
import type { Target } from "../../core/task.ts";
import type { Delivery, Outcome, TargetProblem, Transport } from "../../core/transport.ts";
import { checkTarget, methodProblem, type ParsedUrl, parseTargetUrl } from "./check.ts";
import { type Answer, createDialler, type Dialler } from "./dial.ts";
import { durationWords, wordsFor, wordsForStatus } from "./failure.ts";
import { deliveryHeaders } from "./headers.ts";
import { type Resolve, resolvePublic, systemResolve } from "./resolve.ts";
import { compressedExcerptOf, excerptOf } from "./response.ts";
import { retryAfterMs } from "./retry-after.ts";

/** What an HTTP transport is made of. */
export interface HttpTransportOptions {
  /** Whether addresses of this machine and its networks may be called; names are then not resolved here. */
  readonly allowPrivate: boolean;
  /** Task Runner's own version, told to targets. */
  readonly version: string;
  readonly clock: Clock;
  /** Finds the addresses of a name; the system's resolver unless given. */
  readonly resolve?: Resolve;
  /** Sends the requests; the runtime's own way unless given. */
  readonly dialler?: Dialler;
}

/** Tasks tend to call the same few URLs, and reading one costs more than finding it; what it names is still judged anew. */
const MAX_PARSED_URLS = 256;

/** Why an exchange was ended by this side. */
type Ending = "timeout" | "worker" | "close";

type Failure = Extract<Outcome, { kind: "failed" }>;

/** The transport of `http:` and `https:` URLs. */
export function createHttpTransport(options: HttpTransportOptions): Transport {
  return new HttpTransport(options);
}

class HttpTransport implements Transport {
  readonly name = "http";
  readonly schemes = ["http:", "https:"];
  readonly #allowPrivate: boolean;
  readonly #userAgent: string;
  readonly #clock: Clock;
  readonly #resolve: Resolve;
  readonly #dialler: Dialler;
  readonly #running = new Set<Exchange>();
  readonly #parsed = new Map<string, ParsedUrl>();
  #closed = false;

  constructor(options: HttpTransportOptions) {
    this.#allowPrivate = options.allowPrivate;
    this.#userAgent = `task-runner/${options.version}`;
    this.#clock = options.clock;
    this.#resolve = options.resolve ?? systemResolve;
    this.#dialler = options.dialler ?? createDialler();
  }

  check(target: Target): readonly TargetProblem[] {
    return checkTarget(target, this.#allowPrivate);
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
    if (this.#closed) return deferred("close");
    if (signal.aborted) return deferred("worker");
    const parsed = this.#parse(delivery.target.url);
    if (parsed.kind === "problem") return refused(`the URL ${parsed.problem.message}`);
    const wrongMethod = methodProblem(delivery.target);
    if (wrongMethod !== null) return refused(`the request cannot be sent: ${wrongMethod.message}`);

    const exchange = new Exchange(delivery, parsed.url);
    this.#running.add(exchange);
    const byWorker = () => exchange.end("worker");
    signal.addEventListener("abort", byWorker);
    const cancelTimer = this.#clock.after(delivery.timeoutMs, () => exchange.end("timeout"));
    try {
      const addresses = this.#allowPrivate ? null : await this.#addressesFor(exchange);
      if (addresses !== null && "kind" in addresses) return addresses;
      const answer = await this.#dialler.dial({
        url: parsed.url,
        addresses,
        method: delivery.target.method,
        headers: deliveryHeaders(delivery, this.#userAgent),
        body: delivery.target.body,
        signal: exchange.signal,
      });
      exchange.status = answer.status;
      return this.#judge(answer, await readExcerpt(answer));
    } catch (thrown) {
      return exchange.broken(thrown);
    } finally {
      cancelTimer();
      signal.removeEventListener("abort", byWorker);
      this.#running.delete(exchange);
    }
  }

  #parse(text: string): ParsedUrl {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const parsed = parseTargetUrl(text);
    if (this.#parsed.size >= MAX_PARSED_URLS) this.#parsed.clear();
    this.#parsed.set(text, parsed);
    return parsed;
  }

  /** The addresses that may be dialled, the one to begin with first; or the outcome where there are none. */
  async #addressesFor({ delivery, url, signal }: Exchange): Promise<readonly string[] | Outcome> {
    const resolved = await resolvePublic(url.hostname, this.#resolve, signal);
    if (resolved.kind === "forbidden") return refused(`${resolved.reason}, which is not allowed`);
    if (resolved.kind === "unknown") return noAnswer(`name does not resolve: ${url.hostname}`);
    return startingAt(resolved.addresses, delivery.attempt);
  }

  #judge(answer: Answer, responseExcerpt: string | null): Outcome {
    const { status } = answer;
    if (status >= 200 && status < 300) return { kind: "delivered", status, responseExcerpt };
    const mayAskForTime = status === 429 || status === 503;
    return {
      kind: "failed",
      status,
      error: wordsForStatus(status),
      responseExcerpt,
      permanent: answer.header("x-task-retry")?.trim().toLowerCase() === "no",
      retryAfterMs: mayAskForTime ? retryAfterMs(answer.header("retry-after"), this.#clock.now()) : null,
      hostAtFault: status >= 500,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const exchange of this.#running) exchange.end("close");
    this.#dialler.close();
  }
}

/** One exchange under way, how far it came, and who ended it when it did not end by itself. */
class Exchange {
  readonly delivery: Delivery;
  readonly url: URL;
  readonly signal: AbortSignal;
  /** The answer's status, once its head has come. */
  status: number | null = null;
  readonly #stop = new AbortController();
  #ending: Ending | null = null;

  constructor(delivery: Delivery, url: URL) {
    this.delivery = delivery;
    this.url = url;
    this.signal = this.#stop.signal;
  }

  end(ending: Ending): void {
    this.#ending ??= ending;
    this.#stop.abort();
  }

  /** The outcome of an exchange that did not come to its end. */
  broken(thrown: unknown): Outcome {
    const { status } = this;
    if (this.#ending === "timeout") {
      return { ...noAnswer(`timed out after ${durationWords(this.delivery.timeoutMs)}`), status };
    }
    if (this.#ending !== null) return deferred(this.#ending);
    // A runtime's error does not tell reliably that the request was at fault; the request itself does.
    const [problem] = status === null ? checkTarget(this.delivery.target, true) : [];
    if (problem !== undefined)
      return refused(`the request cannot be sent: ${problem.path} ${problem.message}`);
    return { ...noAnswer(wordsFor(thrown, this.url.hostname)), status };
  }
}

/** The start of an answer's body, once it was read. */
async function readExcerpt(answer: Answer): Promise<string | null> {
  const body = await answer.read();
  const encoding = answer.header("content-encoding");
  return typeof body === "string" || encoding === null || encoding === "identity"
    ? excerptOf(body)
    : compressedExcerptOf(body, encoding);
}

/** A name's addresses in turn, so that a retry does not wait on the dead one its last attempt waited on. */
function startingAt(addresses: readonly string[], attempt: number): readonly string[] {
  const first = (attempt - 1) % addresses.length;
  return first > 0 ? [...addresses.slice(first), ...addresses.slice(0, first)] : addresses;
}

function deferred(by: "worker" | "close"): Outcome {
  const reason = by === "worker" ? "broken off by the worker" : "the transport was closed";
  return { kind: "deferred", afterMs: 0, reason };
}

/** A failure that no repetition can turn into a success: nothing was sent. */
function refused(error: string): Failure {
  return { ...noAnswer(error), permanent: true, hostAtFault: false };
}

function noAnswer(error: string): Failure {
  return {
    kind: "failed",
    status: null,
    error,
    responseExcerpt: null,
    permanent: false,
    retryAfterMs: null,
    hostAtFault: true,
  };
}
