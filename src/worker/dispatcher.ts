/** Takes one claimed task through policies and transport to its settlement. */

import type { Clock, Random } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { defaultRetryPolicy, type RetryPolicy } from "../core/retry.ts";
import type { Judge } from "../core/settling.ts";
import type { ClaimedTask, Settlement } from "../core/store.ts";
import type { Delivery, Outcome, ReleaseCause, Transport } from "../core/transport.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { AttemptTrace, Tracing } from "../telemetry/tracing.ts";
import type { Breakers } from "./policies.ts";
import { callOf } from "./rules.ts";
import { Run } from "./run.ts";
import { released, settlementOf, undelivered } from "./settlement.ts";
import type { Signing } from "./signing.ts";

/** Finds the transport that owns a url's scheme. */
export interface TransportSource {
  for(url: string): Transport | undefined;
}

export interface DispatcherOptions {
  /** The worker's id, kept with every attempt. */
  readonly id: string;
  readonly transports: TransportSource;
  readonly breakers: Breakers;
  readonly signing: Pick<Signing, "secretsFor">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Null where nothing is traced. */
  readonly tracing: Pick<Tracing, "attempt"> | null;
  /** Upper bound of any one attempt. */
  readonly taskTimeoutMs: number;
  /** Retries after the first attempt of a task that does not say. */
  readonly maxRetries: number;
  /** Ids of the tasks that follow one that ended, as `idGenerator` makes them. */
  readonly newId: (nowMs: number) => string;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #retry: RetryPolicy;
  /** Transports that broke their contract; each is reported once, for a bug shows in every delivery. */
  readonly #reported = new Set<string>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#retry = defaultRetryPolicy(options.maxRetries);
  }

  /** A run of the task, its clock started. `leasedAtMonoMs` is when its lease was asked for. */
  begin(task: ClaimedTask, leasedAtMonoMs: number): Run {
    const { taskTimeoutMs, clock } = this.#options;
    return new Run(task, callOf(task, taskTimeoutMs), clock, leasedAtMonoMs);
  }

  /**
   * Delivers unless the task is past that, and tells what is to be settled; null when the lease was lost. Never
   * rejects.
   */
  deliver(run: Run): Promise<Settlement | null> {
    const trace = this.#options.tracing?.attempt(run.task) ?? null;
    return trace === null ? this.#deliver(run, null) : this.#deliverTraced(run, trace);
  }

  async #deliverTraced(run: Run, trace: AttemptTrace): Promise<Settlement | null> {
    run.traceparent = trace.traceparent;
    const settlement = await this.#deliver(run, trace);
    trace.end(settlement);
    return settlement;
  }

  async #deliver(run: Run, trace: AttemptTrace | null): Promise<Settlement | null> {
    const settlement = undelivered(run, this.#judge());
    if (settlement !== null) return this.#unsent(run, settlement);
    const { breakers, signing } = this.#options;
    const found = signing.secretsFor(run.task);
    // Past the breaker: it says nothing of the target.
    if (found.kind === "sealed") {
      return this.#unsent(run, settlementOf(run, failure(found.error, false), this.#judge()));
    }
    const { target, task, leasedAtMonoMs } = run;
    const guarded = { url: target.url, isProbe: task.isProbe, claimedAtMonoMs: leasedAtMonoMs };
    const outcome = await breakers.guard(guarded, () => this.#send(run, found.secrets, trace));
    return settlementOf(run, outcome, this.#judge());
  }

  /** Gives a task back that is not to be delivered by this worker any more. */
  giveBack(run: Run, reason: string, cause: ReleaseCause): Settlement {
    return this.#unsent(run, released(run, reason, cause));
  }

  /** The settlement of a run that ends without a delivery: as a probe it has told nothing. */
  #unsent<S extends Settlement | null>(run: Run, settlement: S): S {
    if (run.task.isProbe) this.#options.breakers.notProbed(run.target.url);
    return settlement;
  }

  #judge(): Judge {
    const { id, clock, random, newId } = this.#options;
    return { worker: id, retry: this.#retry, random: random(), nowMs: clock.now(), newId };
  }

  /** Resolves with the transport's outcome, or with a failure of ours; never rejects. */
  #send(run: Run, signingSecrets: readonly string[], trace: AttemptTrace | null): Promise<Outcome> {
    if (trace === null) return this.#call(run, signingSecrets, run.traceparent);
    return this.#sendTraced(run, signingSecrets, trace);
  }

  async #sendTraced(run: Run, signingSecrets: readonly string[], trace: AttemptTrace): Promise<Outcome> {
    const call = trace.call(run.target);
    const outcome = await this.#call(run, signingSecrets, call.traceparent);
    call.end(outcome);
    return outcome;
  }

  #call(run: Run, signingSecrets: readonly string[], traceparent: string | null): Promise<Outcome> {
    return new Promise((resolve) => {
      const { url } = run.target;
      let transport: Transport | undefined;
      try {
        transport = this.#options.transports.for(url);
        if (transport === undefined) return resolve(noTransport(url));
        run.abandon = () => resolve(ABANDONED);
        const { name } = transport;
        transport.deliver(deliveryOf(run, signingSecrets, traceparent), run.signal).then(
          (outcome) =>
            resolve(isOutcome(outcome) ? outcome : this.#broke(name, new Error("it gave no outcome"))),
          (thrown: unknown) => resolve(this.#broke(name, thrown)),
        );
      } catch (thrown) {
        resolve(this.#broke(transport?.name, thrown));
      }
    });
  }

  /** What was thrown may be anything, and may throw when a line is made of it. */
  #logBreach(transport: string, thrown: unknown): void {
    const message = "a transport broke its contract; it is not logged again";
    try {
      this.#options.logger.error({ err: thrown, transport }, message);
    } catch {
      this.#options.logger.error({ reason: messageOf(thrown), transport }, message);
    }
  }

  #broke(transport = "registry", thrown: unknown): Outcome {
    if (!this.#reported.has(transport)) {
      this.#reported.add(transport);
      this.#logBreach(transport, thrown);
    }
    return failure(`transport ${transport} broke: ${messageOf(thrown).slice(0, LONGEST_REASON)}`, false);
  }
}

/** Of what a transport threw, so many characters are kept with the attempt. */
const LONGEST_REASON = 300;

/** A transport may come from a plugin, whose types nobody has checked. */
function isOutcome(value: unknown): boolean {
  const kind = (value as { kind?: unknown } | null | undefined)?.kind;
  return kind === "delivered" || kind === "failed" || kind === "deferred";
}

/** Its run was broken off, and why decides what becomes of it. */
const ABANDONED: Outcome = { kind: "deferred", afterMs: 0, reason: "the transport did not end when told to" };

function deliveryOf(
  { task, target, timeoutMs, allowedHosts }: Run,
  signingSecrets: readonly string[],
  traceparent: string | null,
): Delivery {
  return {
    taskId: task.id,
    queue: task.queue,
    target,
    attempt: task.attempt,
    fence: task.fence,
    scheduledAtMs: task.scheduledAtMs,
    timeoutMs,
    traceparent,
    allowedHosts,
    signingSecrets,
  };
}

function noTransport(url: string): Outcome {
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0] ?? "without a scheme";
  return failure(`no transport is installed for urls ${scheme}`, true);
}

function failure(error: string, permanent: boolean): Outcome {
  return {
    kind: "failed",
    status: null,
    error,
    cause: "other",
    responseExcerpt: null,
    permanent,
    retryAfterMs: null,
    hostAtFault: false,
  };
}
