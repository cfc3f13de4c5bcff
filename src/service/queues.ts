/** The queues: their rules, what they hold and use, and what can be done to one as a whole. */

import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import { DEFAULT_QUEUE, newQueue, type Queue } from "../core/queue.ts";
import type { ProducerStore, SettingsStore } from "../core/store.ts";
import { isFinal, TASK_STATES } from "../core/task.ts";
import type { PurgeRunner } from "./purges.ts";
import { countsByQueue, queueJson, queueSettingsJson, type StateCounts } from "./queue-json.ts";
import { queueChange } from "./queue-rules.ts";
import type { QueueJson, QueueSetRequest } from "./queue-settings.ts";
import { changeSettings } from "./settings-changes.ts";
import { TargetPolicy } from "./target-policy.ts";
import type { TargetChecks } from "./tasks.ts";

export interface QueueServiceOptions {
  readonly store: Pick<SettingsStore, "read" | "page" | "change" | "queueUse" | "purge"> &
    Pick<ProducerStore, "counts" | "workers">;
  readonly clock: Pick<Clock, "now">;
  readonly transports: TargetChecks;
  /** Whether the workers are asked about private addresses, as for a task's own target. */
  readonly privateTargets: "check" | "ask-workers";
  /** Carries out the purges that are asked for here. */
  readonly purges: Pick<PurgeRunner, "start">;
}

export class QueueService {
  readonly #options: QueueServiceOptions;
  readonly #targets: TargetPolicy;

  constructor(options: QueueServiceOptions) {
    this.#options = options;
    this.#targets = new TargetPolicy(options);
  }

  /** A page of queues, in the order of their names. */
  async list(request: { readonly limit: number; readonly cursor?: string }) {
    const { store } = this.#options;
    const { items, nextCursor } = await store.page("queue", request);
    const [uses, counts] = await Promise.all([store.queueUse(items.map(({ id }) => id)), this.#counts()]);
    const queues = items.map(({ id, value }, at) => {
      const use = uses[at];
      if (use === undefined) throw new Error("the store told of fewer queues than it was asked about");
      return queueJson(id, value, use, counts.get(id));
    });
    return { queues, nextCursor };
  }

  /** Rejects with `queue_not_found`. */
  async get(name: string): Promise<QueueJson> {
    return this.#view(name, await this.#known(name));
  }

  /**
   * Makes a queue or changes it: what the request leaves out stays. Rejects with `validation_failed` or
   * `target_forbidden`.
   */
  async set(request: QueueSetRequest, actor: string): Promise<QueueJson> {
    const change = await queueChange(this.#targets, request);
    return this.#change(request.queue, actor, "queues.set", (current, nowMs) => ({
      ...(current ?? newQueue(nowMs)),
      ...change,
    }));
  }

  /** Takes tasks from now on, and hands none out. Rejects with `queue_not_found`. */
  pause(name: string, actor: string): Promise<QueueJson> {
    return this.#setPaused(name, actor, true);
  }

  /** Hands tasks out again. Rejects with `queue_not_found`. */
  resume(name: string, actor: string): Promise<QueueJson> {
    return this.#setPaused(name, actor, false);
  }

  /** Begins to remove the tasks that wait in a queue now. Rejects with `queue_not_found`. */
  async purge(name: string, actor: string): Promise<void> {
    const { store, clock, purges } = this.#options;
    await this.#known(name);
    const { ready = 0, scheduled = 0, retrying = 0 } = (await this.#counts()).get(name) ?? {};
    await store.purge(name, {
      atMs: clock.now(),
      actor,
      action: "queues.purge",
      subject: name,
      before: { waiting: ready + scheduled + retrying },
      after: { waiting: 0 },
    });
    purges.start();
  }

  /**
   * Removes a queue with its rules; its finished tasks stay readable. Rejects with `queue_not_found`, and with
   * `conflict` for the default one and while tasks of it are unfinished.
   */
  async delete(name: string, actor: string): Promise<void> {
    if (name === DEFAULT_QUEUE) {
      throw conflict(`The queue ${DEFAULT_QUEUE} takes the tasks that name none, and so cannot be deleted.`);
    }
    await changeSettings(this.#options, {
      ...audited(name, actor, "queues.delete"),
      next: async (current) => {
        if (current === null) throw notFound(name);
        refuseUnfinished(name, (await this.#counts()).get(name));
        return null;
      },
    });
  }

  #setPaused(name: string, actor: string, paused: boolean): Promise<QueueJson> {
    return this.#change(name, actor, paused ? "queues.pause" : "queues.resume", (current, nowMs) => ({
      ...existing(name, current, nowMs),
      paused,
    }));
  }

  async #change(
    name: string,
    actor: string,
    action: string,
    next: (current: Queue | null, nowMs: number) => Queue,
  ): Promise<QueueJson> {
    return this.#view(name, await changeSettings(this.#options, { ...audited(name, actor, action), next }));
  }

  async #known(name: string): Promise<Queue> {
    const { store, clock } = this.#options;
    return existing(name, (await store.read("queue", name))?.value ?? null, clock.now());
  }

  async #view(name: string, queue: Queue): Promise<QueueJson> {
    const [[use], counts] = await Promise.all([this.#options.store.queueUse([name]), this.#counts()]);
    if (use === undefined) throw new Error("the store told of no queue where it was asked about one");
    return queueJson(name, queue, use, counts.get(name));
  }

  async #counts(): Promise<ReadonlyMap<string, StateCounts>> {
    return countsByQueue(await this.#options.store.counts());
  }
}

/** The default queue is there even where nobody has used or changed it. */
function existing(name: string, current: Queue | null, nowMs: number): Queue {
  if (current !== null) return current;
  if (name === DEFAULT_QUEUE) return newQueue(nowMs);
  throw notFound(name);
}

function refuseUnfinished(name: string, counts: StateCounts | undefined): void {
  if (counts === undefined) return;
  const unfinished = TASK_STATES.filter((state) => !isFinal(state) && counts[state] > 0);
  if (unfinished.length === 0) return;
  const sum = unfinished.reduce((total, state) => total + counts[state], 0);
  const parts = unfinished.map((state) => `${counts[state]} ${state}`).join(", ");
  throw conflict(
    `The queue ${name} has ${sum} unfinished ${sum === 1 ? "task" : "tasks"} (${parts}). Purge it first (POST /admin/queues/purge), and let finish what runs.`,
  );
}

function audited(name: string, actor: string, action: string) {
  return {
    kind: "queue",
    id: name,
    actor,
    action,
    shown: (value: Queue) => queueSettingsJson(name, value),
  } as const;
}

/** That there is no such queue, and how one comes to be. */
export function notFound(name: string): TaskRunnerError {
  return new TaskRunnerError(
    "queue_not_found",
    `There is no queue ${JSON.stringify(name)}. POST /admin/queues/set makes it.`,
  );
}

function conflict(detail: string): TaskRunnerError {
  return new TaskRunnerError("conflict", detail);
}
