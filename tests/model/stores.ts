/** Opens the real stores for the model, each with a time of its own that is known to the millisecond. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { defineScript, type Script } from "../../src/store/redis/script.ts";
import { openRedisStore, type ScriptConnection } from "../../src/store/redis/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { connect } from "../support/redis-store.ts";
import type { OpenModelStore } from "./world.ts";

/** On a file, so that it can be opened again and by two. */
export function sqliteForModel(open: typeof openSqliteStore = openSqliteStore): OpenModelStore {
  return async (settings) => {
    const dir = await mkdtemp(join(tmpdir(), "task-runner-model-"));
    const clock = new ManualClock();
    return {
      clock,
      open: () => open({ path: join(dir, "task-runner.db"), settings, clock }),
      close: () => rm(dir, { recursive: true, force: true }),
    };
  };
}

/** What may stand in the way between the store and its scripts: a check of whether the model finds a fault puts one there. */
export type EditScript = (name: string, lua: string) => string;

export interface RedisForModel {
  readonly openStore: OpenModelStore;
  close(): Promise<void>;
}

/** On one connection to a Redis that runs, each store under a prefix of its own. */
export async function redisForModel(url: string, edit: EditScript = (_, lua) => lua): Promise<RedisForModel> {
  const connection = await connect(parseRedisUrl(url));
  const scripts = new Scripts(edit);
  let opened = 0;
  return {
    openStore: async (settings) => {
      opened += 1;
      const keyPrefix = `model-${process.pid}-${opened}`;
      const clock = new ManualClock();
      const still: ScriptConnection = {
        call: (script, keys, args, wait) =>
          connection.call(scripts.of(script), keys, [clock.now(), ...args.slice(1)], wait),
        confirm: (ranOn, wait) => connection.confirm(ranOn, wait),
        command: (name, ...args) => connection.command(name, ...args),
        subscribe: (channel, listener) => connection.subscribe(channel, listener),
        onReconnect: (listener) => connection.onReconnect(listener),
        // It is for the stores of all runs.
        close: async () => {},
      };
      return {
        clock,
        open: () => openRedisStore({ connection: still, keyPrefix, durability: "primary", settings, clock }),
        close: async () => {
          await connection.command("DEL", ...keysUnder(keyPrefix).all);
        },
      };
    },
    close: () => connection.close(),
  };
}

/** Where every script asks for the time; what is added to it is its first argument. */
const ASKS_TIME = "local clock = redis.call('TIME')";

/** The store's own scripts, to which the time is what they are told. */
class Scripts {
  readonly #edit: EditScript;
  readonly #known = new Map<string, Script>();

  constructor(edit: EditScript) {
    this.#edit = edit;
  }

  of({ name, lua, sha1 }: Script): Script {
    let script = this.#known.get(sha1);
    if (script === undefined) {
      if (!lua.includes(ASKS_TIME)) throw new Error(`the script ${name} does not ask for the time as it did`);
      script = defineScript(name, this.#edit(name, lua.replace(ASKS_TIME, "local clock = { 0, 0 }")));
      this.#known.set(sha1, script);
    }
    return script;
  }
}
