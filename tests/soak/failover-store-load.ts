/** Load on the store itself, in this process: grouped enqueues, and real workers whose deliveries cost nothing. */

import pino from "pino";
import type { ClaimRequest, LeaseRef, Settlement, TaskStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import type { Delivery } from "../../src/core/transport.ts";
import { systemClock } from "../../src/runtime.ts";
import { EnqueueGroup } from "../../src/service/enqueue-group.ts";
import { RedisConnection, type RedisEndpoint } from "../../src/store/redis/connection.ts";
import { openRedisStore, type ScriptConnection } from "../../src/store/redis/store.ts";
import type { Worker } from "../../src/worker/worker.ts";
import { DEFAULT_SETTINGS, liftLimits } from "../conformance/store/harness.ts";
import { newTask } from "../support/tasks.ts";
import { LOCAL_TARGET, localWorker } from "../support/worker.ts";
import { answerOf, type Books } from "./failover-books.ts";
import { wait } from "./failover-faults.ts";

/** Something that enqueues and delivers until it is stopped. */
export interface Load {
  start(): Promise<void>;
  /** Many tasks at once, so that some are waiting when the fault comes. */
  burst(): Promise<void>;
  /** No more enqueues; resolves when every answer is there. */
  stopWriting(): Promise<void>;
  /** Called when all is delivered, while the workers still run: finds out why tasks were delivered twice. */
  explain(books: Books): Promise<void>;
  close(): Promise<void>;
}

export interface StoreLoadOptions {
  readonly endpoint: RedisEndpoint;
  readonly books: Books;
  readonly random: () => number;
  readonly leaseMs: number;
}

const WRITERS = 32;
const WORKERS = 2;
const CONCURRENCY = 50;
const BURST = 1_000;
/** A writer rests up to this long after each answer, so that the workers keep up. */
const MAX_REST_MS = 20;
/** A delivery takes up to this long, so that some are always under way. */
const MAX_DELIVERY_MS = 30;
const DURABILITY = { replicas: 1, timeoutMs: 1_000 };

export class StoreLoad implements Load {
  readonly #options: StoreLoadOptions;
  readonly #stores: TaskStore[] = [];
  readonly #workers: Worker[] = [];
  #group: EnqueueGroup | null = null;
  #writers: Promise<void>[] = [];
  #stopped = false;

  constructor(options: StoreLoadOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    for (let nth = 0; nth < WORKERS; nth++) {
      const store = await this.#openForWorker();
      const worker = localWorker(store, (delivery) => this.#deliver(delivery), {
        id: `worker-${nth}`,
        concurrency: CONCURRENCY,
        leaseMs: this.#options.leaseMs,
      });
      this.#workers.push(worker);
      worker.start();
    }
    const store = await this.#open(await this.#connect("producer"));
    await liftLimits(store);
    const group = new EnqueueGroup(store);
    this.#group = group;
    this.#writers = Array.from({ length: WRITERS }, () => this.#write(group));
  }

  async burst(): Promise<void> {
    const tasks = Array.from({ length: BURST }, () => this.#task());
    const beganAt = performance.now();
    await this.#group?.add(tasks);
    for (const { id } of tasks) this.#options.books.answered(beganAt, { kind: "accepted", id });
  }

  async stopWriting(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }

  async explain(): Promise<void> {
    // The stores of the workers kept book all the time.
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#writers);
    await Promise.all(this.#workers.map((worker) => worker.stop(1_000)));
    await Promise.all(this.#stores.map((store) => store.close()));
  }

  async #write(group: EnqueueGroup): Promise<void> {
    const { books, random } = this.#options;
    while (!this.#stopped) {
      const task = this.#task();
      const beganAt = performance.now();
      try {
        await group.add([task]);
        books.answered(beganAt, { kind: "accepted", id: task.id });
      } catch (thrown) {
        books.answered(beganAt, answerOf(thrown));
      }
      await wait(random() * MAX_REST_MS);
    }
  }

  #task(): NewTask {
    return newTask({ target: LOCAL_TARGET });
  }

  async #deliver({ taskId }: Delivery): Promise<void> {
    const { books, random } = this.#options;
    books.delivered(taskId);
    await wait(random() * MAX_DELIVERY_MS);
  }

  async #openForWorker(): Promise<TaskStore> {
    const { books } = this.#options;
    const connection = await this.#connect("worker");
    let unconfirmed = 0;
    const watched: ScriptConnection = {
      command: (name, ...args) => connection.command(name, ...args),
      subscribe: (channel, listener) => connection.subscribe(channel, listener),
      confirm: (ranOn, wait) => connection.confirm(ranOn, wait),
      onReconnect: (listener) => connection.onReconnect(listener),
      close: () => connection.close(),
      call: async (script, keys, args, waitFor) => {
        const result = await connection.call(script, keys, args, waitFor);
        if (script.name === "exchange" && result.acked < DURABILITY.replicas) unconfirmed++;
        return result;
      },
    };
    const store = await this.#open(watched);
    const exchanged = <T>(ids: readonly string[], work: () => Promise<T>, claimed: (result: T) => string[]) =>
      noting(books, () => unconfirmed, ids, work, claimed);
    return bound(store, {
      claim: (request: ClaimRequest) =>
        exchanged(
          [],
          () => store.claim(request),
          (claim) => claim.tasks.map(({ id }) => id),
        ),
      settle: (settlements: readonly Settlement[]) =>
        exchanged(
          idsOf(settlements),
          () => store.settle(settlements),
          () => [],
        ),
      settleAndClaim: (settlements: readonly Settlement[], request: ClaimRequest) =>
        exchanged(
          idsOf(settlements),
          () => store.settleAndClaim(settlements, request),
          ({ claim }) => claim.tasks.map(({ id }) => id),
        ),
      rescue: async (limit: number) => {
        const rescued = await store.rescue(limit);
        for (const { id } of rescued) books.mayRepeat(id, "its lease ran out");
        return rescued;
      },
      extend: (leases: readonly LeaseRef[], leaseMs: number) => store.extend(leases, leaseMs),
    });
  }

  #connect(role: string): Promise<RedisConnection> {
    return RedisConnection.open(this.#options.endpoint, {
      logger: pino({ level: "silent" }),
      clock: systemClock,
      connectRetries: 10,
      retryIntervalMs: 200,
      commandTimeoutMs: 2_000,
      role,
    });
  }

  async #open(connection: ScriptConnection): Promise<TaskStore> {
    const store = await openRedisStore({
      connection,
      keyPrefix: "failover",
      durability: DURABILITY,
      settings: DEFAULT_SETTINGS,
      clock: systemClock,
    });
    this.#stores.push(store);
    return store;
  }
}

/** Runs an exchange; where no replica confirmed it, what it ended and claimed may be done again. */
async function noting<T>(
  books: Books,
  unconfirmed: () => number,
  settled: readonly string[],
  work: () => Promise<T>,
  claimed: (result: T) => string[],
): Promise<T> {
  const before = unconfirmed();
  const result = await work();
  if (unconfirmed() > before) {
    for (const id of [...settled, ...claimed(result)])
      books.mayRepeat(id, "its claim or its end was on no replica");
  }
  return result;
}

function idsOf(settlements: readonly Settlement[]): string[] {
  return settlements.map(({ lease }) => lease.taskId);
}

/** The store with some of its methods replaced. */
function bound(store: TaskStore, replaced: Partial<TaskStore>): TaskStore {
  return new Proxy(store, {
    get: (target, name) => {
      const value: unknown = Reflect.get(replaced, name) ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
