/** Opens the store that the settings choose for a command that looks at it, beside those who work on it. */

import { type Config, isEmbedded, sqlitePathOf } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import type { TaskStore } from "../core/store.ts";
import { openExistingSqliteStore } from "../store/sqlite/existing.ts";
import { createLogger } from "../telemetry/logger.ts";
import { openExistingRedis } from "./redis-store.ts";
import { type StorePlan, storePlan, storeSettings } from "./store.ts";

/** An open store, and where it is: for people, without a secret. */
export interface ExistingStore extends Pick<StorePlan, "name" | "place"> {
  readonly store: TaskStore;
}

/** Makes nothing where there is no store; rejects with one clear line then, and where it is of another version. */
export async function openExistingStore(config: Config, clock: Clock): Promise<ExistingStore> {
  const { name, place } = storePlan(config);
  const settings = storeSettings(config);
  if (isEmbedded(config.STORE_URL)) {
    const path = sqlitePathOf(config.STORE_URL);
    return { name, place, store: await openExistingSqliteStore({ path, settings, clock }) };
  }
  // What goes wrong is told where the command ends.
  const logger = createLogger({ level: "error", role: "fsck", destination: { write: () => {} } });
  return { name, place, store: await openExistingRedis(config, settings, { clock, logger }) };
}
