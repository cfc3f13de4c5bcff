/** One round of the crash proof: real processes under load, one killed without warning, and the books compared afterwards. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { liftLimits } from "../support/limits.ts";

/** Which process dies: the only one, the worker beside its API, or the API beside its worker. */
export type Victim = "all" | "work" | "serve";

export interface RoundOptions {
  readonly victim: Victim;
  /** Decides when the kill comes. */
  readonly seed: number;
  readonly leaseSec: number;
}

/** The books of a round. What must be empty or small is judged by the caller. */
export interface RoundReport {
  readonly acknowledged: number;
  /** Acknowledged and never delivered. */
  readonly lost: readonly string[];
  /** Delivered more than once although the store did not have them running with the dead worker. */
  readonly unexplained: readonly string[];
  /** Delivered more than once, and running with the worker that died. */
  readonly repeated: number;
  /** Tasks that were running with the worker that died. */
  readonly orphans: number;
  /** From the kill until every acknowledged task of before the kill was delivered and every orphan delivered again. */
  readonly recoveredMs: number;
  /** Enqueues that failed while the API was down, and were not acknowledged. */
  readonly refused: number;
}

const WRITERS = 12;
const CONCURRENCY = 20;
/** A writer rests this long after each task, so that the worker keeps up and a backlog is never taken for a loss. */
const MIN_REST_MS = 10;
const MAX_REST_MS = 30;
/** The target takes this long to answer, at most: enough that some deliveries are always under way. */
const MAX_ANSWER_MS = 30;
/** What recovery may take beyond the lease before the round gives up and reports what is missing. */
const GIVE_UP_MS = 20_000;

/** Runs one round; rejects only when the round itself could not be run. */
export async function killRound({ victim, seed, leaseSec }: RoundOptions): Promise<RoundReport> {
  const random = seeded(seed);
  const dir = mkdtempSync(join(tmpdir(), "task-runner-kill-"));
  const target = new RecordingTarget(random);
  const processes = new Set<AppProcess>();
  const env = {
    DATA_DIR: dir,
    ALLOW_PRIVATE_URLS: "true",
    WORKER_CONCURRENCY: String(CONCURRENCY),
    LEASE_SEC: String(leaseSec),
    LOG_LEVEL: "warn",
  };
  const start = async (command: Victim): Promise<AppProcess> => {
    const started = await startApp({ command, env: { ...env, LOG_LEVEL: "info" } });
    processes.add(started);
    return started;
  };
  try {
    let api = await start(victim === "all" ? "all" : "serve");
    const worker = victim === "all" ? api : await start("work");
    const doomed = victim === "serve" ? api : worker;
    await liftLimits(api.url);
    const writers = new Writers(() => api.url, target.url, random);
    writers.start(WRITERS);
    await wait(300 + random() * 1_200);

    process.kill(doomed.pid, "SIGKILL");
    const killedAt = performance.now();
    await doomed.exited;
    processes.delete(doomed);
    const orphans = victim === "serve" ? new Set<string>() : runningTasks(join(dir, "task-runner.db"));
    target.markKill();
    const before = [...writers.acknowledged];
    const revived = await start(victim);
    if (victim !== "work") api = revived;

    await target.delivered((seen) => before.every((id) => seen.has(id)), GIVE_UP_MS);
    await target.redelivered(orphans, leaseSec * 1_000 + GIVE_UP_MS);
    const recoveredMs = performance.now() - killedAt;
    await writers.stop();
    await target.delivered((seen) => writers.acknowledged.every((id) => seen.has(id)), GIVE_UP_MS);

    const lost = writers.acknowledged.filter((id) => !target.deliveries.has(id));
    const twice = [...target.deliveries].filter(([, count]) => count > 1).map(([id]) => id);
    return {
      acknowledged: writers.acknowledged.length,
      lost,
      unexplained: twice.filter((id) => !orphans.has(id)),
      repeated: twice.filter((id) => orphans.has(id)).length,
      orphans: orphans.size,
      recoveredMs: Math.round(recoveredMs),
      refused: writers.refused,
    };
  } finally {
    for (const running of processes) await running.stop();
    await target.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Ids that the store has with a worker at this moment, read from the file itself. */
function runningTasks(path: string): Set<string> {
  const db = new DatabaseSync(path);
  try {
    const rows = db.prepare("SELECT id FROM tasks WHERE lease_ms IS NOT NULL").all();
    return new Set(rows.map((row) => String(row.id)));
  } finally {
    db.close();
  }
}

/** Enqueues one task after another until stopped, and remembers what was acknowledged. */
class Writers {
  readonly acknowledged: string[] = [];
  refused = 0;
  readonly #apiUrl: () => string;
  readonly #targetUrl: string;
  readonly #random: () => number;
  #stopped = false;
  #loops: Promise<void>[] = [];

  constructor(apiUrl: () => string, targetUrl: string, random: () => number) {
    this.#apiUrl = apiUrl;
    this.#targetUrl = targetUrl;
    this.#random = random;
  }

  start(count: number): void {
    this.#loops = Array.from({ length: count }, () => this.#loop());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      try {
        const answer = await fetch(`${this.#apiUrl()}/v1/enqueue`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({
            client_id: "soak",
            task: { url: this.#targetUrl, body: { n: this.acknowledged.length } },
          }),
          signal: AbortSignal.timeout(5_000),
        });
        const { task_id: id } = (await answer.json()) as { task_id?: string };
        if (answer.status === 202 && id !== undefined) this.acknowledged.push(id);
        else this.refused++;
      } catch {
        // The API is down between the kill and the restart.
        this.refused++;
      }
      await wait(MIN_REST_MS + this.#random() * (MAX_REST_MS - MIN_REST_MS));
    }
  }
}

/** Answers 200 after a moment, and counts deliveries by task. */
class RecordingTarget {
  /** How often each task's request arrived. */
  readonly deliveries = new Map<string, number>();
  readonly #seen = new Set<string>();
  readonly #sinceKill = new Set<string>();
  readonly #server;
  #killed = false;
  #changed: () => void = () => {};

  constructor(random: () => number) {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const id = request.headers.get("x-task-id") ?? "";
        await request.arrayBuffer();
        this.deliveries.set(id, (this.deliveries.get(id) ?? 0) + 1);
        this.#seen.add(id);
        if (this.#killed) this.#sinceKill.add(id);
        this.#changed();
        await wait(random() * MAX_ANSWER_MS);
        return new Response("ok");
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/`;
  }

  /** From now on deliveries count as ones after the kill. */
  markKill(): void {
    this.#killed = true;
  }

  /** Resolves when `enough` says so of all tasks seen, or after `timeoutMs`; the caller looks which. */
  delivered(enough: (seen: ReadonlySet<string>) => boolean, timeoutMs: number): Promise<void> {
    return this.#until(() => enough(this.#seen), timeoutMs);
  }

  /** Resolves when each of these was delivered after the kill, or after `timeoutMs`. */
  redelivered(ids: ReadonlySet<string>, timeoutMs: number): Promise<void> {
    return this.#until(() => [...ids].every((id) => this.#sinceKill.has(id)), timeoutMs);
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
  }

  #until(done: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        clearInterval(look);
        this.#changed = () => {};
        resolve();
      };
      let dirty = true;
      this.#changed = () => {
        dirty = true;
      };
      // Looking at thousands of ids on each of thousands of arrivals would be the load itself.
      const look = setInterval(() => {
        if (!dirty) return;
        dirty = false;
        if (done()) finish();
      }, 10);
      const timer = setTimeout(finish, timeoutMs);
    });
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Numbers in [0, 1) that a seed repeats: mulberry32 (Tommy Ettinger, public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
