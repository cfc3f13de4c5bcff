/** Delivers tasks over HTTP: one request, one answer, one outcome. */

import type { Clock } from "../../core/clock.ts";
import type { Target } from "../../core/task.ts";
import type { Delivery, Outcome, TargetProblem, Transport } from "../../core/transport.ts";
import { AllowedHosts } from "./allowed-hosts.ts";
import { checkTarget, methodProblem, type ParsedUrl, parseTargetUrl } from "./check.ts";
import { type Answer, createDialler, type Dialler } from "./dial.ts";
import { deferred, Exchange, noAnswer, refused } from "./exchange.ts";
import { wordsForStatus } from "./failure.ts";
import { Guard, type GuardRules } from "./guard.ts";
import { deliveryHeaders } from "./headers.ts";
import { JudgedResolver, type Resolve, systemResolve } from "./resolve.ts";
import { compressedExcerptOf, excerptOf } from "./response.ts";
import { retryAfterMs } from "./retry-after.ts";
import { signedHeaders } from "./signing.ts";

/** What an HTTP transport is made of. */
export interface HttpTransportOptions extends GuardRules {
  /** `http://[user:password@]host:port` of the only way out; none unless given. */
  readonly proxyUrl?: string | null;
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

/** The transport of `http:` and `https:` URLs. */
export function createHttpTransport(options: HttpTransportOptions): Transport {
  return new HttpTransport(options);
}

class HttpTransport implements Transport {
  readonly name = "http";
  readonly schemes = ["http:", "https:"];
  readonly #guard: Guard;
  readonly #allowedHosts = new AllowedHosts();
  readonly #isProxied: boolean;
  readonly #userAgent: string;
  readonly #clock: Clock;
  readonly #resolver: JudgedResolver;
  readonly #dialler: Dialler;
  readonly #running = new Set<Exchange>();
  readonly #parsed = new Map<string, ParsedUrl>();
  #closed = false;

  constructor(options: HttpTransportOptions) {
    const proxyUrl = options.proxyUrl ?? null;
    this.#guard = new Guard(options);
    this.#isProxied = proxyUrl !== null;
    this.#userAgent = `task-runner/${options.version}`;
    this.#clock = options.clock;
    this.#resolver = new JudgedResolver(this.#guard, options.resolve ?? systemResolve, options.clock);
    this.#dialler = options.dialler ?? createDialler(options.clock, proxyUrl);
  }

  check(target: Target): readonly TargetProblem[] {
    return checkTarget(target, this.#guard);
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
    if (this.#closed) return deferred("close");
    if (signal.aborted) return deferred("worker");
    const parsed = this.#parse(delivery.target.url);
    if (parsed.kind === "problem") return refused(`the URL ${parsed.problem.message}`, "other");
    const wrongMethod = methodProblem(delivery.target);
    if (wrongMethod !== null) return refused(`the request cannot be sent: ${wrongMethod.message}`, "other");
    const notAllowed = this.#allowedHosts.forbids(parsed.url.hostname, delivery.allowedHosts);
    if (notAllowed !== null) return refused(notAllowed, "forbidden");

    const exchange = new Exchange(delivery, parsed.url);
    this.#running.add(exchange);
    const byWorker = () => exchange.end("worker");
    signal.addEventListener("abort", byWorker);
    const cancelTimer = this.#clock.after(delivery.timeoutMs, () => exchange.end("timeout"));
    try {
      const addresses = this.#guard.forbidsNothing ? null : await this.#addressesFor(exchange);
      if (addresses !== null && "kind" in addresses) return addresses;
      const answer = await this.#dialler.dial({
        url: parsed.url,
        addresses,
        method: delivery.target.method,
        headers: signedHeaders(deliveryHeaders(delivery, this.#userAgent), delivery, this.#clock.now()),
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

  /**
   * The addresses that may be dialled, the one to begin with first; or the outcome where there are none. Null leaves
   * the name to the proxy, which may know one that nobody knows here.
   */
  async #addressesFor({ delivery, url, signal }: Exchange): Promise<readonly string[] | null | Outcome> {
    const resolved = await this.#resolver.addressesOf(url.hostname, signal);
    if (resolved.kind === "forbidden")
      return refused(`${resolved.reason}, which is not allowed`, "forbidden");
    if (resolved.kind === "addresses") {
      return this.#isProxied ? null : startingAt(resolved.addresses, delivery.attempt);
    }
    if (!this.#isProxied) return noAnswer(resolved.reason, "dns");
    const local = this.#guard.forbidsUnresolved(url.hostname);
    return local === null ? null : refused(`${local}, which is not allowed`, "forbidden");
  }

  #judge(answer: Answer, responseExcerpt: string | null): Outcome {
    const { status } = answer;
    if (status >= 200 && status < 300) return { kind: "delivered", status, responseExcerpt };
    const mayAskForTime = status === 429 || status === 503;
    return {
      kind: "failed",
      status,
      // Only a proxy answers so, and a person would look for the fault at the target.
      error: `${this.#isProxied && status === 407 ? "the egress proxy " : ""}${wordsForStatus(status)}`,
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
