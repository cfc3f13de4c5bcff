/** Opens the store on Redis: the address, the login and the promise that the settings make, and patience at the start. */

import { ConstantBackoff, handleWhen, retry } from "cockatiel";
import type { Config } from "../config.ts";
import { messageOf } from "../core/errors.ts";
import type { StoreSettings, TaskStore } from "../core/store.ts";
import { endpointText } from "../store/redis/address.ts";
import {
  parseRedisUrl,
  RedisConnection,
  type RedisConnectionOptions,
  type RedisEndpoint,
  RedisUnavailableError,
} from "../store/redis/connection.ts";
import { openRedisStore, type RedisStoreOptions } from "../store/redis/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { OpenOptions, StorePlan } from "./store.ts";

/** A command that takes longer than this finds its connection replaced. */
const COMMAND_TIMEOUT_MS = 2_000;
/** What a command may take on top of the wait for replicas that goes with it. */
const BESIDE_ACK_MS = 1_000;

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
        logger: overheard(logger, onTrouble),
        clock,
        connectRetries: config.REDIS_CONNECT_RETRIES,
        retryIntervalMs: config.REDIS_RETRY_INTERVAL_SEC * 1_000,
        commandTimeoutMs: Math.max(COMMAND_TIMEOUT_MS, timeoutMs + BESIDE_ACK_MS),
        role,
        signal,
      });
      const { KEY_PREFIX: keyPrefix } = config;
      try {
        const store = await begin({ connection, keyPrefix, durability, settings, clock }, config, options);
        return { store, unreachable: () => connection.state().reason };
      } catch (error) {
        await connection.close();
        throw error;
      }
    },
  };
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
  { REDIS_CONNECT_RETRIES, REDIS_RETRY_INTERVAL_SEC }: Config,
  { logger, signal, onTrouble }: OpenOptions,
): Promise<TaskStore> {
  const isPassing = (error: unknown) => error instanceof RedisUnavailableError && !signal.aborted;
  const policy = retry(handleWhen(isPassing), {
    maxAttempts: REDIS_CONNECT_RETRIES - 1,
    backoff: new ConstantBackoff(REDIS_RETRY_INTERVAL_SEC * 1_000),
  });
  return policy.execute(async ({ attempt }) => {
    try {
      return await openRedisStore(options);
    } catch (error) {
      const reason = messageOf(error);
      onTrouble(reason);
      logger.warn({ try: attempt + 1, of: REDIS_CONNECT_RETRIES, reason }, "cannot open the store in Redis");
      throw error;
    }
  }, signal);
}

/** What the connection says goes to the log; while it is not up yet, its reasons are what health tells. */
function overheard(logger: Logger, onTrouble: (reason: string) => void): RedisConnectionOptions["logger"] {
  return {
    debug: (facts, message) => logger.debug(facts, message),
    info: (facts, message) => logger.info(facts, message),
    warn: (facts, message) => {
      if ("reason" in facts) onTrouble(String(facts.reason));
      logger.warn(facts, message);
    },
  };
}
