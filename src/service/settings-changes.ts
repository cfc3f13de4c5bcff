/** How settings are changed: what was read is written back only if nobody changed it meanwhile, with its entry in the audit. */

import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import type { SettingsKind, SettingsOf, SettingsStore } from "../core/store.ts";

/** Others were faster this often before a change is given up; each of them got theirs through. */
const MAX_TRIES = 5;

export interface ChangesOptions {
  readonly store: Pick<SettingsStore, "read" | "change">;
  readonly clock: Pick<Clock, "now">;
}

/** A change that one person makes to the settings of one client, tier or queue. */
export interface Change<K extends SettingsKind, V extends SettingsOf[K] | null> {
  readonly kind: K;
  readonly id: string;
  /** Who makes it, as the audit shows them. */
  readonly actor: string;
  /** What is done, e.g. `clients.set`. */
  readonly action: string;
  /**
   * What the settings become, null to remove them; throws when that is not allowed. Called again with what is there
   * then when others were faster.
   */
  next(current: SettingsOf[K] | null, nowMs: number): V | Promise<V>;
  /** As the audit shows them. */
  shown(value: SettingsOf[K]): unknown;
}

/**
 * Makes a change, and returns the settings as they are then. One that changes nothing is neither written nor
 * audited. Rejects as `next` throws, as the store does, and with `overloaded` when others were always faster.
 */
export async function changeSettings<K extends SettingsKind, V extends SettingsOf[K] | null>(
  { store, clock }: ChangesOptions,
  { kind, id, actor, action, next, shown }: Change<K, V>,
): Promise<V> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const kept = await store.read(kind, id);
    const before = kept?.value ?? null;
    const atMs = clock.now();
    const after = await next(before, atMs);
    if (isDeepStrictEqual(before, after)) return after;
    const entry = {
      atMs,
      actor,
      action,
      subject: id,
      before: before === null ? null : shown(before),
      after: after === null ? null : shown(after),
    };
    if (await store.change({ kind, id, from: kept?.revision ?? null, value: after }, entry)) return after;
  }
  throw new TaskRunnerError(
    "overloaded",
    `Others kept changing the ${kind} ${JSON.stringify(id)} at the same time. Nothing was done; try again.`,
  );
}
