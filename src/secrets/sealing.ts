/** Encrypts the secrets that have to be kept, so that no store, replica or backup holds one that can be read. */

import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Whose secret it is. A sealed secret opens in this place alone: moved to another client it is worthless. */
export interface SecretPlace {
  readonly kind: "client" | "queue";
  /** The id of the client, or the queue's name. */
  readonly owner: string;
  readonly secretId: string;
}

const ALGORITHM = "aes-256-gcm";
const KEY_BYTES = 32;
/** A random one for each secret: good for 2^32 of them with one key (NIST SP 800-38D, section 8.3). */
const IV_BYTES = 12;
const TAG_BYTES = 16;
const HEX_KEY = /^[0-9a-f]{64}$/i;
const BASE64_KEY = /^[A-Za-z0-9+/]{43}=$/;

/** Seals and opens with one key: the SECRETS_KEY of the settings. */
export class Sealer {
  readonly #key: Buffer;

  /** `keyText` is 32 bytes, as base64 or as 64 hexadecimal digits. Throws for anything else, without telling it. */
  constructor(keyText: string) {
    if (!HEX_KEY.test(keyText) && !BASE64_KEY.test(keyText)) {
      throw new Error(`a key for sealing is ${KEY_BYTES} bytes as base64 or as hexadecimal digits`);
    }
    this.#key = Buffer.from(keyText, HEX_KEY.test(keyText) ? "hex" : "base64");
  }

  /** Initialisation vector, ciphertext and tag, as base64; another text every time. */
  seal(secret: string, place: SecretPlace): string {
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.#key, iv, { authTagLength: TAG_BYTES });
    cipher.setAAD(boundTo(place));
    const sealed = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
    return Buffer.concat([iv, sealed, cipher.getAuthTag()]).toString("base64");
  }

  /** The secret; null when it was sealed with another key or for another place, or was changed. */
  open(sealed: string, place: SecretPlace): string | null {
    const bytes = Buffer.from(sealed, "base64");
    if (bytes.length < IV_BYTES + TAG_BYTES) return null;
    try {
      const decipher = createDecipheriv(ALGORITHM, this.#key, bytes.subarray(0, IV_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(boundTo(place));
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      const secret = decipher.update(bytes.subarray(IV_BYTES, bytes.length - TAG_BYTES));
      return Buffer.concat([secret, decipher.final()]).toString("utf8");
    } catch {
      // Its tag does not fit; why not, nobody can tell.
      return null;
    }
  }
}

/** A list as JSON, for no two places are written alike in it. */
function boundTo({ kind, owner, secretId }: SecretPlace): Buffer {
  return Buffer.from(JSON.stringify(["signing", kind, owner, secretId]), "utf8");
}
