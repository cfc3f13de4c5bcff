/** Chooses the store by the settings: where it is, and how to open it. */

import { type Config, isEmbedded, sqlitePathOf } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import type { StoreSettings, TaskStore } from "../core/store.ts";
import { openSqliteStore } from "../store/sqlite/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import { redisPlan } from "./redis-store.ts";

export interface OpenOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Who opens it; a server that lists its clients shows it. */
  readonly role: string;
  /** Ends the tries. */
  readonly signal: AbortSignal;
  /** Called after a promotion with how many acknowledged tasks were handed in again, and how many could not be. */
  readonly onReplayed?: (replayed: number, lost: number) => void;
  /** Called with the reason, one line without secrets, whenever a try has failed. */
  readonly onTrouble: (reason: string) => void;
}

/** An open store, and whether it can be reached right now. */
export interface OpenStore {
  readonly store: TaskStore;
  /** Why it is known to be out of reach; null when nothing is known against it. */
  unreachable(): string | null;
}

/** A store that can be opened. */
export interface StorePlan {
  /** Short name for logs and answers. */
  readonly name: string;
  /** Where it is, for people; holds no secret. */
  readonly place: string;
  /** Facts for the line at start; hold no secret. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Whether what it keeps is in this process alone. */
  readonly isPrivate: boolean;
  /** Rejects with a TaskRunnerError of one clear line where the cause is known. */
  open(options: OpenOptions): Promise<OpenStore>;
}

/** What the settings say of how a store keeps tasks. */
export function storeSettings(config: Config): StoreSettings {
  return {
    defaultTier: config.DEFAULT_CLIENT_TIER,
    autoCreateQueues: config.QUEUE_AUTO_CREATE,
    retentionSucceededMs: config.RETENTION_SUCCEEDED_SEC * 1_000,
    retentionDeadMs: config.RETENTION_DEAD_SEC * 1_000,
    dedupWindowMs: config.DEDUP_WINDOW_SEC * 1_000,
    maxBytes: config.STORE_MAX_BYTES,
  };
}

/** The plan for the store that valid settings choose. */
export function storePlan(config: Config): StorePlan {
  const settings = storeSettings(config);
  if (!isEmbedded(config.STORE_URL)) return redisPlan(config, settings);
  const path = sqlitePathOf(config.STORE_URL);
  return {
    name: "sqlite",
    place: path,
    facts: { path },
    isPrivate: path === ":memory:",
    open: async ({ clock }) => {
      const store = await openSqliteStore({ path, settings, clock });
      return { store, unreachable: () => null };
    },
  };
}
