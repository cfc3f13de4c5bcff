/** Why a task does not run: everything that holds it back at once, with numbers, and when each of it will change. */

import { type Client, limitsOf, newClient } from "../core/client.ts";
import type { Clock } from "../core/clock.ts";
import { isTaskId } from "../core/id.ts";
import type { Queue } from "../core/queue.ts";
import type { ProducerStore, SettingsStore } from "../core/store.ts";
import { isFinal, type Task } from "../core/task.ts";
import type { ExplanationJson, ReasonJson } from "./explanation.ts";
import {
  awaitsConsumer,
  finished,
  hostHeld,
  notDue,
  noWorker,
  type Reason,
  running,
  WORKER_SEEN_WITHIN_MS,
  waitingTurn,
} from "./reasons.ts";
import { timeJson } from "./schema-words.ts";
import { tierOrDefault } from "./tiers.ts";

export interface ExplainerOptions {
  readonly store: Pick<ProducerStore, "get" | "keyHolder" | "counts" | "workers"> &
    Pick<SettingsStore, "read" | "clientUse" | "queueUse" | "heldHosts">;
  readonly clock: Pick<Clock, "now">;
  /** The tier whose limits a client has when its own is gone. */
  readonly defaultTier: string;
}

export class Explainer {
  readonly #options: ExplainerOptions;

  constructor(options: ExplainerOptions) {
    this.#options = options;
  }

  /** The task to explain; null when there is none, or no longer. */
  async get(id: string): Promise<Task | null> {
    return isTaskId(id) ? this.#options.store.get(id) : null;
  }

  /** What is true of a task now. It is read in several calls, so that it may be of slightly different moments. */
  async explain(task: Task): Promise<ExplanationJson> {
    const told = { task_id: task.id, state: task.state };
    if (isFinal(task.state)) {
      return { ...told, held: false, reasons: [reasonJson(finished(task))], next_at: null };
    }
    const nowMs = this.#options.clock.now();
    if (task.lease !== null) {
      return { ...told, held: false, reasons: [reasonJson(running(task, task.lease, nowMs))], next_at: null };
    }
    const reasons = await this.#holding(task, nowMs);
    const untils = reasons.flatMap(({ untilMs }) => (untilMs === null ? [] : [untilMs]));
    const isKnown = untils.length === reasons.length;
    return {
      ...told,
      held: reasons.length > 0,
      reasons: reasons.map(reasonJson),
      next_at: isKnown ? timeJson(Math.max(nowMs, ...untils)) : null,
    };
  }

  /** Everything that holds a waiting task back. */
  async #holding(task: Task, nowMs: number): Promise<readonly Reason[]> {
    const { store } = this.#options;
    const queue = (await store.read("queue", task.queue))?.value ?? null;
    const isPulled = queue?.mode === "pull";
    const [byClient, byQueue, byKey, hosts, counts, workers] = await Promise.all([
      this.#clientReasons(task.clientId, nowMs),
      this.#queueReasons(task.queue, queue, nowMs),
      this.#keyReasons(task.id),
      store.heldHosts(),
      store.counts(),
      store.workers(WORKER_SEEN_WITHIN_MS),
    ]);
    return [
      ...notDue(task, nowMs),
      ...byQueue,
      ...byClient,
      ...byKey,
      ...(isPulled ? [] : hostHeld(task, queue, hosts)),
      ...waitingTurn(task, nowMs, counts, isPulled ? [] : workers),
      ...(isPulled ? awaitsConsumer(task, nowMs) : noWorker(workers)),
    ];
  }

  async #clientReasons(id: string, nowMs: number): Promise<readonly Reason[]> {
    const { store, defaultTier } = this.#options;
    const [kept, [use]] = await Promise.all([store.read("client", id), store.clientUse([id])]);
    // One that was deleted is a new one.
    const client: Client = kept?.value ?? newClient(defaultTier, nowMs);
    const { maxConcurrent: limit } = limitsOf(client, await tierOrDefault(store, client.tier, defaultTier));
    const running = use?.running ?? 0;
    const reasons: Reason[] = [];
    if (!client.enabled) {
      reasons.push({
        code: "client_disabled",
        detail: `Client ${id} is disabled; POST /admin/clients/set with "enabled": true lets its tasks run.`,
        untilMs: null,
      });
    }
    if (limit !== null && running >= limit) {
      reasons.push({
        code: "client_limit",
        detail: `Client ${id} (tier ${client.tier}) has ${running} of at most ${limit} tasks running.`,
        running,
        limit,
        untilMs: null,
      });
    }
    return reasons;
  }

  async #queueReasons(name: string, queue: Queue | null, nowMs: number): Promise<readonly Reason[]> {
    if (queue === null) return [];
    const [use] = await this.#options.store.queueUse([name]);
    if (use === undefined) return [];
    const { running, nextDispatchAtMs } = use;
    const { maxConcurrent: limit } = queue;
    const reasons: Reason[] = [];
    if (queue.paused) {
      reasons.push({
        code: "queue_paused",
        detail: `Queue ${name} is paused; POST /admin/queues/resume lets its tasks run.`,
        untilMs: null,
      });
    }
    if (limit !== null && running >= limit) {
      reasons.push({
        code: "queue_limit",
        detail: `Queue ${name} has ${running} of at most ${limit} tasks running.`,
        running,
        limit,
        untilMs: null,
      });
    }
    if (nextDispatchAtMs !== null && nextDispatchAtMs > nowMs) {
      reasons.push({
        code: "queue_rate",
        detail: `Queue ${name} begins at most ${queue.maxDispatchesPerSec} tasks a second; the next one may begin at ${timeJson(nextDispatchAtMs)}.`,
        untilMs: nextDispatchAtMs,
      });
    }
    return reasons;
  }

  async #keyReasons(id: string): Promise<readonly Reason[]> {
    const { store } = this.#options;
    const holder = await store.keyHolder(id);
    if (holder === null || holder === id) return [];
    const isDead = (await store.get(holder))?.state === "dead";
    const detail = isDead
      ? `Task ${holder} has died and still holds the ordering key, as after_death of its queue asks: replay it, or remove it.`
      : `Task ${holder} holds the ordering key; tasks of one key run one at a time, in order.`;
    return [{ code: "key_held", detail, by: holder, untilMs: null }];
  }
}

function reasonJson({ untilMs, ...reason }: Reason): ReasonJson {
  return untilMs === null ? reason : { ...reason, until: timeJson(untilMs) };
}
