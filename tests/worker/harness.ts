/** What a worker is tested with: a real store on a real file, a real target, and eyes on both. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreHint, TaskStore } from "../../src/core/store.ts";
import type { NewTask, Task, TaskState } from "../../src/core/task.ts";
import { systemClock } from "../../src/runtime.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";
import { newTarget, newTask } from "../support/tasks.ts";

/** No test waits longer than this for something that is to happen. */
const PATIENCE_MS = 15_000;
const RECHECK_MS = 25;

/** Resolves once `isSo` holds; fails, saying what was awaited, when it never does. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${PATIENCE_MS} ms in vain: ${what}`);
    await Bun.sleep(RECHECK_MS);
  }
}

export interface Hit {
  readonly taskId: string;
  readonly attempt: number;
  readonly fence: number;
  readonly path: string;
  readonly atMs: number;
  /** Aborts when the worker broke the request off. */
  readonly signal: AbortSignal;
}

type Answer = (hit: Hit) => Response | Promise<Response>;

/** An HTTP server that keeps account of what reaches it and answers as it is told. */
export class Target {
  readonly hits: Hit[] = [];
  open = 0;
  mostOpen = 0;
  answer: Answer = () => new Response("ok");
  readonly #server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: async (request) => {
      const hit: Hit = {
        taskId: request.headers.get("x-task-id") ?? "",
        attempt: Number(request.headers.get("x-task-attempt")),
        fence: Number(request.headers.get("x-task-fence")),
        path: new URL(request.url).pathname,
        atMs: Date.now(),
        signal: request.signal,
      };
      this.hits.push(hit);
      this.open++;
      this.mostOpen = Math.max(this.mostOpen, this.open);
      try {
        return await this.answer(hit);
      } finally {
        this.open--;
      }
    },
  });

  url(path = "/"): string {
    return `http://127.0.0.1:${this.#server.port}${path}`;
  }

  hitsOf(taskId: string): Hit[] {
    return this.hits.filter((hit) => hit.taskId === taskId);
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
  }
}

/** An answer that comes only when the worker has broken off, or when the test lets it. */
export class HeldAnswers {
  readonly #letGo: (() => void)[] = [];
  /** How many requests were broken off by the worker. */
  aborted = 0;

  readonly answer: Answer = ({ signal }) =>
    new Promise((resolve) => {
      this.#letGo.push(() => resolve(new Response("late")));
      signal.addEventListener("abort", () => {
        this.aborted++;
        resolve(new Response("nobody listens"));
      });
    });

  get held(): number {
    return this.#letGo.length;
  }

  letGo(): void {
    for (const go of this.#letGo.splice(0)) go();
  }
}

export type StoreCall = "claim" | "settle" | "settleAndClaim" | "extend" | "rescue" | "sweep" | "announce";

/** The real store with a count of the calls that a worker makes, and as slow as one across a network if told so. */
export class CountedStore {
  readonly calls: Record<StoreCall, number> = {
    claim: 0,
    settle: 0,
    settleAndClaim: 0,
    extend: 0,
    rescue: 0,
    sweep: 0,
    announce: 0,
  };
  /** How long claims and settlements take to come back; they are done at once. */
  answerAfterMs = 0;
  /** The most claims and settlements that were under way at once. */
  mostExchanges = 0;
  #exchanges = 0;
  readonly #store: TaskStore;

  constructor(store: TaskStore) {
    this.#store = store;
  }

  get total(): number {
    return Object.values(this.calls).reduce((sum, count) => sum + count, 0);
  }

  claim: TaskStore["claim"] = (request) => this.#exchange(this.#counted("claim").claim(request));
  settle: TaskStore["settle"] = (settlements) => this.#exchange(this.#counted("settle").settle(settlements));
  settleAndClaim: TaskStore["settleAndClaim"] = (settlements, request) =>
    this.#exchange(this.#counted("settleAndClaim").settleAndClaim(settlements, request));
  extend: TaskStore["extend"] = (leases, leaseMs) => this.#counted("extend").extend(leases, leaseMs);
  rescue: TaskStore["rescue"] = (limit) => this.#counted("rescue").rescue(limit);
  sweep: TaskStore["sweep"] = (limit) => this.#counted("sweep").sweep(limit);
  announce: TaskStore["announce"] = (worker) => this.#counted("announce").announce(worker);
  onHint = (listener: (hint: StoreHint) => void) => this.#store.onHint(listener);

  async #exchange<T>(answer: Promise<T>): Promise<T> {
    this.mostExchanges = Math.max(this.mostExchanges, ++this.#exchanges);
    try {
      if (this.answerAfterMs > 0) await Bun.sleep(this.answerAfterMs);
      return await answer;
    } finally {
      this.#exchanges--;
    }
  }

  #counted(call: StoreCall): TaskStore {
    this.calls[call]++;
    return this.#store;
  }
}

type WorkerSettings = Partial<WorkerOptions>;

/** A store, a target and workers, all let go of by `close`. */
export class Bench {
  readonly path: string;
  readonly store: TaskStore;
  readonly counted: CountedStore;
  readonly target = new Target();
  /** What the workers logged, one parsed line each. */
  readonly log: { readonly level: string; readonly msg: string }[] = [];
  readonly #dir: string;
  readonly #workers: Worker[] = [];
  readonly #offset: { ms: number };

  private constructor(dir: string, path: string, store: TaskStore, offset: { ms: number }) {
    this.#dir = dir;
    this.path = path;
    this.store = store;
    this.counted = new CountedStore(store);
    this.#offset = offset;
  }

  static async open(): Promise<Bench> {
    const dir = await mkdtemp(join(tmpdir(), "worker-test-"));
    const path = join(dir, "store.db");
    const offset = { ms: 0 };
    const store = await openSqliteStore({
      path,
      settings: {
        retentionSucceededMs: 3_600_000,
        retentionDeadMs: 3_600_000,
        dedupWindowMs: 3_600_000,
        maxBytes: 0,
      },
      clock: { now: () => Date.now() + offset.ms, after: systemClock.after },
    });
    return new Bench(dir, path, store, offset);
  }

  /** Moves the store's clock ahead; the workers' own stays. */
  advanceStoreTime(ms: number): void {
    this.#offset.ms += ms;
  }

  /** A worker that runs until the bench is closed. */
  start(settings: WorkerSettings = {}): Worker {
    const worker = new Worker({
      id: `worker-${this.#workers.length + 1}`,
      version: "0.0.0",
      store: this.counted,
      transports: new TransportRegistry([
        createHttpTransport({ allowPrivate: true, version: "0.0.0", clock: systemClock }),
      ]),
      clock: systemClock,
      random: Math.random,
      logger: createLogger({
        level: "debug",
        role: "work",
        destination: { write: (line: string) => this.log.push(JSON.parse(line)) },
      }),
      concurrency: 10,
      leaseMs: 30_000,
      taskTimeoutMs: 60_000,
      maxRetries: 5,
      allowPrivateUrls: true,
      breaker: { failureThreshold: 1_000, openMs: 30_000 },
      ...settings,
    });
    this.#workers.push(worker);
    worker.start();
    return worker;
  }

  /** A task for the target, not enqueued yet. */
  task(overrides: Partial<NewTask> & { readonly path?: string } = {}): NewTask {
    const { path, ...rest } = overrides;
    return newTask({ target: newTarget({ url: this.target.url(path) }), ...rest });
  }

  /** Enqueues one task for the target and returns its id. */
  async enqueue(overrides: Partial<NewTask> & { readonly path?: string } = {}): Promise<string> {
    const task = this.task(overrides);
    await this.store.enqueue([task]);
    return task.id;
  }

  async get(id: string): Promise<Task> {
    const task = await this.store.get(id);
    if (task === null) throw new Error(`task ${id} is gone`);
    return task;
  }

  /** Waits for a task to come to a state. */
  async reaches(id: string, state: TaskState): Promise<Task> {
    await until(`task ${id} is ${state}`, async () => (await this.get(id)).state === state);
    return this.get(id);
  }

  logged(text: string): { readonly level: string; readonly msg: string }[] {
    return this.log.filter(({ msg }) => msg.includes(text));
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop(0)));
    await this.target.close();
    await this.store.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** A test's body with a bench of its own, closed whatever happens. */
export function withBench(body: (bench: Bench) => Promise<void>): () => Promise<void> {
  return async () => {
    const bench = await Bench.open();
    try {
      await body(bench);
    } finally {
      await bench.close();
    }
  };
}
