/** What the store must know of clients and queues: their settings, who runs how much, and who was let in when. */

import { BUILT_IN_TIERS, type Client, limitsOf, newClient, type Tier } from "../../src/core/client.ts";
import { burstOf, newQueue, type Queue } from "../../src/core/queue.ts";
import type { SettingsChange, SettingsKind } from "../../src/core/store.ts";

const WINDOW_MS = 60_000;
/** A request may be counted this much too long. */
const WINDOW_SLACK_MS = 1_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class ShadowLimits {
  /** How often any settings were changed. */
  changes = 0;
  readonly #defaultTier: string;
  readonly #clients = new Map<string, Client>();
  readonly #queues = new Map<string, Queue>();
  readonly #tiers = new Map<string, Tier>(Object.entries(BUILT_IN_TIERS));
  readonly #running = { client: new Map<string, number>(), queue: new Map<string, number>() };
  readonly #admitted = new Map<string, number[]>();
  readonly #buckets = new Map<string, Bucket>();

  constructor(defaultTier: string) {
    this.#defaultTier = defaultTier;
  }

  /** A client and a queue are made by their first task. */
  register(client: string, queue: string): void {
    if (!this.#clients.has(client)) this.#clients.set(client, newClient(this.#defaultTier, 0));
    if (!this.#queues.has(queue)) this.#queues.set(queue, newQueue(0));
  }

  change({ kind, id, value }: SettingsChange<SettingsKind>): void {
    const kept = { client: this.#clients, queue: this.#queues, tier: this.#tiers }[kind] as Map<
      string,
      unknown
    >;
    this.changes += 1;
    if (value === null) kept.delete(id);
    else kept.set(id, value);
    if (kind === "client" && value === null) this.#admitted.delete(id);
    if (kind === "queue") this.#buckets.delete(id);
  }

  client(id: string): Client {
    return this.#clients.get(id) ?? newClient(this.#defaultTier, 0);
  }

  queue(name: string): Queue {
    return this.#queues.get(name) ?? newQueue(0);
  }

  limits(id: string): Tier {
    const client = this.client(id);
    const tier = this.#tiers.get(client.tier) ?? this.#tiers.get(this.#defaultTier);
    return limitsOf(client, tier ?? { requestsPerMinute: null, maxConcurrent: null });
  }

  running(kind: "client" | "queue", id: string): number {
    return this.#running[kind].get(id) ?? 0;
  }

  give(client: string, queue: string, change: 1 | -1): void {
    this.#running.client.set(client, this.running("client", client) + change);
    this.#running.queue.set(queue, this.running("queue", queue) + change);
  }

  /** How many more tasks of a client in a queue may begin now, whatever the queue's rate. */
  room(client: string, queue: string): number {
    if (!this.client(client).enabled || this.queue(queue).paused) return 0;
    const left = (max: number | null, running: number) =>
      max === null ? Number.POSITIVE_INFINITY : max - running;
    return Math.min(
      left(this.limits(client).maxConcurrent, this.running("client", client)),
      left(this.queue(queue).maxConcurrent, this.running("queue", queue)),
    );
  }

  /** A task began; tells what limit it broke. `clockSteps` loosens what a wrong clock makes unsure. */
  begun(client: string, queue: string, nowMs: number): string | null {
    if (!this.client(client).enabled) return `client ${client} is disabled`;
    if (this.queue(queue).paused) return `queue ${queue} is paused`;
    const clientCap = this.limits(client).maxConcurrent;
    if (clientCap !== null && this.running("client", client) > clientCap)
      return `client ${client} runs ${this.running("client", client)} of ${clientCap}`;
    const queueCap = this.queue(queue).maxConcurrent;
    if (queueCap !== null && this.running("queue", queue) > queueCap)
      return `queue ${queue} runs ${this.running("queue", queue)} of ${queueCap}`;
    return this.#spend(queue, nowMs);
  }

  /** A request was let in; tells whether it was one too many. Those of a client without a limit are not counted. */
  admitted(client: string, nowMs: number): string | null {
    const limit = this.limits(client).requestsPerMinute;
    if (limit === null) return null;
    const counted = [...(this.#admitted.get(client) ?? []), nowMs].filter((atMs) => atMs + WINDOW_MS > nowMs);
    this.#admitted.set(client, counted);
    return counted.length > limit
      ? `client ${client} has ${counted.length} of ${limit} requests a minute`
      : null;
  }

  /** Whether a client can have used up its requests, counted as generously as the store may. */
  mayBeLimited(client: string, nowMs: number): boolean {
    const limit = this.limits(client).requestsPerMinute;
    if (limit === null) return false;
    const counted = (this.#admitted.get(client) ?? []).filter(
      (atMs) => atMs + WINDOW_MS + WINDOW_SLACK_MS > nowMs,
    );
    return counted.length >= limit;
  }

  /** After the clock was set nobody can tell how full the buckets are: at most to the brim. */
  clockWasSet(): void {
    this.#buckets.clear();
  }

  #spend(name: string, nowMs: number): string | null {
    const queue = this.queue(name);
    if (queue.maxDispatchesPerSec === null) return null;
    const burst = burstOf(queue);
    const bucket = this.#buckets.get(name) ?? { tokens: burst, atMs: nowMs };
    const grown = (Math.max(0, nowMs - bucket.atMs) * queue.maxDispatchesPerSec) / 1_000;
    const tokens = Math.min(burst, bucket.tokens + grown) - 1;
    this.#buckets.set(name, { tokens, atMs: nowMs });
    return tokens < -0.001 ? `queue ${name} began more than ${queue.maxDispatchesPerSec} a second` : null;
  }
}
