/** Finds and opens the secrets that a delivery is signed with, so that none that is to be signed goes out unsigned. */

import type { SealedSecret } from "../core/client.ts";
import type { ClaimedTask } from "../core/store.ts";
import type { Sealer, SecretPlace } from "../secrets/sealing.ts";
import type { Logger } from "../telemetry/logger.ts";

export interface SigningOptions {
  /** Null where SECRETS_KEY is not set: then no sealed secret can be opened. */
  readonly sealer: Pick<Sealer, "open"> | null;
  readonly logger: Logger;
}

/** The secrets of one delivery, none for one that is not to be signed; or why it cannot be signed. */
export type SecretsFound =
  | { readonly kind: "found"; readonly secrets: readonly string[] }
  | { readonly kind: "sealed"; readonly error: string };

/** Owners whose secrets are kept open at once; opening one again costs some microseconds. */
const MAX_OPEN = 1_000;
const UNSIGNED: SecretsFound = { kind: "found", secrets: [] };

export class Signing {
  readonly #options: SigningOptions;
  /** By place and sealed text, so that a text that was moved to another owner is not found open there. */
  readonly #opened = new Map<string, string>();
  /** Secrets that could not be opened; each is logged once, for every delivery of its owner fails alike. */
  readonly #reported = new Set<string>();

  constructor(options: SigningOptions) {
    this.#options = options;
  }

  /** A queue's secrets stand in the place of its client's. */
  secretsFor({ queue, clientId, rules, clientRules }: ClaimedTask): SecretsFound {
    if (rules !== null && rules.signing.length > 0) return this.#openAll("queue", queue, rules.signing);
    if (clientRules === null || clientRules.signing.length === 0) return UNSIGNED;
    return this.#openAll("client", clientId, clientRules.signing);
  }

  /** All or none: a receiver may know no more than the one that is missing. */
  #openAll(kind: SecretPlace["kind"], owner: string, signing: readonly SealedSecret[]): SecretsFound {
    const secrets: string[] = [];
    for (const { id, sealed } of signing) {
      const secret = this.#open(sealed, { kind, owner, secretId: id });
      if (secret === null) return this.#cannotOpen({ kind, owner, secretId: id });
      secrets.push(secret);
    }
    return { kind: "found", secrets };
  }

  #open(sealed: string, place: SecretPlace): string | null {
    const name = `${place.kind} ${place.owner} ${place.secretId} ${sealed}`;
    const known = this.#opened.get(name);
    if (known !== undefined) return known;
    const secret = this.#options.sealer?.open(sealed, place) ?? null;
    if (secret === null) return null;
    if (this.#opened.size >= MAX_OPEN) this.#opened.clear();
    this.#opened.set(name, secret);
    return secret;
  }

  #cannotOpen({ kind, owner, secretId }: SecretPlace): SecretsFound {
    const why =
      this.#options.sealer === null ? "SECRETS_KEY is not set" : "it was sealed with another SECRETS_KEY";
    const error = `not sent, because it cannot be signed: this worker cannot open the signing secret ${secretId} of the ${kind} ${owner}: ${why}`;
    const name = `${kind} ${owner} ${secretId}`;
    if (!this.#reported.has(name) && this.#reported.size < MAX_OPEN) {
      this.#reported.add(name);
      this.#options.logger.error(
        { [kind]: owner, secretId },
        `a signing secret cannot be opened, and what it is to sign is not sent: ${why}; this is not logged again for this secret`,
      );
    }
    return { kind: "sealed", error };
  }
}
