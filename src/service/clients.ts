/** The clients: their tiers, their own limits, what they may use, and their API keys. */

import { type Client, MAX_CLIENT_KEYS, newClient, type Tier } from "../core/client.ts";
import type { Clock } from "../core/clock.ts";
import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import type { Kept, SettingsStore } from "../core/store.ts";
import { newClientKey } from "./client-keys.ts";
import {
  type ClientJson,
  type ClientSetRequest,
  clientChange,
  clientJson,
  clientSettingsJson,
} from "./client-settings.ts";
import { invalid } from "./new-task.ts";
import { timeJson } from "./schema-words.ts";
import { changeSettings } from "./settings-changes.ts";
import { tierNames, tierOrDefault } from "./tiers.ts";

export interface ClientServiceOptions {
  readonly store: Pick<SettingsStore, "read" | "page" | "change" | "clientUse">;
  readonly clock: Pick<Clock, "now">;
  /** The tier of clients that are not known yet, and the limits of those whose tier is gone. */
  readonly defaultTier: string;
}

/** A key as it is shown once. */
export interface CreatedKey {
  readonly client_id: string;
  readonly key_id: string;
  readonly key: string;
  readonly label: string | null;
  readonly created_at: string;
}

export class ClientService {
  readonly #options: ClientServiceOptions;

  constructor(options: ClientServiceOptions) {
    this.#options = options;
  }

  /** A page of clients, in the order of their ids. */
  async list(request: { readonly limit: number; readonly cursor?: string }) {
    const { items, nextCursor } = await this.#options.store.page("client", request);
    return { clients: await this.#views(items), nextCursor };
  }

  /** Rejects with `client_not_found`. */
  async get(id: string): Promise<ClientJson> {
    const kept = await this.#options.store.read("client", id);
    if (kept === null) throw notFound(id);
    return this.#view(id, kept.value);
  }

  /** Makes a client or changes it: what the request leaves out stays. Rejects with `validation_failed`. */
  async set(request: ClientSetRequest, actor: string): Promise<ClientJson> {
    const problems: FieldProblem[] = [];
    const change = clientChange(request, problems);
    if (request.tier !== undefined) await this.#checkTier(request.tier, problems);
    if (problems.length > 0) throw invalid(problems);
    return this.#change(request.client_id, actor, "clients.set", (current, nowMs) => ({
      ...(current ?? this.#new(nowMs)),
      ...change,
    }));
  }

  /**
   * Removes a client with its settings and its keys; its tasks stay. It is a new one once it hands something in again.
   * Rejects with `client_not_found`.
   */
  async delete(id: string, actor: string): Promise<void> {
    await changeSettings(this.#options, {
      ...audited(id, actor, "clients.delete"),
      next: (current) => {
        if (current === null) throw notFound(id);
        return null;
      },
    });
  }

  /** Makes a key, and the client where it is not known. Rejects with `conflict` when it has too many. */
  async createKey(id: string, label: string | null, actor: string): Promise<CreatedKey> {
    const { key, kept } = newClientKey(id, label, this.#options.clock.now());
    await this.#change(id, actor, "clients.keys.create", (current, nowMs) => {
      const client = current ?? this.#new(nowMs);
      if (client.keys.length >= MAX_CLIENT_KEYS) throw tooManyKeys(id);
      return { ...client, keys: [...client.keys, kept] };
    });
    return { client_id: id, key_id: kept.id, key, label, created_at: timeJson(kept.createdAtMs) };
  }

  /** Makes a key worthless at once. Rejects with `client_not_found`, and with `not_found` when it has no such key. */
  revokeKey(id: string, keyId: string, actor: string): Promise<ClientJson> {
    return this.#change(id, actor, "clients.keys.revoke", (current) => {
      if (current === null) throw notFound(id);
      const keys = current.keys.filter((key) => key.id !== keyId);
      if (keys.length === current.keys.length) throw keyNotFound(id, keyId);
      return { ...current, keys };
    });
  }

  #new(nowMs: number): Client {
    return newClient(this.#options.defaultTier, nowMs);
  }

  async #change(
    id: string,
    actor: string,
    action: string,
    next: (current: Client | null, nowMs: number) => Client,
  ): Promise<ClientJson> {
    return this.#view(id, await changeSettings(this.#options, { ...audited(id, actor, action), next }));
  }

  async #checkTier(tier: string, problems: FieldProblem[]): Promise<void> {
    const { store } = this.#options;
    if ((await store.read("tier", tier)) !== null) return;
    problems.push({ path: "tier", message: `must be a tier there is: ${await tierNames(store)}` });
  }

  async #view(id: string, client: Client): Promise<ClientJson> {
    const [use] = await this.#options.store.clientUse([id]);
    return clientJson(id, client, await this.#tierOf(client.tier), known(use));
  }

  /** The clients with what they are using: few calls of the store, whatever their number. */
  async #views(clients: readonly Kept<Client>[]): Promise<readonly ClientJson[]> {
    const uses = await this.#options.store.clientUse(clients.map(({ id }) => id));
    const tiers = new Map<string, Tier>();
    for (const { tier } of clients.map(({ value }) => value)) {
      if (!tiers.has(tier)) tiers.set(tier, await this.#tierOf(tier));
    }
    return clients.map(({ id, value }, at) =>
      clientJson(id, value, known(tiers.get(value.tier)), known(uses[at])),
    );
  }

  #tierOf(name: string): Promise<Tier> {
    return tierOrDefault(this.#options.store, name, this.#options.defaultTier);
  }
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the store told less than it was asked for");
  return value;
}

function audited(id: string, actor: string, action: string) {
  return {
    kind: "client",
    id,
    actor,
    action,
    shown: (value: Client) => clientSettingsJson(id, value),
  } as const;
}

/** That there is no such client, and how one comes to be. */
export function notFound(id: string): TaskRunnerError {
  return new TaskRunnerError(
    "client_not_found",
    `There is no client ${JSON.stringify(id)}. One is made by its first task, or by POST /admin/clients/set.`,
  );
}

function tooManyKeys(id: string): TaskRunnerError {
  return new TaskRunnerError(
    "conflict",
    `Client ${JSON.stringify(id)} has ${MAX_CLIENT_KEYS} keys, the most it can have. Revoke one first (POST /admin/clients/keys/revoke).`,
  );
}

function keyNotFound(id: string, keyId: string): TaskRunnerError {
  return new TaskRunnerError(
    "not_found",
    `Client ${JSON.stringify(id)} has no key ${JSON.stringify(keyId)}; GET /admin/clients/get lists those it has.`,
  );
}
