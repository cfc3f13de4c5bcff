/** Processes on one store for the proofs of limits, and the requests that those make of them. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { startRedis, until } from "../support/redis.ts";

/** Where the processes keep their tasks. */
export type Place = "redis" | "embedded";

const OPEN_MS = 15_000;
/** A request that takes longer has failed. */
const HUNG_MS = 10_000;
/** The most tasks that one request hands in. */
const BATCH = 1_000;
/** Batches under way at once while a queue is filled. */
const BATCHES_AT_ONCE = 4;
/** A batch that was not taken because there is too much to take is handed in again after so long, so often at most. */
const AGAIN_MS = 1_000;
const MAX_TRIES = 60;

/** Any number of processes on one store, all of them ended by {@link close}. */
export class Fleet {
  readonly #env: Readonly<Record<string, string>>;
  readonly #remove: () => Promise<void>;
  readonly #running = new Set<AppProcess>();

  static async open(place: Place, env: Readonly<Record<string, string>> = {}): Promise<Fleet> {
    if (place === "redis") {
      const redis = await startRedis({ password: "limits" });
      return new Fleet({ STORE_URL: redis.url, ...env }, () => redis.stop());
    }
    const dir = await mkdtemp(join(tmpdir(), "task-runner-limits-"));
    return new Fleet({ DATA_DIR: dir, ...env }, () => rm(dir, { recursive: true, force: true }));
  }

  private constructor(env: Readonly<Record<string, string>>, remove: () => Promise<void>) {
    this.#env = env;
    this.#remove = remove;
  }

  /** Starts APIs, one after another, and resolves once each can use the store. */
  async serve(count: number): Promise<Api[]> {
    const apis: Api[] = [];
    for (let nth = 0; nth < count; nth++) {
      const { url } = await this.#start("serve");
      const api = new Api(url);
      await until(
        "the API is ready",
        OPEN_MS,
        async () => (await api.ask("GET", "/health/ready")).status === 200,
      );
      apis.push(api);
    }
    return apis;
  }

  /** Starts workers, and resolves once all of them listen. */
  async work(count: number, concurrency: number): Promise<AppProcess[]> {
    const env = { WORKER_CONCURRENCY: String(concurrency) };
    const starts = Array.from({ length: count }, () => this.#start("work", env));
    // Where one fails the others are waited for all the same, so that closing finds them.
    await Promise.allSettled(starts);
    return Promise.all(starts);
  }

  /** Ends a process as a crash does. */
  async kill(app: AppProcess): Promise<void> {
    process.kill(app.pid, "SIGKILL");
    await app.exited;
    this.#running.delete(app);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((app) => app.stop()));
    await this.#remove();
  }

  async #start(command: "serve" | "work", env: Readonly<Record<string, string>> = {}): Promise<AppProcess> {
    const app = await startApp({ command, env: { ALLOW_PRIVATE_URLS: "true", ...this.#env, ...env } });
    this.#running.add(app);
    return app;
  }
}

export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** A client as the admin routes show it, as far as the proofs look at it. */
export interface ClientView {
  readonly running: number;
  readonly requests_last_minute: number;
}

export interface QueueView {
  readonly running: number;
  readonly counts: Readonly<Record<"ready" | "scheduled" | "running" | "retrying" | "succeeded", number>>;
  readonly purge: { readonly removed: number; readonly share: number } | null;
}

/** A task as it is handed in. */
export interface NewTaskBody {
  readonly client_id: string;
  readonly queue?: string;
  readonly delay?: number;
  readonly task: { readonly url: string };
}

export interface Enqueued {
  readonly task_id?: string;
  readonly code?: string;
  readonly detail?: string;
}

/** One API and what is asked of it. */
export class Api {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** Whatever it answers; rejects when it does not. `T` is the shape of the answer's body. */
  async ask<T>(method: "GET" | "POST", path: string, body?: object): Promise<Answer<T>> {
    const response = await fetch(this.url + path, {
      method,
      ...(body !== undefined && {
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
      signal: AbortSignal.timeout(HUNG_MS),
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as T };
  }

  enqueue(task: NewTaskBody): Promise<Answer<Enqueued>> {
    return this.ask("POST", "/v1/enqueue", task);
  }

  client(id: string): Promise<ClientView> {
    return this.#well("GET", `/admin/clients/get?client_id=${id}`);
  }

  setClient(id: string, settings: object): Promise<ClientView> {
    return this.#well("POST", "/admin/clients/set", { client_id: id, ...settings });
  }

  queue(name: string): Promise<QueueView> {
    return this.#well("GET", `/admin/queues/get?queue=${name}`);
  }

  setQueue(name: string, rules: object): Promise<QueueView> {
    return this.#well("POST", "/admin/queues/set", { queue: name, ...rules });
  }

  async change(action: "pause" | "resume" | "purge", queue: string): Promise<void> {
    await this.#well("POST", `/admin/queues/${action}`, { queue });
  }

  /** Every task in a listing of `query`, page by page. */
  async list<T>(query: string): Promise<T[]> {
    const tasks: T[] = [];
    let cursor: string | null = null;
    do {
      const from: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const page: { tasks: T[]; next_cursor: string | null } = await this.#well(
        "GET",
        `/v1/tasks?limit=1000&${query}${from}`,
      );
      tasks.push(...page.tasks);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return tasks;
  }

  /** Hands in so many tasks, in batches; all of them must be taken. Returns their ids. */
  async fill(count: number, make: (index: number) => NewTaskBody): Promise<string[]> {
    const ids: string[] = [];
    let next = 0;
    const hand = async () => {
      while (next < count) {
        const from = next;
        next = Math.min(count, from + BATCH);
        const tasks = Array.from({ length: next - from }, (_, index) => make(from + index));
        const { results } = await this.#taken(tasks);
        for (const { task_id: id, detail } of results) {
          if (id === undefined) throw new Error(`a task of the batch was refused: ${detail}`);
          ids.push(id);
        }
      }
    };
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, hand));
    return ids;
  }

  /** One batch, handed in again where the server has too much to take: then nothing of it was kept. */
  async #taken(tasks: readonly NewTaskBody[]): Promise<{ readonly results: readonly Enqueued[] }> {
    const path = "/v1/enqueue/batch";
    for (let tries = 1; ; tries++) {
      const { status, body } = await this.ask<{ results: readonly Enqueued[] }>("POST", path, { tasks });
      if (status < 300) return body;
      if (status !== 503 || tries === MAX_TRIES) {
        throw new Error(`POST ${path} answered ${status}: ${JSON.stringify(body)}`);
      }
      await Bun.sleep(AGAIN_MS);
    }
  }

  async #well<T>(method: "GET" | "POST", path: string, body?: object): Promise<T> {
    const answer = await this.ask<T>(method, path, body);
    if (answer.status >= 300) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  }
}
