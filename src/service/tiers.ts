/** The tiers: which there are, what they allow, and who falls back on what when one is gone. */

import { BUILT_IN_TIERS, FIRST_TIER, type Tier } from "../core/client.ts";
import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import { type Kept, MAX_PAGE, type SettingsStore } from "../core/store.ts";
import { changeSettings } from "./settings-changes.ts";
import { isBuiltIn, type TierJson, type TierSetRequest, tierJson } from "./tier-settings.ts";

/** More tiers than this are refused: each is read whenever they are listed, and a client can have its own limits. */
export const MAX_TIERS = 500;

export interface TierServiceOptions {
  readonly store: Pick<SettingsStore, "read" | "page" | "change">;
  readonly clock: Pick<Clock, "now">;
  /** The tier of clients that are not known yet, and the limits of those whose tier is gone. */
  readonly defaultTier: string;
}

export class TierService {
  readonly #options: TierServiceOptions;

  constructor(options: TierServiceOptions) {
    this.#options = options;
  }

  /** All of them: the built-in ones from the smallest, then the others by name. */
  async list(): Promise<readonly TierJson[]> {
    const tiers = (await allTiers(this.#options.store)).map(({ id, value }) => tierJson(id, value));
    const builtIn = Object.keys(BUILT_IN_TIERS);
    const rank = ({ tier, built_in }: TierJson) => (built_in ? builtIn.indexOf(tier) : builtIn.length);
    return tiers.sort((a, b) => rank(a) - rank(b));
  }

  /** Makes a tier or changes it; rejects with `conflict` when there are too many. */
  async set({ tier, ...limits }: TierSetRequest, actor: string): Promise<TierJson> {
    const next: Tier = {
      requestsPerMinute: limits.requests_per_minute,
      maxConcurrent: limits.max_concurrent,
    };
    await changeSettings(this.#options, {
      ...change(tier, actor, "tiers.set"),
      next: async (current) => {
        if (current === null) await this.#refusePastMost();
        return next;
      },
    });
    return tierJson(tier, next);
  }

  /**
   * Removes a tier; its clients have the limits of the default one from then on. Rejects with `tier_not_found`, and
   * with `conflict` for a tier that must be there.
   */
  async delete(tier: string, actor: string): Promise<void> {
    const { defaultTier } = this.#options;
    if (isBuiltIn(tier)) throw conflict(`The tier ${tier} is built in: it can be changed, and not deleted.`);
    if (tier === defaultTier) {
      throw conflict(
        `The tier ${tier} is that of new clients (DEFAULT_CLIENT_TIER), and so cannot be deleted.`,
      );
    }
    await changeSettings(this.#options, {
      ...change(tier, actor, "tiers.delete"),
      next: async (current) => {
        if (current === null) throw await tierNotFound(this.#options.store, tier);
        return null;
      },
    });
  }

  async #refusePastMost(): Promise<void> {
    const { length } = await allTiers(this.#options.store);
    if (length >= MAX_TIERS)
      throw conflict(`There are ${length} tiers, the most there can be. Delete some first.`);
  }
}

/** The limits of a tier; those of the default one where it is gone. */
export async function tierOrDefault(
  store: Pick<SettingsStore, "read">,
  name: string,
  defaultTier: string,
): Promise<Tier> {
  const kept = (await store.read("tier", name)) ?? (await store.read("tier", defaultTier));
  return kept?.value ?? FIRST;
}

/** The names of all tiers, for the answers that say which there are. */
export async function tierNames(store: Pick<SettingsStore, "page">): Promise<string> {
  return (await allTiers(store)).map(({ id }) => id).join(", ");
}

const FIRST: Tier = BUILT_IN_TIERS[FIRST_TIER] ?? { requestsPerMinute: null, maxConcurrent: null };

function change(tier: string, actor: string, action: string) {
  return { kind: "tier", id: tier, actor, action, shown: (value: Tier) => tierJson(tier, value) } as const;
}

async function allTiers(store: Pick<SettingsStore, "page">): Promise<readonly Kept<Tier>[]> {
  return (await store.page("tier", { limit: MAX_PAGE })).items;
}

async function tierNotFound(store: Pick<SettingsStore, "page">, tier: string): Promise<TaskRunnerError> {
  return new TaskRunnerError(
    "tier_not_found",
    `There is no tier ${JSON.stringify(tier)}; there are ${await tierNames(store)}.`,
  );
}

function conflict(detail: string): TaskRunnerError {
  return new TaskRunnerError("conflict", detail);
}
