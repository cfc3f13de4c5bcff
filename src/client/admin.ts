/** The calls of whoever looks after the runner: clients, tiers, queues and dead letters. They need the admin key. */

import type { Caller, CallOptions } from "./call.ts";
import { itemsOf } from "./pages.ts";
import type {
  Client,
  ClientPage,
  ClientSetRequest,
  CreatedKey,
  DeadPurgeRequest,
  DeadReplayRequest,
  KeyCreateRequest,
  PageRequest,
  Queue,
  QueuePage,
  QueueSetRequest,
  Secret,
  Tier,
  TierSetRequest,
} from "./shapes.ts";

/** Reads that are repeated when the server is busy, and changes that are where they can be. */
class Admin {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  protected read<T>(
    path: string,
    query: PageRequest | Record<string, string>,
    options?: CallOptions,
  ): Promise<T> {
    const sending = { method: "GET", path: `/admin${path}`, query: { ...query }, repeatable: true } as const;
    return this.#caller.json(sending, options);
  }

  /** A change to what is written down: a second one changes nothing. */
  protected put<T>(path: string, body: object, options?: CallOptions): Promise<T> {
    return this.#caller.json({ method: "POST", path: `/admin${path}`, body, repeatable: true }, options);
  }

  /** A change that is another one when it is made again. */
  protected once<T>(path: string, body: object, options?: CallOptions): Promise<T> {
    return this.#caller.json({ method: "POST", path: `/admin${path}`, body, repeatable: false }, options);
  }
}

export class Clients extends Admin {
  list(page: PageRequest = {}, options?: CallOptions): Promise<ClientPage> {
    return this.read("/clients", page, options);
  }

  /** All of them, a page being asked for when it is reached. */
  all(options?: CallOptions): AsyncGenerator<Client, void, undefined> {
    return itemsOf(
      (next) => this.list(next, options),
      ({ clients }) => clients,
    );
  }

  get(clientId: string, options?: CallOptions): Promise<Client> {
    return this.read("/clients/get", { client_id: clientId }, options);
  }

  /** Makes a client, or changes what is told of it. */
  set(change: ClientSetRequest, options?: CallOptions): Promise<Client> {
    return this.put("/clients/set", change, options);
  }

  async delete(clientId: string, options?: CallOptions): Promise<void> {
    await this.once("/clients/delete", { client_id: clientId }, options);
  }

  /** Its `key` is shown this once. */
  createKey(request: KeyCreateRequest, options?: CallOptions): Promise<CreatedKey> {
    return this.once("/clients/keys/create", request, options);
  }

  revokeKey(clientId: string, keyId: string, options?: CallOptions): Promise<Client> {
    return this.once("/clients/keys/revoke", { client_id: clientId, key_id: keyId }, options);
  }

  /** A secret that deliveries are signed with; it is shown this once. */
  createSecret(clientId: string, options?: CallOptions): Promise<Secret & { readonly client_id: string }> {
    return this.once("/clients/secrets/create", { client_id: clientId }, options);
  }

  revokeSecret(clientId: string, secretId: string, options?: CallOptions): Promise<Client> {
    return this.once("/clients/secrets/revoke", { client_id: clientId, secret_id: secretId }, options);
  }
}

export class Tiers extends Admin {
  async list(options?: CallOptions): Promise<Tier[]> {
    return (await this.read<{ tiers: Tier[] }>("/tiers", {}, options)).tiers;
  }

  set(tier: TierSetRequest, options?: CallOptions): Promise<Tier> {
    return this.put("/tiers/set", tier, options);
  }

  async delete(tier: string, options?: CallOptions): Promise<void> {
    await this.once("/tiers/delete", { tier }, options);
  }
}

export class Queues extends Admin {
  list(page: PageRequest = {}, options?: CallOptions): Promise<QueuePage> {
    return this.read("/queues", page, options);
  }

  /** All of them, a page being asked for when it is reached. */
  all(options?: CallOptions): AsyncGenerator<Queue, void, undefined> {
    return itemsOf(
      (next) => this.list(next, options),
      ({ queues }) => queues,
    );
  }

  get(queue: string, options?: CallOptions): Promise<Queue> {
    return this.read("/queues/get", { queue }, options);
  }

  /** Makes a queue, or changes those of its rules that are told. */
  set(change: QueueSetRequest, options?: CallOptions): Promise<Queue> {
    return this.put("/queues/set", change, options);
  }

  pause(queue: string, options?: CallOptions): Promise<Queue> {
    return this.put("/queues/pause", { queue }, options);
  }

  resume(queue: string, options?: CallOptions): Promise<Queue> {
    return this.put("/queues/resume", { queue }, options);
  }

  /** Begins to remove all tasks that wait in it now; `purge` of the queue tells how far it is. */
  async purge(queue: string, options?: CallOptions): Promise<void> {
    await this.once("/queues/purge", { queue }, options);
  }

  async delete(queue: string, options?: CallOptions): Promise<void> {
    await this.once("/queues/delete", { queue }, options);
  }

  /** A secret that deliveries are signed with; it is shown this once. */
  createSecret(queue: string, options?: CallOptions): Promise<Secret & { readonly queue: string }> {
    return this.once("/queues/secrets/create", { queue }, options);
  }

  revokeSecret(queue: string, secretId: string, options?: CallOptions): Promise<Queue> {
    return this.once("/queues/secrets/revoke", { queue, secret_id: secretId }, options);
  }
}

export class DeadLetters extends Admin {
  /** Starts at most `limit` dead tasks over; go on with `next_cursor` as `cursor` until it is null. */
  replay(
    request: DeadReplayRequest = {},
    options?: CallOptions,
  ): Promise<{ readonly replayed: number; readonly next_cursor: string | null }> {
    return this.once("/dead/replay", request, options);
  }

  /** Removes at most `limit` dead tasks, likewise. */
  purge(
    request: DeadPurgeRequest = {},
    options?: CallOptions,
  ): Promise<{ readonly removed: number; readonly next_cursor: string | null }> {
    return this.once("/dead/purge", request, options);
  }
}
