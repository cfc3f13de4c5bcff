/** A fresh Redis for one run, set up as a queue's should be, and what it says of itself. */

import { freePorts } from "../tests/support/redis/ports.ts";
import { PortTakenError, RedisProcess } from "../tests/support/redis/process.ts";
import { writeRedisConf } from "../tests/support/redis/standalone.ts";
import { until } from "../tests/support/redis/until.ts";

const MAX_TRIES = 3;
const REWRITE_MS = 120_000;
/** Commands that no script may issue, or that none here does: what clients send is the sum of their calls. */
const SENT =
  /^cmdstat_(?:eval|evalsha|fcall|multi|exec|wait|info|ping|role|hello|auth|select|subscribe|unsubscribe|bzpopmin|brpoplpush|blmove|client|script)\b/;

/** What Redis has done since it started. */
export interface RedisTally {
  /** Commands sent by clients, a script counting as one. */
  readonly sent: number;
  /** Commands executed, those in scripts included. */
  readonly executed: number;
  /** CPU time used, in milliseconds. */
  readonly cpuMs: number;
}

export class BenchRedis {
  readonly #process: RedisProcess;

  private constructor(process: RedisProcess) {
    this.#process = process;
  }

  /**
   * Starts one in the directory, which it makes. Its append-only file is synced once a second and nothing is
   * ever evicted, which is what both we and BullMQ advise. Rejects with one clear line where there is none.
   */
  static async start(dir: string): Promise<BenchRedis> {
    for (let tries = 1; ; tries++) {
      const [port = 0] = await freePorts(1);
      await writeRedisConf(dir, { port, password: null, lines: ["appendonly yes", "appendfsync everysec"] });
      const process = new RedisProcess({ program: "redis-server", dir, port, password: null });
      try {
        await process.start();
        return new BenchRedis(process);
      } catch (error) {
        await process.kill();
        if (!(error instanceof PortTakenError) || tries === MAX_TRIES) throw error;
      }
    }
  }

  /** Where it listens, as clients take it. */
  get address(): { readonly host: string; readonly port: number } {
    return { host: this.#process.host, port: this.#process.port };
  }

  /** As STORE_URL takes it. */
  get url(): string {
    return `redis://${this.#process.address}/0`;
  }

  /** For whoever makes it stand still. Throws when it does not run. */
  get pid(): number {
    return this.#process.pid;
  }

  async number(command: string, ...args: string[]): Promise<number> {
    return Number(await this.#process.command(command, ...args));
  }

  /** Bytes that the data takes, all structures counted, without what is on its way to clients or to disk. */
  async dataBytes(): Promise<number> {
    await until("no rewriting of the append-only file", REWRITE_MS, async () => {
      const persistence = await this.#process.info("persistence");
      return persistence.get("aof_rewrite_in_progress") === "0";
    });
    const memory = await this.#process.info("memory");
    const bytes = (name: string) => Number(memory.get(name) ?? Number.NaN);
    return bytes("used_memory") - bytes("mem_aof_buffer") - bytes("mem_clients_normal");
  }

  async tally(): Promise<RedisTally> {
    const info = await this.#process.info("everything");
    let sent = 0;
    for (const [name, value] of info) {
      if (SENT.test(name)) sent += Number(/calls=(\d+)/.exec(value)?.[1]);
    }
    const seconds = (name: string) => Number(info.get(name) ?? Number.NaN);
    return {
      sent,
      executed: Number(info.get("total_commands_processed")),
      cpuMs: (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1_000,
    };
  }

  /** What clients have had it do since it started, and the bytes of that. */
  async traffic(): Promise<Readonly<Record<"commands" | "bytes in" | "bytes out", number>>> {
    const info = await this.#process.info("stats");
    const number = (name: string) => Number(info.get(name) ?? Number.NaN);
    return {
      commands: number("total_commands_processed"),
      "bytes in": number("total_net_input_bytes"),
      "bytes out": number("total_net_output_bytes"),
    };
  }

  stop(): Promise<void> {
    return this.#process.kill();
  }
}

/** A tally comes over a connection of its own: between two lie the INFO of the first and the HELLO of the second. */
const COMMANDS_OF_TALLY = 2;

/** What was done between two tallies, without the tallying. */
export function between(before: RedisTally, after: RedisTally): RedisTally {
  return {
    sent: after.sent - before.sent - COMMANDS_OF_TALLY,
    executed: after.executed - before.executed - COMMANDS_OF_TALLY,
    cpuMs: after.cpuMs - before.cpuMs,
  };
}
