/** The settings of clients, tiers and queues as one transaction sees them: each read once, whatever asks for it. */

import {
  BUILT_IN_TIERS,
  type Client,
  type ClientRules,
  FIRST_TIER,
  limitsOf,
  newClient,
  rulesOfClient,
  type Tier,
} from "../../core/client.ts";
import { hasRules, newQueue, type Queue } from "../../core/queue.ts";
import type { Kept, SettingsKind, SettingsOf } from "../../core/store.ts";
import type { Database } from "./database.ts";

interface SettingsRow {
  value: string;
  revision: number;
}

/** What has been read, null where there is nothing; and of queues what a claimed task is told of them. */
interface Known {
  readonly settings: { readonly [K in SettingsKind]: Map<string, Kept<SettingsOf[K]> | null> };
  readonly claimed: Map<string, Queue | null>;
}

/** Clients and queues kept in memory; with more the memory starts over. */
const MAX_REMEMBERED = 10_000;

const nothingKnown = (): Known => ({
  settings: { client: new Map(), tier: new Map(), queue: new Map() },
  claimed: new Map(),
});

/**
 * What this process remembers of settings from one transaction to the next. Every change of any of them, by any
 * process, is another revision of the store, so what was read at the revision that is found again is still true.
 */
class Memory {
  #revision: number | null = null;
  #known = nothingKnown();

  at(revision: number): Known {
    const { client, queue } = this.#known.settings;
    if (revision !== this.#revision || client.size + queue.size > MAX_REMEMBERED) this.forget();
    this.#revision = revision;
    return this.#known;
  }

  /** Leaves what was known to whoever has it. */
  forget(): void {
    this.#revision = null;
    this.#known = nothingKnown();
  }
}

/** The limits a client is under, and the tier they come from. */
export interface ClientLimits extends Tier {
  readonly tier: string;
}

function prepareAll(db: Database) {
  return {
    revision: db.prepare<{ value: number }>("SELECT value FROM meta WHERE key = 'revision'"),
    read: db.prepare<SettingsRow>("SELECT value, revision FROM settings WHERE kind = ? AND id = ?"),
    nextRevision: db.prepare<{ value: number }>(
      "UPDATE meta SET value = value + 1 WHERE key = 'revision' RETURNING value",
    ),
    write: db.prepare(
      `INSERT INTO settings (kind, id, value, revision) VALUES (?, ?, ?, ?)
       ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
    ),
    remove: db.prepare("DELETE FROM settings WHERE kind = ? AND id = ?"),
  };
}

/** Makes the {@link RuleSet} of each transaction; holds the prepared statements. */
export class Rules {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #memory = new Memory();
  readonly #defaultTier: string;

  constructor(db: Database, defaultTier: string) {
    this.#statements = prepareAll(db);
    this.#defaultTier = defaultTier;
  }

  begin(nowMs: number): RuleSet {
    return new RuleSet(this.#statements, this.#memory, this.#defaultTier, nowMs);
  }
}

/** Settings within one transaction. */
export class RuleSet {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #defaultTier: string;
  readonly #nowMs: number;
  readonly #memory: Memory;
  #met: Known | null = null;

  constructor(statements: ReturnType<typeof prepareAll>, memory: Memory, defaultTier: string, nowMs: number) {
    this.#statements = statements;
    this.#memory = memory;
    this.#defaultTier = defaultTier;
    this.#nowMs = nowMs;
  }

  get<K extends SettingsKind>(kind: K, id: string): Kept<SettingsOf[K]> | null {
    const known: Known["settings"][K] = this.#known.settings[kind];
    const met = known.get(id);
    if (met !== undefined) return met;
    const row = this.#statements.read.get(kind, id);
    const kept =
      row === undefined
        ? null
        : { id, value: JSON.parse(row.value) as SettingsOf[K], revision: row.revision };
    known.set(id, kept);
    return kept;
  }

  put<K extends SettingsKind>(kind: K, id: string, value: SettingsOf[K]): void {
    const known: Known["settings"][K] = this.#known.settings[kind];
    const revision = this.#beginChange();
    this.#statements.write.run(kind, id, JSON.stringify(value), revision);
    known.set(id, { id, value, revision });
    if (kind === "queue") this.#known.claimed.delete(id);
  }

  remove(kind: SettingsKind, id: string): void {
    this.#beginChange();
    this.#statements.remove.run(kind, id);
    this.#known.settings[kind].set(id, null);
    if (kind === "queue") this.#known.claimed.delete(id);
  }

  /** A client that is not kept is as one that hands in its first task. */
  client(id: string): Client {
    return this.get("client", id)?.value ?? newClient(this.#defaultTier, this.#nowMs);
  }

  limits(client: Client): ClientLimits {
    let tier = client.tier;
    let limits = this.get("tier", tier)?.value;
    if (limits === undefined) {
      tier = this.#defaultTier;
      limits = this.get("tier", tier)?.value ?? BUILT_IN_TIERS[FIRST_TIER];
    }
    return { tier, ...limitsOf(client, limits ?? { requestsPerMinute: null, maxConcurrent: null }) };
  }

  /** A queue that is not kept has no rules. */
  queue(name: string): Queue {
    return this.get("queue", name)?.value ?? newQueue(this.#nowMs);
  }

  /** What a claimed task is told of its queue: null when it has no rule of its own. */
  ofClaimed(name: string): Queue | null {
    const { claimed } = this.#known;
    let rules = claimed.get(name);
    if (rules === undefined) {
      const queue = this.queue(name);
      rules = hasRules(queue) ? queue : null;
      claimed.set(name, rules);
    }
    return rules;
  }

  /** What a claimed task is told of its client: null when there is nothing to tell. */
  ofClaimant(id: string): ClientRules | null {
    const client = this.get("client", id);
    return client === null ? null : rulesOfClient(client.value);
  }

  /** Keeps the client and the queue of a task that was accepted, if they are new. */
  register(clientId: string, queue: string): void {
    if (this.get("client", clientId) === null) this.put("client", clientId, this.client(clientId));
    if (this.get("queue", queue) === null) this.put("queue", queue, this.queue(queue));
  }

  get #known(): Known {
    this.#met ??= this.#memory.at(revisionIn(this.#statements.revision.get()));
    return this.#met;
  }

  /** The revision of a change. This transaction may yet be undone, so from here on what it knows is its own. */
  #beginChange(): number {
    this.#met = this.#known;
    this.#memory.forget();
    return revisionIn(this.#statements.nextRevision.get());
  }
}

function revisionIn(row: { readonly value: number } | undefined): number {
  if (row === undefined) throw new Error("the store's count of revisions is missing");
  return row.value;
}
