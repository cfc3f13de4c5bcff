/** Looks at what an API says is running while tasks begin and end, and whether all that it says agrees. */

import { DEFAULT_QUEUE } from "../../src/core/queue.ts";
import { until } from "../support/redis.ts";
import { wait } from "./failover-faults.ts";
import type { Api } from "./limits-fleet.ts";

const LOOK_EVERY_MS = 250;
/** How long counts that are read one after the other may take to agree. */
const AGREE_MS = 3_000;

/** Looks at what the API says is running, all along. */
export class RunningWatch {
  /** The most that were told. */
  peak = 0;
  agreed = 0;
  readonly disagreed: string[] = [];
  readonly #api: Api;
  readonly #client: string;
  readonly #watching: Promise<void>;
  #stopped = false;

  /** `client` has tasks in the queue `default`, and nobody else has. */
  constructor(api: Api, client: string) {
    this.#api = api;
    this.#client = client;
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#watching;
  }

  /** Resolves when the client's count, its queue's and the tasks that have a lease have been seen to agree, or do not. */
  async agree(): Promise<void> {
    let last = "";
    const agreed = await until("the counts agree", AGREE_MS, async () => {
      const before = await this.#running();
      const [queue, leased] = await Promise.all([
        this.#api.queue(DEFAULT_QUEUE),
        this.#api.list(`state=running&client_id=${this.#client}`),
      ]);
      const after = await this.#running();
      last = `client ${before} then ${after}, queue ${queue.running}, by state ${queue.counts.running}, leases ${leased.length}`;
      return [after, queue.running, queue.counts.running, leased.length].every((count) => count === before);
    }).catch(() => false);
    if (agreed) this.agreed++;
    else this.disagreed.push(last);
  }

  async #running(): Promise<number> {
    const { running } = await this.#api.client(this.#client);
    this.peak = Math.max(this.peak, running);
    return running;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      await this.agree();
      await wait(LOOK_EVERY_MS);
    }
  }
}
