/** The client of Task Runner: everything its API does, by name. */

import { Clients, DeadLetters, Queues, Tiers } from "./admin.ts";
import { Caller, type CallOptions, type ClientOptions } from "./call.ts";
import { Pull } from "./pull.ts";
import type {
  AuditEntry,
  BatchAnswer,
  Duplicate,
  Enqueued,
  EnqueueRequest,
  PageRequest,
  Stats,
} from "./shapes.ts";
import { Tasks } from "./tasks.ts";

export interface EnqueueOptions extends CallOptions {
  /**
   * 1 to 255 visible ASCII characters: a second sending of the same client with this key makes no second task. With it, or
   * with the task's `name`, the call is repeated when the server is busy.
   */
  readonly idempotencyKey?: string;
  /** W3C trace context, passed on to the task's target. */
  readonly traceparent?: string;
}

export class TaskRunner {
  readonly tasks: Tasks;
  readonly pull: Pull;
  readonly clients: Clients;
  readonly tiers: Tiers;
  readonly queues: Queues;
  readonly dead: DeadLetters;
  readonly #caller: Caller;

  /** Throws a TypeError for a URL that is none. */
  constructor(options: ClientOptions) {
    const caller = new Caller(options);
    this.#caller = caller;
    this.tasks = new Tasks(caller);
    this.pull = new Pull(caller);
    this.clients = new Clients(caller);
    this.tiers = new Tiers(caller);
    this.queues = new Queues(caller);
    this.dead = new DeadLetters(caller);
  }

  /** Hands in a task. It is kept once this resolves, as safely as `durability` says. */
  enqueue(request: EnqueueRequest, options: EnqueueOptions = {}): Promise<Enqueued | Duplicate> {
    const repeatable = options.idempotencyKey !== undefined || request.name !== undefined;
    return this.#handIn("/v1/enqueue", request, repeatable, options);
  }

  /**
   * Hands in up to 1,000 tasks, each admitted on its own: look for `rejected` among the results. With an idempotency key
   * the task at index N has the key `{key}:N`.
   */
  enqueueBatch(tasks: readonly EnqueueRequest[], options: EnqueueOptions = {}): Promise<BatchAnswer> {
    const repeatable = options.idempotencyKey !== undefined || tasks.every(({ name }) => name !== undefined);
    return this.#handIn("/v1/enqueue/batch", { tasks }, repeatable, options);
  }

  /** What the whole installation is doing now. Needs the admin key. */
  stats(options?: CallOptions): Promise<Stats> {
    return this.#caller.json({ method: "GET", path: "/admin/stats", repeatable: true }, options);
  }

  /** Who changed what, newest first. Needs the admin key. */
  audit(
    page: PageRequest = {},
    options?: CallOptions,
  ): Promise<{ readonly entries: AuditEntry[]; readonly next_cursor: string | null }> {
    const query = { ...page };
    return this.#caller.json({ method: "GET", path: "/admin/audit", query, repeatable: true }, options);
  }

  #handIn<T>(path: string, body: object, repeatable: boolean, options: EnqueueOptions): Promise<T> {
    const { idempotencyKey, traceparent, ...callOptions } = options;
    const headers = { "idempotency-key": idempotencyKey, traceparent };
    return this.#caller.json({ method: "POST", path, body, headers, repeatable }, callOptions);
  }
}
