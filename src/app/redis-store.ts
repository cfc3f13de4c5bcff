/** Opens the store on Redis: the address, the login and the promise that the settings make, and patience at the start. */

import type { Config, RedisGrammar } from "../config.ts";
import type { StoreSettings, TaskStore } from "../core/store.ts";
import {
  endpointText,
  parseAddress,
  parseAddresses,
  parseRedisUrl,
  REDIS_PORT,
  type RedisEndpoint,
  SENTINEL_PORT,
} from "../store/redis/address.ts";
import { RedisUnavailableError } from "../store/redis/command-error.ts";
import { RedisConnection } from "../store/redis/connection.ts";
import { patiently } from "../store/redis/patience.ts";
import {
  openExistingRedisStore,
  openRedisStore,
  type RedisStoreOptions,
  type SpoolOptions,
} from "../store/redis/store.ts";
import type { OpenOptions, StorePlan } from "./store.ts";

/** A command that takes longer than this finds its connection replaced. */
const COMMAND_TIMEOUT_MS = 2_000;
/** What a command may take on top of the wait for replicas that goes with it. */
const BESIDE_ACK_MS = 1_000;

/** What settings may say of a Redis: what the store can read. */
export const REDIS_GRAMMAR: RedisGrammar = {
  url: parseRedisUrl,
  address: (text) => parseAddress(text, REDIS_PORT),
  addresses: (text) => parseAddresses(text, SENTINEL_PORT),
};

/** The plan for a Redis that valid settings name. */
export function redisPlan(config: Config, settings: StoreSettings): StorePlan {
  const endpoint = endpointOf(config);
  const replicas = config.REDIS_MIN_REPLICA_ACKS;
  const timeoutMs = config.REDIS_ACK_TIMEOUT_MS;
  const durability = config.DURABILITY === "replicated" ? ({ replicas, timeoutMs } as const) : "primary";
  const place = endpointText(endpoint);
  return {
    name: "redis",
    place,
    facts: { at: place, key_prefix: config.KEY_PREFIX, durability: config.DURABILITY },
    isPrivate: false,
    open: async (options) => {
      const { clock, logger, role, signal, onTrouble } = options;
      const connection = await RedisConnection.open(endpoint, {
        logger,
        clock,
        connectRetries: config.REDIS_CONNECT_RETRIES,
        retryIntervalMs: config.REDIS_RETRY_INTERVAL_SEC * 1_000,
        commandTimeoutMs: Math.max(COMMAND_TIMEOUT_MS, timeoutMs + BESIDE_ACK_MS),
        role,
        signal,
        onFailedTry: onTrouble,
      });
      const { KEY_PREFIX: keyPrefix } = config;
      try {
        const spool = spoolOf(config, options);
        const given: RedisStoreOptions = { connection, keyPrefix, durability, settings, clock };
        const store = await begin(spool === null ? given : { ...given, spool }, config, options);
        return { store, unreachable: () => connection.state().reason };
      } catch (error) {
        await connection.close();
        throw error;
      }
    },
  };
}

/** Only who accepts tasks has acknowledged any. */
function spoolOf(
  { FAILOVER_SPOOL_SEC }: Config,
  { role, logger, onReplayed }: OpenOptions,
): SpoolOptions | null {
  if (FAILOVER_SPOOL_SEC === 0 || role === "work") return null;
  return {
    windowMs: FAILOVER_SPOOL_SEC * 1_000,
    tell: (report) => {
      const { replayed, lost, forgotten } = report;
      const isBad = lost > 0 || forgotten > 0;
      const said = "Redis has another primary: acknowledged tasks that it never had were handed in again";
      if (isBad || replayed > 0) logger[isBad ? "error" : "warn"](report, said);
      else logger.info(report, "Redis has another primary, which has every task acknowledged here lately");
      onReplayed?.(replayed, lost);
    },
  };
}

/** Opens the store in a Redis as it is, in one try; rejects with one clear line where there is none of this version. */
export async function openExistingRedis(
  config: Config,
  settings: StoreSettings,
  { clock, logger }: Pick<OpenOptions, "clock" | "logger">,
): Promise<TaskStore> {
  const connection = await RedisConnection.open(endpointOf(config), {
    logger,
    clock,
    connectRetries: 1,
    retryIntervalMs: 0,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    role: "fsck",
  });
  try {
    const keyPrefix = config.KEY_PREFIX;
    return await openExistingRedisStore({ connection, keyPrefix, durability: "primary", settings, clock });
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** The passwords of the settings count where the URL holds none, which they are not to be written into. */
function endpointOf(config: Config): RedisEndpoint {
  const { REDIS_PASSWORD, REDIS_SENTINEL_PASSWORD, REDIS_TLS } = config;
  const given = parseRedisUrl(config.STORE_URL);
  const login =
    given.password === undefined && REDIS_PASSWORD !== undefined ? { password: REDIS_PASSWORD } : {};
  const endpoint = { ...given, ...login, tls: given.tls || REDIS_TLS };
  if (endpoint.kind === "standalone" || REDIS_SENTINEL_PASSWORD === undefined) return endpoint;
  return { ...endpoint, sentinelPassword: REDIS_SENTINEL_PASSWORD };
}

/**
 * The first command may meet a failover, or a server that does not take writes yet: it is tried as often as
 * connecting was.
 */
function begin(
  options: RedisStoreOptions,
  { REDIS_CONNECT_RETRIES: tries, REDIS_RETRY_INTERVAL_SEC }: Config,
  { logger, signal, onTrouble }: OpenOptions,
): Promise<TaskStore> {
  return patiently(
    {
      tries,
      pauseMs: REDIS_RETRY_INTERVAL_SEC * 1_000,
      signal,
      isPassing: (thrown) => thrown instanceof RedisUnavailableError,
      onFailedTry: (reason, number) => {
        onTrouble(reason);
        logger.warn({ try: number, of: tries, reason }, "cannot open the store in Redis");
      },
    },
    () => openRedisStore(options),
  );
}
