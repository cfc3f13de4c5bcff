/** Programs that take tasks out of pull queues through an API process and tell what came of them: well, late, twice or never. */

import { TaskRunnerError } from "../../src/core/errors.ts";
import type { Outcome } from "../../src/core/transport.ts";
import type { Leased, PullService } from "../../src/service/pull.ts";
import type { LeaseResult } from "../../src/service/pull-request.ts";
import type { Journal } from "./journal.ts";
import { short } from "./observe.ts";
import type { Chance } from "./random.ts";
import type { Targets } from "./targets.ts";

export interface ConsumersOptions {
  /** The service as each API process offers it. */
  readonly pulls: readonly PullService[];
  /** Queues that consumers take from at one time or another. */
  readonly queues: readonly string[];
  readonly targets: Targets;
  readonly journal: Journal;
  readonly chance: Chance;
  readonly sleep: (delayMs: number) => Promise<void>;
}

const MANNERS = {
  acks: 50,
  takesLong: 10,
  nacks: 12,
  nacksForGood: 3,
  nacksForLater: 4,
  extends: 8,
  vanishes: 4,
  isLate: 4,
  tellsTwice: 5,
};
/** A consumer repeats what it tells so often until it is answered. */
const MAX_TRIES = 3;
/** Of requests for tasks, those whose caller goes away before the answer. */
const HUNG_UP = 0.08;

const DONE: Outcome = { kind: "delivered", status: null, responseExcerpt: null };

const failed = (permanent: boolean, retryAfterMs: number | null) =>
  ({
    kind: "failed",
    status: null,
    error: "nacked",
    responseExcerpt: null,
    permanent,
    retryAfterMs,
    hostAtFault: false,
  }) as const satisfies Outcome;

export class Consumers {
  readonly #options: ConsumersOptions;
  readonly #leaving = new AbortController();
  readonly #loops: Promise<void>[] = [];
  #behaved = false;

  constructor(options: ConsumersOptions) {
    this.#options = options;
  }

  start(count: number): void {
    for (let at = 1; at <= count; at++) this.#loops.push(this.#run(`c${at}`));
  }

  /** From now on each takes what there is and acknowledges it at once. */
  behave(): void {
    this.#behaved = true;
  }

  /** Resolves once all have gone. */
  async stop(): Promise<void> {
    this.#leaving.abort();
    for (const pull of this.#options.pulls) pull.close();
    await Promise.all(this.#loops);
  }

  async #run(name: string): Promise<void> {
    const { pulls, queues, chance, sleep } = this.#options;
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      const queue = chance.pick(queues);
      const request = {
        max: chance.pick([1, 1, 3, 10]),
        lease_sec: chance.pick([2, 5, 10]),
        wait_sec: chance.pick([0, 1, 4]),
        consumer: name,
      };
      await this.#unlessRefused(name, `leases from ${queue}`, async () => {
        const leased = await chance.pick(pulls).lease(queue, request, null, this.#untilHungUp());
        await Promise.all(leased.map((one) => this.#work(name, one)));
      });
      await sleep(chance.whole(1, 400));
    }
  }

  #untilHungUp(): AbortSignal {
    const { chance, sleep } = this.#options;
    const { signal } = this.#leaving;
    if (this.#behaved || !chance.happens(HUNG_UP)) return signal;
    const own = new AbortController();
    void sleep(chance.whole(0, 2_000)).then(() => own.abort());
    return AbortSignal.any([signal, own.signal]);
  }

  async #work(name: string, { task, lease }: Leased): Promise<void> {
    const { chance, sleep, journal, targets } = this.#options;
    const manner = this.#behaved ? "acks" : chance.weighted(MANNERS);
    journal.write(name, `has ${short(task.id)} #${task.fence} and ${manner}`);
    if (manner === "vanishes") return;
    const isLong = manner === "takesLong" || manner === "extends";
    await sleep(isLong ? chance.whole(500, 6_000) : chance.whole(0, 300));
    if (manner === "extends") {
      const leaseSec = chance.pick([2, 8]);
      await this.#unlessRefused(name, "extends", () =>
        this.#pull().extend({ leases: [lease], lease_sec: leaseSec }, null),
      );
      await sleep(chance.whole(0, leaseSec * 1_000));
    }
    if (manner === "isLate") await sleep(chance.whole(2_000, 15_000));
    const outcome = outcomeOf(manner, chance);
    targets.told(task, outcome);
    await this.#tell(name, { task, lease }, outcome);
    if (manner === "tellsTwice") await this.#tell(name, { task, lease }, outcome);
  }

  /** Tells until it is answered. What the first answer says must be what became of the lease. */
  async #tell(name: string, { task, lease }: Leased, outcome: Outcome): Promise<void> {
    const { journal, targets } = this.#options;
    const before = targets.isSettled(task);
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const [result] =
        (await this.#unlessRefused(name, "tells", () => this.#say(this.#pull(), lease, outcome))) ?? [];
      if (result === undefined) continue;
      journal.write(name, `${short(task.id)} #${task.fence} is ${result.status}`);
      const isSettled = targets.isSettled(task);
      const said = result.status === "acked" || result.status === "nacked";
      if (said && !isSettled)
        journal.broken(`${task.id} #${task.fence} is told to be ${result.status}, and is not`);
      if (tries === 1 && !before && !said && isSettled)
        journal.broken(`${task.id} #${task.fence} is told to be ${result.status}, and was settled`);
      return;
    }
  }

  #say(pull: PullService, lease: string, outcome: Outcome): Promise<readonly LeaseResult[]> {
    if (outcome.kind !== "failed") return pull.ack({ leases: [lease] }, null);
    const { permanent, retryAfterMs } = outcome;
    const later = retryAfterMs === null ? {} : { retry_after_sec: retryAfterMs / 1_000 };
    return pull.nack({ leases: [{ lease, error: "nacked", permanent, ...later }] }, null);
  }

  #pull(): PullService {
    return this.#options.chance.pick(this.#options.pulls);
  }

  /** Undefined when the service refuses; an error that nobody can act on breaks a promise. */
  async #unlessRefused<T>(name: string, what: string, act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act();
    } catch (thrown) {
      const { journal } = this.#options;
      if (thrown instanceof TaskRunnerError && thrown.code !== "internal_error")
        journal.write(name, `${what}: ${thrown.code}`);
      else
        journal.broken(
          `${name} ${what}: failed with ${thrown instanceof Error ? thrown.stack : String(thrown)}`,
        );
      return undefined;
    }
  }
}

function outcomeOf(manner: keyof typeof MANNERS, chance: Chance): Outcome {
  switch (manner) {
    case "nacks":
      return failed(false, null);
    case "nacksForGood":
      return failed(true, null);
    case "nacksForLater":
      return failed(false, chance.whole(0, 9_000));
    default:
      return DONE;
  }
}
