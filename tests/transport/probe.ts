/**
 * Delivers in a process of its own, under Bun or Deno, so that its environment and its runtime can be chosen.
 * Takes one JSON argument, {@link ProbeRequest}; prints the results as one line of JSON.
 */

import type { Outcome } from "../../src/core/transport.ts";
import { createDialler } from "../../src/transport/http/dial.ts";
import { wordsFor } from "../../src/transport/http/failure.ts";
import { createHttpTransport, type HttpTransportOptions } from "../../src/transport/http/http.ts";
import { realClock } from "./fixtures.ts";

export interface ProbeRequest {
  /** Delivered by a transport; `abortAfterMs` is the worker's abort. */
  readonly deliver?: readonly {
    readonly url: string;
    readonly timeoutMs?: number;
    readonly abortAfterMs?: number;
    readonly allowPrivate?: boolean;
    readonly method?: string;
    readonly body?: string | null;
    readonly headers?: Record<string, string>;
    /** Sent in the place of the body. */
    readonly bytes?: readonly number[];
    readonly signingSecrets?: readonly string[];
  }[];
  /** What one transport for all deliveries is made with; without it each has its own. */
  readonly shared?: Partial<Pick<HttpTransportOptions, "allowPrivate" | "proxyUrl">>;
  /** Sent straight to an address, past the guard, which would refuse a loopback one. */
  readonly dial?: readonly { readonly url: string; readonly addresses: readonly string[] }[];
}

export interface ProbeResult {
  readonly outcomes: readonly Outcome[];
  /** The answer's status and text, or why there was none. */
  readonly dialled: readonly string[];
}

async function probe(request: ProbeRequest): Promise<ProbeResult> {
  const clock = realClock;
  const transportWith = (options: Partial<HttpTransportOptions>) =>
    createHttpTransport({ allowPrivate: true, version: "1.2.3", clock, ...options });
  const shared = request.shared === undefined ? null : transportWith(request.shared);
  const outcomes: Outcome[] = [];
  for (const [index, call] of (request.deliver ?? []).entries()) {
    const { url, method = "POST", body = "hello", headers = {}, timeoutMs = 5_000 } = call;
    const transport = shared ?? transportWith({ allowPrivate: call.allowPrivate ?? true });
    const abort = new AbortController();
    if (call.abortAfterMs !== undefined) setTimeout(() => abort.abort(), call.abortAfterMs);
    const delivery = {
      taskId: `probe-${index}`,
      queue: "default",
      target: { url, method, headers, body: call.bytes === undefined ? body : Uint8Array.from(call.bytes) },
      attempt: 1,
      fence: 1,
      scheduledAtMs: 0,
      timeoutMs,
      traceparent: null,
      allowedHosts: null,
      signingSecrets: call.signingSecrets ?? [],
    };
    outcomes.push(await transport.deliver(delivery, abort.signal));
    if (shared === null) await transport.close();
  }
  await shared?.close();
  const dialler = createDialler(clock, null);
  const dialled: string[] = [];
  for (const { url, addresses } of request.dial ?? []) {
    const signal = AbortSignal.timeout(5_000);
    const call = { url: new URL(url), addresses, method: "POST", headers: {}, body: "hello", signal };
    dialled.push(
      await dialler
        .dial(call)
        .then(async (answer) => {
          const body = await answer.read();
          return `${answer.status} ${typeof body === "string" ? body : new TextDecoder().decode(body)}`;
        })
        .catch((thrown: unknown) => wordsFor(thrown, call.url.hostname)),
    );
  }
  dialler.close();
  return { outcomes, dialled };
}

const argument = process.argv[2];
if (argument !== undefined) console.log(JSON.stringify(await probe(JSON.parse(argument))));
