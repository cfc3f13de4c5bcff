/** Signing secrets of clients and queues: made, shown once, kept sealed, and taken out of force again. */

import { randomBytes } from "node:crypto";
import { MAX_SIGNING_SECRETS, newClient, type SealedSecret } from "../core/client.ts";
import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import { newQueue } from "../core/queue.ts";
import type { SettingsOf, SettingsStore } from "../core/store.ts";
import type { Sealer, SecretPlace } from "../secrets/sealing.ts";
import { clientSettingsJson } from "./client-settings.ts";
import { notFound as clientNotFound } from "./clients.ts";
import { queueSettingsJson } from "./queue-json.ts";
import { notFound as queueNotFound } from "./queues.ts";
import { timeJson } from "./schema-words.ts";
import { changeSettings } from "./settings-changes.ts";

export interface SigningSecretsOptions {
  readonly store: Pick<SettingsStore, "read" | "change">;
  readonly clock: Pick<Clock, "now">;
  /** Null where SECRETS_KEY is not set: then no secret can be made. */
  readonly sealer: Pick<Sealer, "seal"> | null;
  /** The tier of clients that are not known yet. */
  readonly defaultTier: string;
}

/** Whose deliveries a secret signs. */
export type SecretOwner = Pick<SecretPlace, "kind" | "owner">;
type OwnerKind = SecretOwner["kind"];

/** A secret as it is shown once. */
export interface CreatedSecret {
  readonly secret_id: string;
  readonly secret: string;
  readonly created_at: string;
}

/** By which a secret of Standard Webhooks is told from other texts. */
const PREFIX = "whsec_";
/** Standard Webhooks asks for 24 to 64. */
const SECRET_BYTES = 32;
const SECRET_ID_BYTES = 4;

export class SigningSecrets {
  readonly #options: SigningSecretsOptions;

  constructor(options: SigningSecretsOptions) {
    this.#options = options;
  }

  /**
   * Makes a secret that deliveries are signed with from their next claim on, and its owner where that is not known.
   * Rejects with `conflict` when the owner has as many as can be in force, and where none can be sealed.
   */
  create(of: SecretOwner, actor: string): Promise<CreatedSecret> {
    return of.kind === "client"
      ? this.#create(CLIENTS, of.owner, actor)
      : this.#create(QUEUES, of.owner, actor);
  }

  /**
   * Signs with a secret no more, from the next claim on. Rejects with `client_not_found` or `queue_not_found`, and with
   * `not_found` when the owner has no such secret.
   */
  revoke(of: SecretOwner, secretId: string, actor: string): Promise<void> {
    return of.kind === "client"
      ? this.#revoke(CLIENTS, of.owner, secretId, actor)
      : this.#revoke(QUEUES, of.owner, secretId, actor);
  }

  async #create<K extends OwnerKind>(owners: Owners<K>, id: string, actor: string): Promise<CreatedSecret> {
    const { sealer, clock, defaultTier } = this.#options;
    if (sealer === null) throw withoutKey();
    const secret = `${PREFIX}${randomBytes(SECRET_BYTES).toString("base64")}`;
    const secretId = randomBytes(SECRET_ID_BYTES).toString("hex");
    const sealed = sealer.seal(secret, { kind: owners.kind, owner: id, secretId });
    const kept = { id: secretId, sealed, createdAtMs: clock.now() };
    await this.#change(owners, id, actor, "create", (current, nowMs) => {
      const owner = current ?? owners.make(nowMs, defaultTier);
      if (owner.signing.length >= MAX_SIGNING_SECRETS) throw tooMany(owners.kind, id);
      return owners.with(owner, [kept, ...owner.signing]);
    });
    return { secret_id: secretId, secret, created_at: timeJson(kept.createdAtMs) };
  }

  async #revoke<K extends OwnerKind>(owners: Owners<K>, id: string, secretId: string, actor: string) {
    await this.#change(owners, id, actor, "revoke", (current) => {
      if (current === null) throw owners.unknown(id);
      const left = current.signing.filter((secret) => secret.id !== secretId);
      if (left.length === current.signing.length) throw noSuchSecret(owners.kind, id, secretId);
      return owners.with(current, left);
    });
  }

  #change<K extends OwnerKind>(
    { kind, shown }: Owners<K>,
    id: string,
    actor: string,
    done: "create" | "revoke",
    next: (current: SettingsOf[K] | null, nowMs: number) => SettingsOf[K],
  ): Promise<SettingsOf[K]> {
    const action = `${kind}s.secrets.${done}`;
    return changeSettings(this.#options, {
      kind,
      id,
      actor,
      action,
      next,
      shown: (value: SettingsOf[K]) => shown(id, value),
    });
  }
}

/** What clients and queues differ in. */
interface Owners<K extends OwnerKind> {
  readonly kind: K;
  make(nowMs: number, defaultTier: string): SettingsOf[K];
  with(owner: SettingsOf[K], signing: readonly SealedSecret[]): SettingsOf[K];
  shown(id: string, owner: SettingsOf[K]): unknown;
  unknown(id: string): TaskRunnerError;
}

const CLIENTS: Owners<"client"> = {
  kind: "client",
  make: (nowMs, defaultTier) => newClient(defaultTier, nowMs),
  with: (client, signing) => ({ ...client, signing }),
  shown: clientSettingsJson,
  unknown: clientNotFound,
};

const QUEUES: Owners<"queue"> = {
  kind: "queue",
  make: (nowMs) => newQueue(nowMs),
  with: (queue, signing) => ({ ...queue, signing }),
  shown: queueSettingsJson,
  unknown: queueNotFound,
};

function withoutKey(): TaskRunnerError {
  return new TaskRunnerError(
    "conflict",
    "Signing secrets are kept encrypted, and this server has no key for that. Set SECRETS_KEY, the same for every " +
      "process that serves or works (openssl rand -base64 32 makes one), and start it again.",
  );
}

function tooMany(kind: OwnerKind, id: string): TaskRunnerError {
  return new TaskRunnerError(
    "conflict",
    `The ${kind} ${JSON.stringify(id)} has ${MAX_SIGNING_SECRETS} signing secrets, the most that can be in force. Revoke one first (POST /admin/${kind}s/secrets/revoke).`,
  );
}

function noSuchSecret(kind: OwnerKind, id: string, secretId: string): TaskRunnerError {
  return new TaskRunnerError(
    "not_found",
    `The ${kind} ${JSON.stringify(id)} has no signing secret ${JSON.stringify(secretId)}; GET /admin/${kind}s/get lists those it has.`,
  );
}
