/** Signing secrets as callers see them: by which they are told apart, and nothing of what they are. */

import { type Static, Type } from "@sinclair/typebox";
import type { SealedSecret } from "../core/client.ts";
import { TimeSchema, timeJson } from "./schema-words.ts";

export const SigningSchema = Type.Array(Type.Object({ secret_id: Type.String(), created_at: TimeSchema }), {
  description: "The secrets that deliveries are signed with, the newest first; never the secrets.",
});

export function signingJson(signing: readonly SealedSecret[]): Static<typeof SigningSchema> {
  return signing.map(({ id, createdAtMs }) => ({ secret_id: id, created_at: timeJson(createdAtMs) }));
}
