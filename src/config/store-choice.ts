/** Which store the settings choose, and which of them then have nothing to say. */

import { join } from "node:path";
import type { Config, SettingName } from "./schema.ts";
import { type RedisGrammar, redisPlaceOf } from "./store-url.ts";

/** Past this the embedded store would fill a disk before anybody looks. */
const EMBEDDED_MAX_BYTES = 10_737_418_240;

/** What the choice is made of; each undefined where it is not set. */
interface Choosing {
  readonly STORE_URL?: unknown;
  readonly REDIS_SENTINEL_ADDR?: unknown;
  readonly REDIS_ADDR?: unknown;
  readonly REDIS_MASTER_NAME?: unknown;
  readonly DATA_DIR?: unknown;
}

/** STORE_URL, else the Sentinels, else the Redis, else the embedded store: always as a URL. */
export function chosenStore(values: Choosing): { readonly url: string; readonly from: string | null } {
  const { STORE_URL, REDIS_SENTINEL_ADDR, REDIS_ADDR, REDIS_MASTER_NAME, DATA_DIR } = values;
  if (STORE_URL !== undefined) return { url: String(STORE_URL), from: null };
  if (REDIS_SENTINEL_ADDR !== undefined) {
    const sentinels = String(REDIS_SENTINEL_ADDR).replace(/\s/g, "");
    return { url: `redis+sentinel://${sentinels}/${REDIS_MASTER_NAME}`, from: "REDIS_SENTINEL_ADDR" };
  }
  if (REDIS_ADDR !== undefined) return { url: `redis://${REDIS_ADDR}/0`, from: "REDIS_ADDR" };
  return { url: `sqlite:${join(String(DATA_DIR), "task-runner.db")}`, from: null };
}

/** The defaults that depend on the store. */
export function defaultsOf(
  storeUrl: string,
  redis: RedisGrammar,
): Pick<Config, "DURABILITY" | "STORE_MAX_BYTES"> {
  const place = redisPlaceOf(storeUrl, redis);
  if (place === null) return { STORE_MAX_BYTES: EMBEDDED_MAX_BYTES };
  return { DURABILITY: place.kind === "sentinel" ? "replicated" : "primary", STORE_MAX_BYTES: 0 };
}

/** What is to be said of settings that do not go with the store. */
export interface StoreFindings {
  readonly refused: readonly { readonly name: string; readonly line: string }[];
  readonly warnings: readonly string[];
}

/** Looks at the settings in force; `isSet` tells those that are set from those at their default. */
export function judgeStore(
  config: Config,
  isSet: (name: SettingName) => boolean,
  redis: RedisGrammar,
): StoreFindings {
  const refused: { name: string; line: string }[] = [];
  const warnings: string[] = [];
  const pointOut = (name: SettingName, why: string) => {
    if (isSet(name)) warnings.push(`${name} has no effect: ${why}`);
  };
  const place = redisPlaceOf(config.STORE_URL, redis);
  if (isSet("STORE_URL")) {
    pointOut("REDIS_SENTINEL_ADDR", "STORE_URL says where tasks are kept");
    pointOut("REDIS_ADDR", "STORE_URL says where tasks are kept");
    if (place?.kind === "sentinel") pointOut("REDIS_MASTER_NAME", "STORE_URL names the master");
    if (place?.password !== undefined) pointOut("REDIS_PASSWORD", "STORE_URL holds a password");
  } else if (isSet("REDIS_SENTINEL_ADDR")) {
    pointOut("REDIS_ADDR", "REDIS_SENTINEL_ADDR comes before it");
  }
  if (place?.username !== undefined && place.password === undefined && !isSet("REDIS_PASSWORD")) {
    refused.push({
      name: "STORE_URL",
      // Not the name: it may be a password that lacks its colon.
      line:
        "STORE_URL names a user without a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE, or write " +
        "user:password@; a password without a user is :password@",
    });
  }
  if (place === null) {
    pointOut("KEY_PREFIX", "the embedded store has no keys");
    pointOut("FAILOVER_SPOOL_SEC", "the embedded store fails over to no other");
    if (config.DURABILITY === "replicated") {
      refused.push({
        name: "DURABILITY",
        line:
          "DURABILITY=replicated is not to be had of the embedded store, which is on this machine alone: " +
          "unset it, or name a Redis by REDIS_SENTINEL_ADDR, REDIS_ADDR or STORE_URL",
      });
    } else {
      pointOut("DURABILITY", "the embedded store always keeps tasks on this machine's disk");
    }
  }
  if (config.DURABILITY !== "replicated") {
    pointOut("REDIS_MIN_REPLICA_ACKS", "no replica is waited for, as DURABILITY is not replicated");
    pointOut("REDIS_ACK_TIMEOUT_MS", "no replica is waited for, as DURABILITY is not replicated");
  }
  return { refused, warnings };
}
