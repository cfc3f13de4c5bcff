/** The model's limits: settings in force, requests a minute, tasks running, and a queue's tokens as far as they are promised. */

import { type Client, limitsOf, newClient, type Tier } from "../../src/core/client.ts";
import { burstOf, newQueue, type Queue } from "../../src/core/queue.ts";
import {
  RATE_WINDOW_MS,
  type RateWindow,
  requestsIn,
  roomAfterMs,
  windowNow,
  withRequest,
} from "../../src/core/rate-window.ts";
import type { EnqueueResult, RateState, StoreSettings } from "../../src/core/store.ts";
import type { ModelTask } from "./task.ts";

/** Sums of parts of a token are not exact. */
const SLACK = 1e-4;

/**
 * What a queue's bucket holds: at least and at most. What a change of its rate makes of what it holds is left to the
 * store, as long as it is no more than the bucket does.
 */
interface Bucket {
  least: number;
  most: number;
  atMs: number;
}

export class Limits {
  readonly clients = new Map<string, Client>();
  readonly tiers = new Map<string, Tier>();
  readonly queues = new Map<string, Queue>();
  readonly #windows = new Map<string, RateWindow>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #tasks: ReadonlyMap<string, ModelTask>;
  readonly #settings: StoreSettings;

  constructor(tasks: ReadonlyMap<string, ModelTask>, settings: StoreSettings) {
    this.#tasks = tasks;
    this.#settings = settings;
  }

  client(id: string): Client {
    return this.clients.get(id) ?? newClient(this.#settings.defaultTier, 0);
  }

  queue(name: string): Queue {
    return this.queues.get(name) ?? newQueue(0);
  }

  /** Those that are new are kept as they are made by use. */
  register(clientId: string, queue: string, nowMs: number): void {
    if (!this.clients.has(clientId)) this.clients.set(clientId, newClient(this.#settings.defaultTier, nowMs));
    if (!this.queues.has(queue)) this.queues.set(queue, newQueue(nowMs));
  }

  setClient(id: string, value: Client | null): void {
    if (value !== null) this.clients.set(id, value);
    else {
      this.clients.delete(id);
      this.#windows.delete(id);
    }
  }

  setQueue(name: string, value: Queue | null, nowMs: number): void {
    const before = this.queue(name);
    if (value === null) this.queues.delete(name);
    else this.queues.set(name, value);
    const after = this.queue(name);
    if (after.maxDispatchesPerSec === null) return;
    const isSame =
      before.maxDispatchesPerSec === after.maxDispatchesPerSec && burstOf(before) === burstOf(after);
    if (isSame) return;
    const burst = burstOf(after);
    const isNew = !this.#buckets.has(name);
    this.#buckets.set(name, { least: isNew ? burst : 0, most: burst, atMs: nowMs });
  }

  /** Why a task may not come in; null when it may, and then it is charged. */
  refusal(clientId: string, queueName: string, isChecked: boolean, nowMs: number): EnqueueResult | null {
    const client = this.client(clientId);
    if (!client.enabled) return { kind: "refused", why: "client_disabled" };
    const queue = this.queues.get(queueName);
    if (queue === undefined && !this.#settings.autoCreateQueues)
      return { kind: "refused", why: "queue_not_found" };
    if (queue !== undefined && !queue.enabled) return { kind: "refused", why: "queue_disabled" };
    if ((client.allowedQueues !== null || client.allowedHosts !== null) && !isChecked)
      return { kind: "unchecked" };
    const { tier, requestsPerMinute: limit } = this.#limitsOf(client);
    if (limit === null) return null;
    const window = this.#window(clientId, nowMs);
    if (requestsIn(window) >= limit)
      return { kind: "limited", tier, limit, retryAfterMs: roomAfterMs(window, limit, nowMs) };
    this.#windows.set(clientId, withRequest(window, nowMs));
    return null;
  }

  /** How a client stands with its requests; null where it has no limit of them. */
  rateOf(clientId: string, nowMs: number): RateState | null {
    const { requestsPerMinute: limit } = this.#limitsOf(this.client(clientId));
    if (limit === null) return null;
    const window = this.#window(clientId, nowMs);
    const last = window.at(-1);
    return {
      limit,
      remaining: Math.max(0, limit - requestsIn(window)),
      resetMs: last === undefined ? 0 : last[1] + RATE_WINDOW_MS - nowMs,
    };
  }

  requestsOf(clientId: string, nowMs: number): number {
    return requestsIn(this.#window(clientId, nowMs));
  }

  runningOf(field: "clientId" | "queue", value: string): number {
    let running = 0;
    for (const { given, lease } of this.#tasks.values())
      if (lease !== null && given[field] === value) running += 1;
    return running;
  }

  /** How many tasks of a client may begin now. */
  clientRoom(id: string): number {
    const client = this.client(id);
    if (!client.enabled) return 0;
    const { maxConcurrent } = this.#limitsOf(client);
    return maxConcurrent === null ? Number.POSITIVE_INFINITY : maxConcurrent - this.runningOf("clientId", id);
  }

  /** Whether a client has a limit of tasks running at once. */
  isCapped(id: string): boolean {
    return this.#limitsOf(this.client(id)).maxConcurrent !== null;
  }

  /** How many tasks of a queue may begin now but for its rate. */
  slotsOf(name: string): number {
    const { paused, maxConcurrent } = this.queue(name);
    if (paused) return 0;
    return maxConcurrent === null ? Number.POSITIVE_INFINITY : maxConcurrent - this.runningOf("queue", name);
  }

  /** How many its rate lets begin now: at least, and at most. */
  tokensOf(name: string, nowMs: number): { readonly least: number; readonly most: number } {
    const bucket = this.#bucket(name, nowMs);
    if (bucket === null) return { least: Number.POSITIVE_INFINITY, most: Number.POSITIVE_INFINITY };
    return { least: Math.floor(bucket.least - SLACK), most: Math.floor(bucket.most + SLACK) };
  }

  /** Milliseconds until a queue's rate lets one begin: at least, and at most; 0 when it does now. */
  untilToken(name: string, nowMs: number): { readonly leastMs: number; readonly mostMs: number } {
    const bucket = this.#bucket(name, nowMs);
    const perMs = (this.queue(name).maxDispatchesPerSec ?? 0) / 1_000;
    if (bucket === null) return { leastMs: 0, mostMs: 0 };
    const waitMs = (held: number) => Math.max(0, (1 - held) / perMs);
    return {
      leastMs: Math.floor(waitMs(bucket.most + SLACK)),
      mostMs: Math.ceil(waitMs(bucket.least - SLACK)) + 1,
    };
  }

  /** A task of the queue begins. */
  begin(name: string, nowMs: number): void {
    const bucket = this.#bucket(name, nowMs);
    if (bucket === null) return;
    bucket.least = Math.max(0, bucket.least - 1);
    bucket.most = Math.max(0, bucket.most - 1);
  }

  #bucket(name: string, nowMs: number): Bucket | null {
    const queue = this.queue(name);
    const bucket = this.#buckets.get(name);
    if (queue.maxDispatchesPerSec === null || bucket === undefined) return null;
    const earned = ((nowMs - bucket.atMs) * queue.maxDispatchesPerSec) / 1_000;
    const burst = burstOf(queue);
    bucket.least = Math.min(burst, bucket.least + earned);
    bucket.most = Math.min(burst, bucket.most + earned);
    bucket.atMs = nowMs;
    return bucket;
  }

  #window(clientId: string, nowMs: number): RateWindow {
    return windowNow(this.#windows.get(clientId) ?? [], nowMs);
  }

  #limitsOf(client: Client): Tier & { readonly tier: string } {
    const tier = this.tiers.has(client.tier) ? client.tier : this.#settings.defaultTier;
    const limits = this.tiers.get(tier);
    if (limits === undefined) throw new Error("the default tier is gone");
    return { tier, ...limitsOf(client, limits) };
  }
}
