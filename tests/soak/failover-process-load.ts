/** Load on real processes over HTTP: one that takes tasks, two that work, and a target that keeps book. */

import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";
import type { Answer, Books } from "./failover-books.ts";
import { wait } from "./failover-faults.ts";
import type { Load } from "./failover-store-load.ts";

export interface ProcessLoadOptions {
  readonly books: Books;
  readonly random: () => number;
  readonly leaseSec: number;
  /** Where the store is. */
  readonly env: Readonly<Record<string, string>>;
}

const CLIENT = "failover";
const WRITERS = 32;
const WORKERS = 2;
const CONCURRENCY = 50;
const BURST = 1_000;
const MIN_REST_MS = 10;
const MAX_REST_MS = 50;
const MAX_ANSWER_MS = 30;
/** A request that takes longer is given up, and counts as odd. */
const HUNG_MS = 10_000;

export class ProcessLoad implements Load {
  readonly #options: ProcessLoadOptions;
  readonly #processes: AppProcess[] = [];
  readonly #target;
  #api: AppProcess | null = null;
  #writers: Promise<void>[] = [];
  #stopped = false;

  constructor(options: ProcessLoadOptions) {
    const { books, random } = options;
    this.#options = options;
    this.#target = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const id = request.headers.get("x-task-id") ?? "";
        await request.arrayBuffer();
        books.delivered(id);
        await wait(random() * MAX_ANSWER_MS);
        return new Response("ok");
      },
    });
  }

  async start(): Promise<void> {
    const [api] = await Promise.all([
      this.#start("serve"),
      ...Array.from({ length: WORKERS }, () => this.#start("work")),
    ]);
    this.#api = api;
    await liftLimits(api.url);
    // Until the store is open and a worker has said that it calls private addresses, nothing is taken.
    while ((await this.#enqueue(api)).kind !== "accepted") await wait(100);
    this.#writers = Array.from({ length: WRITERS }, () => this.#write(api));
  }

  async burst(): Promise<void> {
    const beganAt = performance.now();
    const answer = await post(`${this.#api?.url}/v1/enqueue/batch`, {
      tasks: Array.from({ length: BURST }, () => ({ client_id: CLIENT, task: this.#task })),
    });
    const { results } = (await answer.json()) as { results?: { task_id?: string }[] };
    if (results === undefined) throw new Error(`the burst was answered with ${answer.status}`);
    for (const { task_id: id } of results) {
      this.#options.books.answered(
        beganAt,
        id === undefined
          ? { kind: "odd", what: "a task of the burst was refused" }
          : { kind: "accepted", id },
      );
    }
  }

  async stopWriting(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }

  /** The store tells of every lease that ran out; otherwise the time of the first delivery must explain the next. */
  async explain(books: Books): Promise<void> {
    for (const id of books.repeated()) {
      const answer = await fetch(`${this.#api?.url}/v1/tasks/${id}`);
      const task = (await answer.json()) as { counts?: { crashes: number } };
      if ((task.counts?.crashes ?? 0) > 0) books.mayRepeat(id, "its lease ran out");
      else if (books.wasUnsafe(id)) books.mayRepeat(id, "its claim or its end was on no replica");
    }
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#writers);
    await Promise.all(this.#processes.map((process) => process.stop()));
    await this.#target.stop(true);
  }

  async #start(command: "serve" | "work"): Promise<AppProcess> {
    const started = await startApp({
      command,
      env: {
        ...this.#options.env,
        ALLOW_PRIVATE_URLS: "true",
        WORKER_CONCURRENCY: String(CONCURRENCY),
        LEASE_SEC: String(this.#options.leaseSec),
      },
    });
    this.#processes.push(started);
    return started;
  }

  async #write(api: AppProcess): Promise<void> {
    const { books, random } = this.#options;
    while (!this.#stopped) {
      const beganAt = performance.now();
      books.answered(beganAt, await this.#enqueue(api));
      await wait(MIN_REST_MS + random() * (MAX_REST_MS - MIN_REST_MS));
    }
  }

  async #enqueue({ url }: AppProcess): Promise<Answer> {
    try {
      const answer = await post(`${url}/v1/enqueue`, { client_id: CLIENT, task: this.#task });
      const body = (await answer.json()) as { task_id?: string; code?: string };
      if (answer.status === 202 && body.task_id !== undefined) return { kind: "accepted", id: body.task_id };
      if (answer.status === 503 && Number(answer.headers.get("retry-after")) > 0) return { kind: "refused" };
      return { kind: "odd", what: `${answer.status} ${JSON.stringify(body)}` };
    } catch (thrown) {
      return { kind: "odd", what: String(thrown) };
    }
  }
  get #task() {
    return { url: `http://127.0.0.1:${this.#target.port}/`, body: { n: 1 } };
  }
}

function post(url: string, body: object): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(HUNG_MS),
  });
}
