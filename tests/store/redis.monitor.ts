/** Watches a Redis through MONITOR and tells which keys its scripts touched that they were not given. */

import Redis from "ioredis";
import { SCRIPTS } from "../../src/store/redis/scripts.ts";
import { type StandaloneRedis, until } from "../support/redis.ts";

/** Commands that scripts use and that have no keys; of PUBLISH the channel is looked at apart. */
const KEYLESS = new Set(["time", "publish"]);
const NAMES = new Map<string, string>(
  Object.values(SCRIPTS).flatMap(({ name, sha1, lua, library }): [string, string][] => [
    [sha1, name],
    [escaped(lua), name],
    [library?.name ?? sha1, name],
  ]),
);

/** A command that a script ran, and what that script was given. */
interface Ran {
  readonly script: string;
  readonly given: readonly string[];
  readonly command: readonly string[];
}

export class ScriptMonitor {
  /** Names of the scripts that ran. */
  readonly scripts = new Set<string>();
  /** Channels published to. */
  readonly channels = new Set<string>();
  /** One of each kind of command that was run with these first two arguments. */
  readonly #ran = new Map<string, Ran>();
  readonly #client: Redis;
  readonly #listener: Redis;
  #current: { readonly script: string; readonly given: readonly string[] } = { script: "none", given: [] };
  #marks = 0;

  static async start(redis: StandaloneRedis): Promise<ScriptMonitor> {
    const client = new Redis(redis.url);
    return new ScriptMonitor(client, await client.monitor());
  }

  private constructor(client: Redis, listener: Redis) {
    this.#client = client;
    this.#listener = listener;
    listener.on("monitor", (_time: string, command: readonly string[], source: string) => {
      this.#hear(command, source);
    });
  }

  /** Keys that a script touched and was not given, and keys it was given outside `{prefix}`. */
  async problems(): Promise<string[]> {
    await this.#caughtUp();
    const problems: string[] = [];
    for (const { script, given, command } of this.#ran.values()) {
      for (const key of given) {
        if (!/^\{[^{}]+\}:[a-z0-9:-]+$/.test(key)) problems.push(`${script} was given ${key}`);
      }
      if (new Set(given.map((key) => key.slice(0, key.indexOf("}")))).size > 1)
        problems.push(`${script} was given keys under several hash tags`);
      if (KEYLESS.has(command[0] ?? "")) continue;
      const touched = (await this.#client.call("COMMAND", "GETKEYS", ...command)) as string[];
      for (const key of touched) {
        if (!given.includes(key)) problems.push(`${script} touched ${key} by ${command[0]}`);
      }
    }
    return problems;
  }

  /** Every key that is in the Redis. */
  async keys(): Promise<string[]> {
    return (await this.#client.keys("*")).sort();
  }

  async stop(): Promise<void> {
    this.#listener.disconnect();
    await this.#client.quit();
  }

  #hear(command: readonly string[], source: string): void {
    const [name = "", ...args] = command;
    const lowered = name.toLowerCase();
    if (lowered === "echo") this.#marks = Math.max(this.#marks, Number(args[0]));
    if (lowered === "eval" || lowered === "evalsha" || lowered === "fcall") {
      const script = NAMES.get(args[0] ?? "") ?? "a script that is not ours";
      this.#current = { script, given: args.slice(2, 2 + Number(args[1])) };
      this.scripts.add(script);
    }
    if (source !== "lua") return;
    if (lowered === "publish") this.channels.add(args[0] ?? "");
    const { script, given } = this.#current;
    const kind = [script, lowered, given[0], args[0], args.length].join(" ");
    if (!this.#ran.has(kind)) this.#ran.set(kind, { script, given, command: [lowered, ...args] });
  }

  /** Resolves when all that was run before this call has been heard of. */
  async #caughtUp(): Promise<void> {
    const mark = this.#marks + 1;
    await this.#client.echo(String(mark));
    await until("MONITOR tells of the latest command", 5_000, () => this.#marks >= mark);
  }
}

/** As MONITOR prints a string and ioredis reads it back. */
function escaped(text: string): string {
  const lines = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return lines.replace(/[^ -~]+/g, (odd) =>
    [...new TextEncoder().encode(odd)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""),
  );
}
