/** Whoever uses the service: hands in tasks, changes its mind, and administers clients and queues at random. */

import { TaskRunnerError } from "../../src/core/errors.ts";
import { PRIORITIES } from "../../src/core/priority.ts";
import type { ClientService } from "../../src/service/clients.ts";
import type { DeadLetters } from "../../src/service/dead.ts";
import type { EnqueueRequest } from "../../src/service/enqueue-request.ts";
import type { QueueSetRequest } from "../../src/service/queue-settings.ts";
import type { QueueService } from "../../src/service/queues.ts";
import type { TaskService } from "../../src/service/tasks.ts";
import type { TierService } from "../../src/service/tiers.ts";
import type { Journal } from "./journal.ts";
import { short } from "./observe.ts";
import type { Chance } from "./random.ts";
import type { Shadow } from "./shadow.ts";
import { isOver } from "./shadow-task.ts";
import { HOSTS, POISON } from "./targets.ts";

/** The service as one API process offers it. */
export interface Services {
  readonly tasks: TaskService;
  readonly clients: ClientService;
  readonly tiers: TierService;
  readonly queues: QueueService;
  readonly dead: DeadLetters;
}

export const CLIENTS = ["ann", "bob", "cid", "dot"] as const;
export const QUEUES = ["default", "mail", "slow"] as const;
/** The queue that is for consumers, where a run has any; they may also be given others for a while. */
export const PULLED = "pulled";
const KEYS = ["k1", "k2"] as const;
const NAMES = ["n1", "n2", "n3", "n4", "n5", "n6"] as const;
const ACTOR = "simulated";

const WISHES = {
  enqueue: 55,
  batch: 12,
  pair: 3,
  cancel: 5,
  reschedule: 4,
  run: 3,
  replay: 4,
  client: 4,
  tier: 1,
  queue: 6,
  pause: 2,
  resume: 2,
  purge: 1,
  deadReplay: 2,
  deadPurge: 1,
  deleteClient: 0.5,
  deleteQueue: 0.5,
};

export interface CustomersOptions {
  /** Those that tasks are handed in to, {@link PULLED} among them where there are consumers. */
  readonly queues: readonly string[];
  readonly apis: readonly Services[];
  readonly shadow: Shadow;
  readonly journal: Journal;
  readonly chance: Chance;
  readonly sleep: (delayMs: number) => Promise<void>;
}

export class Customers {
  readonly #options: CustomersOptions;
  readonly #hasConsumers: boolean;
  readonly #acknowledged: string[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #made = 0;

  constructor(options: CustomersOptions) {
    this.#options = options;
    this.#hasConsumers = options.queues.includes(PULLED);
  }

  /** Makes the queue that a run with consumers begins with; false when that failed. */
  async openPulled({ queues }: Services): Promise<boolean> {
    try {
      await queues.set({ queue: PULLED, mode: "pull" }, ACTOR);
      return true;
    } catch (thrown) {
      this.#refused("open", thrown);
      return false;
    }
  }

  get acknowledged(): readonly string[] {
    return this.#acknowledged;
  }

  /** Makes one wish. */
  wish(): void {
    const wish = this.#wish().finally(() => this.#underWay.delete(wish));
    this.#underWay.add(wish);
  }

  /** Resolves once no wish is under way. */
  async quiet(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Resolves whatever becomes of it; an error that no caller can act on breaks a promise. */
  async #wish(): Promise<void> {
    const { chance, apis } = this.#options;
    const what = chance.weighted(WISHES);
    try {
      await this.#do(what, chance.pick(apis));
    } catch (thrown) {
      this.#refused(what, thrown);
    }
  }

  #refused(what: string, thrown: unknown): void {
    const { journal } = this.#options;
    if (thrown instanceof TaskRunnerError && thrown.code !== "internal_error")
      journal.write("customer", `${what}: ${thrown.code}`);
    else journal.broken(`${what} failed with ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
  }

  /** Lifts everything that keeps tasks from running. Rejects as the service does. */
  async liftAll({ clients, queues, dead }: Services): Promise<void> {
    for (const client_id of CLIENTS)
      await clients.set(
        { client_id, enabled: true, overrides: { max_concurrent: 3, requests_per_minute: null } },
        ACTOR,
      );
    for (const queue of [...this.#options.queues, "graveyard", "callbacks"])
      await queues.set(
        {
          queue,
          enabled: true,
          paused: false,
          max_concurrent: null,
          max_dispatches_per_sec: 5,
          after_death: "next",
          dead_target: null,
        },
        ACTOR,
      );
    // Tasks wait for the keys that were kept for the dead.
    await dead.replay({}, ACTOR);
  }

  async #do(what: keyof typeof WISHES, { tasks, clients, tiers, queues, dead }: Services): Promise<unknown> {
    const { chance, queues: names } = this.#options;
    const id = () => (this.#acknowledged.length === 0 ? "0".repeat(26) : chance.pick(this.#acknowledged));
    switch (what) {
      case "enqueue":
        return this.#enqueue(tasks);
      case "batch":
        return this.#batch(tasks);
      case "pair":
        return this.#pair(tasks);
      case "cancel":
        return tasks.cancel(id());
      case "reschedule":
        return tasks.reschedule(id(), {
          ...(chance.happens(0.7) && { delay: chance.whole(0, 20) }),
          ...(chance.happens(0.5) && { priority: chance.pick(PRIORITIES) }),
        });
      case "run":
        return tasks.run(id());
      case "replay":
        return tasks.replay(id());
      case "client":
        return clients.set(
          {
            client_id: chance.pick(CLIENTS),
            enabled: chance.happens(0.85),
            ...(chance.happens(0.5) && { tier: chance.pick(["free", "basic", "premium", "own"]) }),
            overrides: {
              ...(chance.happens(0.6) && { max_concurrent: chance.pick([0, 1, 2, 3, null]) }),
              ...(chance.happens(0.5) && { requests_per_minute: chance.pick([0, 3, 8, 20, null]) }),
            },
          },
          ACTOR,
        );
      case "tier":
        return chance.happens(0.7)
          ? tiers.set(
              { tier: "own", requests_per_minute: chance.whole(1, 30), max_concurrent: chance.whole(1, 4) },
              ACTOR,
            )
          : tiers.delete("own", ACTOR);
      case "queue":
        return queues.set(this.#rules(), ACTOR);
      case "pause":
        return queues.pause(chance.pick(names), ACTOR);
      case "resume":
        return queues.resume(chance.pick(names), ACTOR);
      case "purge":
        return Promise.all([queues.purge(chance.pick(names), ACTOR), this.#replaySome(tasks)]);
      case "deadReplay":
        return dead.replay({ ...(chance.happens(0.3) && { rate_per_sec: 0.5 }) }, ACTOR);
      case "deadPurge":
        return dead.purge({ queue: chance.pick(names) }, ACTOR);
      case "deleteClient":
        return clients.delete(chance.pick(CLIENTS), ACTOR);
      case "deleteQueue":
        return queues.delete(chance.pick(names), ACTOR);
    }
  }

  #rules(): QueueSetRequest {
    const { chance, queues } = this.#options;
    const queue = chance.pick(queues);
    return {
      queue,
      ...(this.#hasConsumers && this.#mode(queue)),
      ...(chance.happens(0.2) && { enabled: chance.happens(0.7) }),
      ...(chance.happens(0.5) && { max_concurrent: chance.pick([0, 1, 2, 4, null]) }),
      ...(chance.happens(0.4) && { max_dispatches_per_sec: chance.pick([0.5, 2, 10, null]) }),
      ...(chance.happens(0.3) && { max_burst: chance.pick([1, 3, null]) }),
      ...(chance.happens(0.3) && { weight: chance.whole(1, 5) }),
      ...(chance.happens(0.3) && { after_death: chance.pick(["next", "hold"] as const) }),
      ...(chance.happens(0.3) && {
        dead_target: chance.pick([null, { queue: "graveyard" }, { url: `${HOSTS[3]}/dead` }]),
      }),
      ...(chance.happens(0.3) && {
        retry: chance.happens(0.5) ? {} : { max_attempts: chance.whole(1, 4), min_backoff_sec: 0.5 },
      }),
      ...(chance.happens(0.2) && { permanent_statuses: chance.pick([[], [429], [500]]) }),
      ...(chance.happens(0.2) && { target: chance.pick([null, { url: `${HOSTS[2]}/override` }]) }),
      ...(chance.happens(0.2) && { retention_succeeded_sec: chance.pick([0, 5, null]) }),
    };
  }

  #mode(queue: string): Pick<QueueSetRequest, "mode"> {
    const { chance } = this.#options;
    if (queue === PULLED) return { mode: "pull" };
    return queue === "slow" && chance.happens(0.5) ? { mode: chance.pick(["push", "pull"] as const) } : {};
  }

  async #enqueue(tasks: TaskService): Promise<void> {
    const { chance } = this.#options;
    const request = this.#request();
    const context = {
      idempotencyKey: chance.happens(0.2) ? `i${chance.whole(1, 15)}` : null,
      traceparent: null,
    };
    // Whoever gets no answer asks again, with the same key or name.
    for (let tries = chance.whole(1, 3); tries > 0; tries--) {
      try {
        const { result } = await tasks.enqueue(request, context);
        this.#kept(result.kind, result.id, request);
        return;
      } catch (thrown) {
        const isWorthIt = thrown instanceof TaskRunnerError && thrown.code === "store_unavailable";
        if (!isWorthIt || tries === 1) throw thrown;
      }
    }
  }

  async #batch(tasks: TaskService): Promise<void> {
    const { chance } = this.#options;
    const requests = Array.from({ length: chance.whole(2, 6) }, () => this.#request());
    const { results } = await tasks.enqueueBatch(requests, { idempotencyKey: null, traceparent: null });
    if (results.length !== requests.length) this.#options.journal.broken("a batch lost some of its answers");
    for (const [at, result] of results.entries()) {
      const request = requests[at];
      if (!(result instanceof TaskRunnerError) && request !== undefined)
        this.#kept(result.result.kind, result.result.id, request);
    }
  }

  /** Two tasks of an ordering key: the second comes in just as the first falls due, or a little later. */
  async #pair(tasks: TaskService): Promise<void> {
    const { chance, sleep, queues } = this.#options;
    const own = { queue: chance.pick(queues), ordering_key: chance.pick(KEYS) };
    const delayMs = chance.whole(1, 1_000);
    const { delay: _delay, ...request } = this.#request();
    const first = { ...request, ...own, delay: delayMs / 1_000 };
    const second = { ...this.#request(), ...own };
    const context = { idempotencyKey: null, traceparent: null };
    const kept = await tasks.enqueue(first, context);
    this.#kept(kept.result.kind, kept.result.id, first);
    await sleep(delayMs + chance.pick([0, 0, 1, 50]));
    const { result } = await tasks.enqueue(second, context);
    this.#kept(result.kind, result.id, second);
  }

  /** Starts finished tasks over, one after the other. */
  async #replaySome(tasks: TaskService): Promise<void> {
    const { chance, shadow } = this.#options;
    const over = [...shadow.tasks.values()].filter(isOver);
    for (let times = Math.min(over.length, 8); times > 0; times--)
      await tasks.replay(chance.pick(over).spec.id);
  }

  #request(): EnqueueRequest {
    const { chance, queues } = this.#options;
    this.#made += 1;
    const path = chance.happens(0.015) ? POISON : `/t/${this.#made}`;
    const client_id = chance.pick(CLIENTS);
    const queue = chance.happens(0.6) ? chance.pick(queues) : undefined;
    const isWithoutUrl = queue === PULLED && chance.happens(0.5);
    return {
      client_id,
      ...(queue !== undefined && { queue }),
      task: {
        ...(!isWithoutUrl && { url: `${chance.pick(HOSTS)}${path}` }),
        ...(chance.happens(0.3) && { timeout_sec: chance.whole(1, 6) }),
        ...(chance.happens(0.5) && { body: `body ${this.#made}` }),
      },
      ...(chance.happens(0.3) && { delay: chance.pick([0.001, 0.5, 3, 15, 40]) }),
      ...(chance.happens(0.5) && { priority: chance.pick(PRIORITIES) }),
      ...(chance.happens(0.15) && { name: chance.pick(NAMES) }),
      ...(chance.happens(0.3) && { ordering_key: chance.pick(KEYS) }),
      ...(chance.happens(0.4) && { retry: this.#retry() }),
      ...(chance.happens(0.15) && { retention_sec: chance.pick([0, 2, 30]) }),
      ...(chance.happens(0.12) && { callback_url: `${HOSTS[3]}/callback` }),
      ...(chance.happens(0.06) && { failure_callback_url: `${HOSTS[3]}/failure` }),
      metadata: { made: String(this.#made) },
    };
  }

  #retry(): NonNullable<EnqueueRequest["retry"]> {
    const { chance } = this.#options;
    return {
      max_attempts: chance.pick([1, 2, 4, 8]),
      min_backoff_sec: chance.pick([0, 0.1, 1, 3]),
      max_backoff_sec: chance.pick([3, 10]),
      ...(chance.happens(0.3) && { max_doublings: chance.whole(0, 3) }),
      ...(chance.happens(0.3) && { jitter: chance.pick([0, 0.5, 1]) }),
    };
  }

  /** An acknowledged task is in the store, as it was asked for. */
  #kept(kind: "created" | "duplicate", id: string, request: EnqueueRequest): void {
    const { shadow, journal } = this.#options;
    journal.write("customer", `${short(id)} ${kind}`);
    this.#acknowledged.push(id);
    if (kind === "duplicate") return;
    if (!shadow.knew(id)) journal.broken(`${id} was acknowledged and not kept`);
    const spec = shadow.tasks.get(id)?.spec;
    if (spec !== undefined && spec.metadata.made !== request.metadata?.made)
      journal.broken(`${id} was acknowledged as another task`);
  }
}
