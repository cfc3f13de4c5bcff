/** What clients do all the while replicas are replaced: they hand tasks in, read them, and take those of a pull queue. */

import { wait } from "./failover-faults.ts";
import type { Account, RollingBooks } from "./rolling-books.ts";
import { ClosedError, type HttpAnswer, KeptConnection, NotConnectedError } from "./rolling-client.ts";

export interface RollingLoadOptions {
  /** Of the balancer. */
  readonly port: number;
  readonly books: RollingBooks;
  readonly random: () => number;
  /** What tasks call. */
  readonly targetUrl: string;
  readonly writers: number;
}

/** A writer rests this long after each answer, on average. */
const REST_MS = 40;
/** A reader, likewise. */
const READ_REST_MS = 50;
/** Every so many tasks, one goes to a pull queue. */
const PULL_EVERY = 10;
const CLIENT = "rolling";
const PULL_QUEUE = "rolling-pull";
/** Longer than it takes to replace a replica, so that there is always one that waits. */
const CONSUMER_WAIT_SEC = 20;
/** A request that is refused is repeated for so long at most. */
const PATIENCE_MS = 20_000;
const REFUSED_REST_MS = 50;

export class RollingLoad {
  readonly #options: RollingLoadOptions;
  #stopped = false;
  #working: Promise<void>[] = [];
  #consuming: Promise<void> = Promise.resolve();
  #consumed = false;
  #consumer: KeptConnection | null = null;

  constructor(options: RollingLoadOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const connection = new KeptConnection(this.#options.port);
    const made = await connection.ask("POST", "/admin/queues/set", { queue: PULL_QUEUE, mode: "pull" });
    connection.close();
    if (made.status !== 200) throw new Error(`the pull queue was not made: ${made.body}`);
    const { writers } = this.#options;
    this.#working = [...Array.from({ length: writers }, () => this.#write()), this.#read()];
    this.#consuming = this.#consume();
  }

  /** No more tasks; resolves when every answer is there. */
  async stopWriting(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#working);
  }

  /** Ends the consumer too, in the middle of its wait. */
  async close(): Promise<void> {
    this.#consumed = true;
    await this.stopWriting();
    this.#consumer?.close();
    await this.#consuming;
  }

  /** What the store says of these tasks. */
  async accounts(ids: readonly string[]): Promise<ReadonlyMap<string, Account>> {
    const connection = new KeptConnection(this.#options.port);
    const accounts = new Map<string, Account>();
    for (const id of ids) {
      const { status, body } = await connection.ask("GET", `/v1/tasks/${id}`);
      if (status === 200) accounts.set(id, (JSON.parse(body) as { counts: Account }).counts);
    }
    connection.close();
    return accounts;
  }

  async #write(): Promise<void> {
    const { books, random, targetUrl } = this.#options;
    await this.#overOneConnection(async (connection) => {
      let written = Math.floor(random() * PULL_EVERY);
      while (!this.#stopped) {
        written++;
        const isPulled = written % PULL_EVERY === 0;
        const answer = await this.#ask(connection, "POST", "/v1/enqueue", {
          client_id: CLIENT,
          // What was refused may be kept all the same: repeated under its name it stays one task.
          name: crypto.randomUUID(),
          ...(isPulled ? { queue: PULL_QUEUE, task: { body: "x" } } : { task: { url: targetUrl } }),
        });
        if (answer !== null)
          books.acknowledged.push((JSON.parse(answer.body) as { task_id: string }).task_id);
        await wait(random() * 2 * REST_MS);
      }
    });
  }

  async #read(): Promise<void> {
    const { books, random } = this.#options;
    await this.#overOneConnection(async (connection) => {
      while (!this.#stopped) {
        const id = books.acknowledged[Math.floor(random() * books.acknowledged.length)];
        if (id !== undefined) await this.#ask(connection, "GET", `/v1/tasks/${id}`);
        await wait(random() * 2 * READ_REST_MS);
      }
    });
  }

  async #consume(): Promise<void> {
    const { books } = this.#options;
    await this.#overOneConnection(async (connection) => {
      this.#consumer = connection;
      while (!this.#consumed) {
        const leased = await this.#ask(connection, "POST", `/v1/queues/${PULL_QUEUE}/lease`, {
          max: 50,
          wait_sec: CONSUMER_WAIT_SEC,
        });
        if (leased === null) continue;
        const { tasks } = JSON.parse(leased.body) as { tasks: { task_id: string; lease: string }[] };
        if (tasks.length === 0) {
          await wait(READ_REST_MS);
          continue;
        }
        for (const { task_id: id } of tasks) books.delivered(id);
        await this.#ask(connection, "POST", "/v1/leases/ack", { leases: tasks.map(({ lease }) => lease) });
      }
    });
  }

  async #overOneConnection(work: (connection: KeptConnection) => Promise<void>): Promise<void> {
    const connection = new KeptConnection(this.#options.port);
    try {
      await work(connection);
    } finally {
      connection.close();
    }
  }

  /** Asks as the documentation says that clients should: again after a 503, and where nothing was sent. Null where it failed. */
  async #ask(
    connection: KeptConnection,
    method: "GET" | "POST",
    path: string,
    body?: object,
  ): Promise<HttpAnswer | null> {
    const { books } = this.#options;
    const until = performance.now() + PATIENCE_MS;
    while (performance.now() < until) {
      const beganAt = performance.now();
      books.requests++;
      try {
        const answer = await connection.ask(method, path, body);
        if (!path.endsWith("/lease")) {
          books.longestRequestMs = Math.max(books.longestRequestMs, performance.now() - beganAt);
        }
        if (answer.status < 300) return answer;
        const retryAfterSec = Number(answer.headers.get("retry-after"));
        if (answer.status !== 503 || !(retryAfterSec > 0)) {
          books.failed.push(`${method} ${path} answered ${answer.status}: ${answer.body}`);
          return null;
        }
        books.refusedWith((JSON.parse(answer.body) as { code?: string }).code ?? "without a code");
        await wait(retryAfterSec * 1_000);
      } catch (thrown) {
        if (thrown instanceof ClosedError) return null;
        if (!(thrown instanceof NotConnectedError)) {
          books.failed.push(`${method} ${path}: ${thrown}`);
          return null;
        }
        books.unconnected++;
        await wait(REFUSED_REST_MS);
      }
    }
    books.failed.push(`${method} ${path}: refused for ${PATIENCE_MS} ms`);
    return null;
  }
}
