/** The moves of whoever administers a store: settings changed as the admin API changes them, and use looked up. */

import { expect } from "bun:test";
import { type Client, newClient, type Tier } from "../../../src/core/client.ts";
import { newQueue, type Queue } from "../../../src/core/queue.ts";
import type {
  AuditEntry,
  ClientUse,
  EnqueueResult,
  Kept,
  QueueUse,
  SettingsKind,
  SettingsOf,
  TaskStore,
} from "../../../src/core/store.ts";
import { newTasks } from "../../support/tasks.ts";

/** No limit at all: what the tests that are not about limits run under. */
export const NO_LIMITS: Tier = { requestsPerMinute: null, maxConcurrent: null };

/** An entry of somebody's change, such as the API would hand in. */
export function auditEntry(overrides: Partial<AuditEntry> = {}): AuditEntry {
  return {
    atMs: 1_767_225_600_000,
    actor: "open",
    action: "settings.set",
    subject: "somebody",
    before: null,
    after: null,
    ...overrides,
  };
}

/** Changes settings to what `edit` makes of them; nobody else must be changing them at the same time. */
export async function alter<K extends SettingsKind>(
  store: TaskStore,
  kind: K,
  id: string,
  edit: (value: SettingsOf[K] | null) => SettingsOf[K] | null,
): Promise<void> {
  const kept: Kept<SettingsOf[K]> | null = await store.read(kind, id);
  const change = { kind, id, from: kept?.revision ?? null, value: edit(kept?.value ?? null) };
  expect(await store.change(change, auditEntry({ action: `${kind}s.set`, subject: id }))).toBe(true);
}

/** Gives a tier its limits; what is left out stays, and is no limit in a new tier. */
export function setTier(store: TaskStore, id: string, limits: Partial<Tier>): Promise<void> {
  return alter(store, "tier", id, (tier) => ({ ...NO_LIMITS, ...tier, ...limits }));
}

/** Changes a client, or makes it with the tier `free`; what is left out stays. */
export function setClient(store: TaskStore, id: string, changed: Partial<Client>): Promise<void> {
  return alter(store, "client", id, (client) => ({ ...(client ?? newClient("free", 17)), ...changed }));
}

/** Changes a queue's rules, or makes the queue; what is left out stays. */
export function setQueue(store: TaskStore, name: string, changed: Partial<Queue>): Promise<void> {
  return alter(store, "queue", name, (queue) => ({ ...(queue ?? newQueue(17)), ...changed }));
}

/** Settings as they are kept; fails when there are none. */
export async function keptOf<K extends SettingsKind>(
  store: TaskStore,
  kind: K,
  id: string,
): Promise<Kept<SettingsOf[K]>> {
  const kept = await store.read(kind, id);
  if (kept === null) throw new Error(`expected the store to know the ${kind} ${id}`);
  return kept;
}

export async function useOf(store: TaskStore, clientId: string): Promise<ClientUse> {
  const [use] = await store.clientUse([clientId]);
  if (use === undefined) throw new Error(`expected the use of client ${clientId}`);
  return use;
}

export async function queueUseOf(store: TaskStore, name: string): Promise<QueueUse> {
  const [use] = await store.queueUse([name]);
  if (use === undefined) throw new Error(`expected the use of queue ${name}`);
  return use;
}

/** How each of `count` new tasks of a client fared, sent in one call. */
export async function send(
  store: TaskStore,
  count: number,
  overrides: Parameters<typeof newTasks>[1] = {},
): Promise<EnqueueResult["kind"][]> {
  const { results } = await store.enqueue(newTasks(count, overrides));
  return results.map(({ kind }) => kind);
}

/** The ids that results tell of, null for those that tell of none. */
export function idsIn(results: readonly EnqueueResult[]): (string | null)[] {
  return results.map((result) => ("id" in result ? result.id : null));
}
