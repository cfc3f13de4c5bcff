/** The record of who changed what, as it is read. */

import { type Static, Type } from "@sinclair/typebox";
import type { AuditEntry, SettingsStore } from "../core/store.ts";
import { TimeSchema, timeJson } from "./schema-words.ts";

export const AuditEntrySchema = Type.Object(
  {
    at: TimeSchema,
    actor: Type.String({ description: "The fingerprint of the admin key, or open where none is asked for." }),
    action: Type.String({ description: "What was done, e.g. clients.set." }),
    subject: Type.String({ description: "The id of what it was done to." }),
    before: Type.Unknown({ description: "As it was; null where there was nothing." }),
    after: Type.Unknown({ description: "As it became; null where it was removed." }),
  },
  { $id: "AuditEntry" },
);
export type AuditEntryJson = Static<typeof AuditEntrySchema>;

export class AuditLog {
  readonly #store: Pick<SettingsStore, "audit">;

  constructor({ store }: { readonly store: Pick<SettingsStore, "audit"> }) {
    this.#store = store;
  }

  /** A page of what was done, newest first. */
  async list(request: { readonly limit: number; readonly cursor?: string }) {
    const { entries, nextCursor } = await this.#store.audit(request);
    return { entries: entries.map(entryJson), nextCursor };
  }
}

function entryJson({ atMs, actor, action, subject, before, after }: AuditEntry): AuditEntryJson {
  return { at: timeJson(atMs), actor, action, subject, before, after };
}
