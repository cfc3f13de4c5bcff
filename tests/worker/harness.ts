/** What a worker is tested with: a real store on a real file, a real target, and eyes on both. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "../../src/core/client.ts";
import { newClient } from "../../src/core/client.ts";
import { newQueue, type Queue } from "../../src/core/queue.ts";
import type { AuditEntry, SettingsKind, SettingsOf, TaskStore } from "../../src/core/store.ts";
import type { NewTask, Task, TaskState } from "../../src/core/task.ts";
import { systemClock } from "../../src/runtime.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";
import { newTarget, newTask, newTaskId } from "../support/tasks.ts";
import { CountedStore } from "./counted-store.ts";
import { Target } from "./target.ts";

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

/** The record of a change that a test makes. */
export function auditOf(action: string, subject: string): AuditEntry {
  return { atMs: Date.now(), actor: "test", action, subject, before: null, after: null };
}

function openStore(path: string, offset: { readonly ms: number }): Promise<TaskStore> {
  return openSqliteStore({
    path,
    settings: {
      defaultTier: "free",
      autoCreateQueues: true,
      retentionSucceededMs: 3_600_000,
      retentionDeadMs: 3_600_000,
      dedupWindowMs: 3_600_000,
      maxBytes: 0,
    },
    clock: { ...systemClock, now: () => Date.now() + offset.ms },
  });
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
  readonly #others: TaskStore[] = [];
  readonly #offset: { ms: number };

  private constructor(dir: string, path: string, store: TaskStore, offset: { ms: number }) {
    this.#dir = dir;
    this.path = path;
    this.store = store;
    this.counted = new CountedStore(store);
    this.#offset = offset;
  }

  /** Of its clients none has a limit, until a test gives it one. */
  static async open(): Promise<Bench> {
    const dir = await mkdtemp(join(tmpdir(), "worker-test-"));
    const path = join(dir, "store.db");
    const offset = { ms: 0 };
    const bench = new Bench(dir, path, await openStore(path, offset), offset);
    await bench.set("tier", "free", { requestsPerMinute: null, maxConcurrent: null });
    return bench;
  }

  /** The same store once more, as another process opens it. */
  async openAgain(): Promise<TaskStore> {
    const store = await openStore(this.path, this.#offset);
    this.#others.push(store);
    return store;
  }

  /** Changes what is told of a queue; the rest stays. */
  async setQueue(name: string, rules: Partial<Queue>): Promise<void> {
    const known = await this.store.read("queue", name);
    await this.set("queue", name, { ...(known?.value ?? newQueue(Date.now())), ...rules });
  }

  /** Changes what is told of a client; the rest stays. */
  async setClient(id: string, settings: Partial<Client>): Promise<void> {
    const known = await this.store.read("client", id);
    await this.set("client", id, { ...(known?.value ?? newClient("free", Date.now())), ...settings });
  }

  async set<K extends SettingsKind>(kind: K, id: string, value: SettingsOf[K]): Promise<void> {
    const from = (await this.store.read(kind, id))?.revision ?? null;
    if (!(await this.store.change({ kind, id, from, value }, auditOf(`${kind}s.set`, id)))) {
      throw new Error(`${kind} ${id} was changed by somebody else`);
    }
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
      newId: newTaskId,
      sealer: null,
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
    await Promise.all([this.store, ...this.#others].map((store) => store.close()));
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Has `times` workers die with the only task that is ready. */
export async function crash(bench: Bench, times: number): Promise<void> {
  for (let crashes = 1; crashes <= times; crashes++) {
    const { tasks } = await bench.store.claim({ worker: `dies-${crashes}`, limit: 1, leaseMs: 1 });
    bench.advanceStoreTime(10);
    const rescued = await bench.store.rescue(10);
    if (tasks.length !== 1 || rescued.length !== 1) throw new Error("the task was not there to die with");
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
