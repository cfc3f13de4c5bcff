/** Where one run happens: its folder and its processes, all of which end and go when the run does. */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type AppOptions,
  type AppProcess,
  inheritedEnv,
  PROJECT_DIR,
  startApp,
} from "../scripts/app-process.ts";
import { type SentinelCluster, startSentinelCluster } from "../tests/support/redis/cluster.ts";
import { BenchRedis } from "./redis.ts";

/** A message between the bench and a process of it. */
interface Message {
  readonly event: string;
  readonly data: unknown;
}

/** A process of the bench's own, which speaks by messages. */
export interface Helper {
  readonly pid: number;
  /** Resolves with the data of the next message of that name; rejects when the process ends first. */
  event(name: string): Promise<unknown>;
  tell(event: string, data?: unknown): void;
  /** Tells it to `stop` and resolves once it has ended; its end is no error any more. */
  stop(): Promise<void>;
}

export class Room {
  readonly dir: string;
  readonly #endings: (() => Promise<unknown>)[] = [];
  readonly #broken = Promise.withResolvers<never>();
  #closed = false;

  private constructor(dir: string) {
    this.dir = dir;
    this.#broken.promise.catch(() => {});
  }

  /** Rejects when an app of the room's ends that nobody stopped, for then nothing more will come of waiting. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** Opens a room with a folder of its own under `parent`. */
  static async open(parent: string): Promise<Room> {
    return new Room(await mkdtemp(join(parent, "task-runner-bench-")));
  }

  /** Runs the app; its settings are the caller's business, its folder is the room's unless they say otherwise. */
  async startApp(options: AppOptions): Promise<AppProcess> {
    const app = await startApp({ ...options, env: { DATA_DIR: this.dir, ...options.env } });
    let isWanted = true;
    const stop = () => {
      isWanted = false;
      return app.stop();
    };
    void app.exited.then((status) => {
      if (!isWanted) return;
      this.#broken.reject(new Error(`${options.command} ended with status ${status}:\n${app.output()}`));
    });
    await this.#own(stop);
    return { ...app, stop };
  }

  /** Runs a Redis of the room's own. */
  async startRedis(): Promise<BenchRedis> {
    const redis = await BenchRedis.start(await mkdtemp(join(this.dir, "redis-")));
    await this.#own(() => redis.stop());
    return redis;
  }

  /** Runs a primary with one replica under one Sentinel of the room's own. */
  async startSentinels(): Promise<SentinelCluster> {
    const config = ["appendonly yes", "appendfsync everysec"];
    const cluster = await startSentinelCluster({ replicas: 1, sentinels: 1, config });
    await this.#own(() => cluster.stop());
    return cluster;
  }

  /** Runs bench/processes/NAME.ts with `options` as its argument. */
  async startHelper(name: string, options: unknown): Promise<Helper> {
    const queues = new Map<string, unknown[]>();
    const waiting = new Map<string, (data: unknown) => void>();
    const child = Bun.spawn(
      [process.execPath, "--no-env-file", join("bench", "processes", `${name}.ts`), JSON.stringify(options)],
      {
        cwd: PROJECT_DIR,
        env: inheritedEnv(),
        stdio: ["ignore", "inherit", "inherit"],
        ipc: (message: Message) => {
          const resolve = waiting.get(message.event);
          if (resolve !== undefined) {
            waiting.delete(message.event);
            resolve(message.data);
          } else {
            queues.set(message.event, [...(queues.get(message.event) ?? []), message.data]);
          }
        },
      },
    );
    await this.#own(() => {
      child.kill("SIGKILL");
      return child.exited;
    });
    const died = child.exited.then((status) => {
      throw new Error(`bench process ${name} ended with status ${status}`);
    });
    died.catch(() => {});
    return {
      pid: child.pid,
      event: (event) => {
        const queued = queues.get(event)?.shift();
        if (queued !== undefined) return Promise.resolve(queued);
        const next = new Promise<unknown>((resolve) => waiting.set(event, resolve));
        return Promise.race([next, died]);
      },
      tell: (event, data = null) => child.send({ event, data }),
      stop: async () => {
        child.send({ event: "stop", data: null });
        await child.exited;
      },
    };
  }

  /** Ends all processes, the latest first, and removes the folder. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    for (let end = this.#endings.pop(); end !== undefined; end = this.#endings.pop()) await end();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** A process that came up while the room was being closed must not outlive it. */
  async #own(end: () => Promise<unknown>): Promise<void> {
    if (!this.#closed) {
      this.#endings.push(end);
      return;
    }
    await end();
    throw new Error("the room was closed");
  }
}
