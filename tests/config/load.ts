/** Loads settings as the program does: with the addresses that its Redis store takes. */

import { REDIS_GRAMMAR } from "../../src/app/redis-store.ts";
import { type Env, type LoadedConfig, loadConfig as load, type Overrides } from "../../src/config.ts";

export function loadConfig(env: Env, overrides?: Overrides): LoadedConfig {
  return load(env, REDIS_GRAMMAR, overrides);
}
