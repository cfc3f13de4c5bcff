/** The key of whoever looks after the runner (ADMIN_API_KEY): compared without a hint of it, named without showing it. */

import { createHash, timingSafeEqual } from "node:crypto";

const ACTOR_HEX_CHARS = 8;

export class AdminKey {
  static readonly HEADER = "x-admin-key";
  readonly #digest: Uint8Array;
  /** Names its holder in the audit: a fingerprint, from which the key cannot be told. */
  readonly actor: string;

  constructor(key: string) {
    const digest = sha256(key);
    this.#digest = digest;
    this.actor = `key:${digest.toString("hex").slice(0, ACTOR_HEX_CHARS)}`;
  }

  /** Takes the same time whatever is given: digests are of one length, so that not even the key's length shows. */
  isRight(given: string): boolean {
    return timingSafeEqual(sha256(given), this.#digest);
  }
}

function sha256(text: string) {
  return createHash("sha256").update(text).digest();
}
