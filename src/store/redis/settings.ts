/** Settings of clients, tiers and queues on Redis: kept as JSON for people, and packed for the scripts that obey them. */

import { BUILT_IN_TIERS, type Client, isRestricted, rulesOfClient, type Tier } from "../../core/client.ts";
import { hostOf } from "../../core/host.ts";
import { burstOf, DEFAULT_QUEUE, hasRules, newQueue, type Queue } from "../../core/queue.ts";
import {
  type AuditEntry,
  type AuditPage,
  type ClientUse,
  type Kept,
  MAX_AUDIT_ENTRIES,
  MAX_PAGE,
  type PurgeProgress,
  type QueueUse,
  type SettingsChange,
  type SettingsKind,
  type SettingsOf,
  type SettingsPage,
} from "../../core/store.ts";
import { assertWithin, cursorError } from "./requests.ts";
import { type Argument, type Command, type Entry, type PurgeReply, SCRIPTS } from "./scripts.ts";

/** How the store runs a command: `durably` for what is acknowledged to somebody. */
export interface Runner {
  run<Args extends readonly Argument[], Reply>(command: Command<Args, Reply>, ...args: Args): Promise<Reply>;
  durably<Args extends readonly Argument[], Reply>(
    command: Command<Args, Reply>,
    ...args: Args
  ): Promise<Reply>;
  /** One field of the settings. */
  field(name: string): Promise<string | null>;
}

const LETTERS = { client: "c", tier: "t", queue: "q" } as const satisfies Record<SettingsKind, string>;
const USE_OF_CLIENT = 2;
const USE_OF_QUEUE = 5;

const fieldOf = (kind: SettingsKind, id: string): string => `${LETTERS[kind]}/${id}`;

/** Reads and changes settings, and keeps the record of who did. */
export class Settings {
  readonly #runner: Runner;

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  async read<K extends SettingsKind>(kind: K, id: string): Promise<Kept<SettingsOf[K]> | null> {
    const text = await this.#runner.field(fieldOf(kind, id));
    return text === null ? null : keptOf<K>(id, text);
  }

  async page<K extends SettingsKind>(
    kind: K,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string },
  ): Promise<SettingsPage<SettingsOf[K]>> {
    assertWithin("limit", limit, MAX_PAGE);
    // One more than asked for tells whether anything follows.
    const reply = await this.#runner.run(SCRIPTS.listed, LETTERS[kind], cursor ?? "", limit + 1);
    const items: Kept<SettingsOf[K]>[] = [];
    for (let at = 0; at < reply.length && items.length < limit; at += 2) {
      items.push(keptOf<K>(reply[at] ?? "", reply[at + 1] ?? ""));
    }
    return { items, nextCursor: reply.length > limit * 2 ? (items.at(-1)?.id ?? null) : null };
  }

  async change<K extends SettingsKind>(change: SettingsChange<K>, audit: AuditEntry): Promise<boolean> {
    const { kind, id, from, value } = change;
    const done = await this.#runner.durably(
      SCRIPTS.settings,
      fieldOf(kind, id),
      from === null ? "" : String(from),
      value === null ? "" : JSON.stringify(value),
      value === null ? "" : JSON.stringify(packedOf(change)),
      kind === "client" && value !== null && isRestricted(value as Client) ? 1 : 0,
      ...entryOf(audit),
    );
    return Number(done) === 1;
  }

  async clientUse(ids: readonly string[]): Promise<readonly ClientUse[]> {
    if (ids.length === 0) return [];
    const reply = await this.#runner.run(SCRIPTS.use, ...ids.map((id) => fieldOf("client", id)));
    return ids.map((_, index) => ({
      running: Number(reply[index * USE_OF_CLIENT]),
      requests: Number(reply[index * USE_OF_CLIENT + 1]),
    }));
  }

  async queueUse(names: readonly string[]): Promise<readonly QueueUse[]> {
    if (names.length === 0) return [];
    const reply = await this.#runner.run(SCRIPTS.use, ...names.map((name) => fieldOf("queue", name)));
    return names.map((queue, index): QueueUse => {
      const at = (offset: number): string => reply[index * USE_OF_QUEUE + offset] ?? "0";
      const [started, removed, share] = [at(2), at(3), at(4)];
      return {
        running: Number(at(0)),
        nextDispatchAtMs: at(1) === "0" ? null : Number(at(1)),
        purge: started === "0" ? null : progressOf([queue, started, removed, share]),
      };
    });
  }

  async purge(queue: string, audit: AuditEntry): Promise<void> {
    await this.#runner.durably(SCRIPTS.purge, queue, ...entryOf(audit));
  }

  async purgeStep(limit: number): Promise<PurgeProgress | null> {
    const reply = await this.#runner.run(SCRIPTS.purgeStep, limit);
    return reply === null ? null : progressOf(reply);
  }

  async record(audit: AuditEntry): Promise<void> {
    await this.#runner.durably(SCRIPTS.record, ...entryOf(audit));
  }

  async audit({ limit, cursor }: { readonly limit: number; readonly cursor?: string }): Promise<AuditPage> {
    assertWithin("limit", limit, MAX_PAGE);
    if (cursor !== undefined && !/^[0-9]{1,15}$/.test(cursor)) throw cursorError();
    const reply = await this.#runner.run(SCRIPTS.audit, cursor ?? "", limit + 1);
    const shown = reply.slice(0, limit);
    const last = shown.at(-1);
    return {
      entries: shown.map((text) => JSON.parse(text.slice(text.indexOf("{"))) as AuditEntry),
      nextCursor: reply.length > limit && last !== undefined ? last.slice(0, last.indexOf(" ")) : null,
    };
  }
}

/** An entry for the scripts. The token is told apart from that of any other call, so that one sent twice is known. */
function entryOf(audit: AuditEntry): Entry {
  return [crypto.randomUUID(), JSON.stringify(audit), MAX_AUDIT_ENTRIES];
}

/** The settings that every store begins with, as begin.lua takes them: field, JSON, packed. */
export function firstSettings(nowMs: number): string[] {
  const tiers = Object.entries(BUILT_IN_TIERS).flatMap(([id, value]) => [
    fieldOf("tier", id),
    JSON.stringify(value),
    JSON.stringify(packedTier(value)),
  ]);
  const queue = newQueue(nowMs);
  return [
    ...tiers,
    fieldOf("queue", DEFAULT_QUEUE),
    JSON.stringify(queue),
    JSON.stringify(packedQueue(queue)),
  ];
}

function keptOf<K extends SettingsKind>(id: string, text: string): Kept<SettingsOf[K]> {
  const space = text.indexOf(" ");
  return {
    id,
    revision: Number(text.slice(0, space)),
    value: JSON.parse(text.slice(space + 1)) as SettingsOf[K],
  };
}

/** What lua/limits.lua reads; the order is that of its file. */
function packedOf({ kind, value }: SettingsChange<SettingsKind>): readonly unknown[] {
  if (kind === "client") return packedClient(value as Client);
  return kind === "tier" ? packedTier(value as Tier) : packedQueue(value as Queue);
}

/** -1 stands for no limit. */
const limitOf = (limit: number | null): number => limit ?? -1;

function packedClient(client: Client): readonly unknown[] {
  const { requestsPerMinute, maxConcurrent } = client.overrides;
  const rules = rulesOfClient(client);
  const packed = [
    client.tier,
    client.enabled,
    requestsPerMinute === undefined ? false : limitOf(requestsPerMinute),
    maxConcurrent === undefined ? false : limitOf(maxConcurrent),
    rules === null ? "" : JSON.stringify(rules),
  ];
  // Of one with lists the script adds the revision that it gives the change.
  return isRestricted(client) ? packed : [...packed, 0];
}

function packedTier({ requestsPerMinute, maxConcurrent }: Tier): readonly unknown[] {
  return [limitOf(requestsPerMinute), limitOf(maxConcurrent)];
}

function packedQueue(queue: Queue): readonly unknown[] {
  return [
    queue.enabled,
    queue.paused,
    queue.maxDispatchesPerSec ?? false,
    burstOf(queue),
    limitOf(queue.maxConcurrent),
    queue.weight,
    queue.retentionSucceededMs ?? false,
    queue.retentionDeadMs ?? false,
    queue.afterDeath === "hold",
    hasRules(queue) ? JSON.stringify(queue) : "",
    queue.mode === "pull",
    queue.target?.url === undefined ? "" : hostOf(queue.target.url),
  ];
}

function progressOf([queue, started, removed, share]: PurgeReply): PurgeProgress {
  return { queue, startedAtMs: Number(started), removed: Number(removed), share: Number(share) };
}
