/** Tiers and limits as callers write and see them. */

import { type Static, Type } from "@sinclair/typebox";
import { BUILT_IN_TIERS, type Tier } from "../core/client.ts";
import { orNull, says, wholeNumber } from "./schema-words.ts";

/** The largest limit; whoever wants more means none, which is null. */
const MAX_LIMIT = 1_000_000_000;

export const TierNameSchema = says(
  "1 to 64 characters of A-Z a-z 0-9 _ -",
  Type.String({ minLength: 1, maxLength: 64, pattern: "^[A-Za-z0-9_-]+$", description: "The tier's name." }),
);

/** What a tier allows, or an override of it. */
export const LIMIT_SCHEMAS = {
  requests_per_minute: orNull(
    wholeNumber(0, MAX_LIMIT, "Tasks accepted within any sixty seconds."),
    "no limit",
  ),
  max_concurrent: orNull(
    wholeNumber(0, MAX_LIMIT, "Tasks running at once, over all queues and workers."),
    "no limit",
  ),
} as const;

export type LimitsJson = Pick<TierJson, keyof typeof LIMIT_SCHEMAS>;

export const TierSetSchema = says(
  "a JSON object",
  Type.Object(
    { tier: TierNameSchema, ...LIMIT_SCHEMAS },
    { $id: "TierSetRequest", additionalProperties: false },
  ),
);
export type TierSetRequest = Static<typeof TierSetSchema>;

export const TierSchema = Type.Object(
  {
    tier: Type.String(),
    ...LIMIT_SCHEMAS,
    built_in: Type.Boolean({ description: "A built-in tier can be changed, and not deleted." }),
  },
  { $id: "Tier" },
);
export type TierJson = Static<typeof TierSchema>;

export function isBuiltIn(tier: string): boolean {
  return Object.hasOwn(BUILT_IN_TIERS, tier);
}

export function limitsJson({ requestsPerMinute, maxConcurrent }: Tier): LimitsJson {
  return { requests_per_minute: requestsPerMinute, max_concurrent: maxConcurrent };
}

export function tierJson(name: string, tier: Tier): TierJson {
  return { tier: name, ...limitsJson(tier), built_in: isBuiltIn(name) };
}
