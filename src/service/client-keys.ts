/** API keys of clients: made, shown once, kept as a hash, and looked up again when one is presented. */

import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { ClientKey } from "../core/client.ts";
import type { SettingsStore } from "../core/store.ts";

/** Every key is `trk.{client_id}.{secret}`: told from other secrets at sight, and it names its client. */
const PREFIX = "trk.";
const SECRET_BYTES = 32;
/** 32 bytes as base64url. */
const SECRET = /^[A-Za-z0-9_-]{43}$/;
const CLIENT_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const KEY_ID_HEX_CHARS = 8;

/** A new key of a client: the key itself, for its owner alone, and what is kept of it. */
export function newClientKey(
  clientId: string,
  label: string | null,
  nowMs: number,
): { readonly key: string; readonly kept: ClientKey } {
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(SECRET_BYTES))).toString("base64url");
  const hash = sha256(secret).toString("hex");
  const kept = { id: hash.slice(0, KEY_ID_HEX_CHARS), hash, label, createdAtMs: nowMs };
  return { key: `${PREFIX}${clientId}.${secret}`, kept };
}

/** Looks keys up. Asks the store each time, so that a revoked key is refused, and a new one taken, at once. */
export class ClientKeys {
  readonly #store: Pick<SettingsStore, "read">;

  constructor(store: Pick<SettingsStore, "read">) {
    this.#store = store;
  }

  /** The client whose key it is; null for a key of nobody. Rejects as the store does. */
  async ownerOf(key: string): Promise<string | null> {
    const parts = partsOf(key);
    if (parts === null) return null;
    const client = await this.#store.read("client", parts.clientId);
    return isAmong(client?.value.keys ?? [], parts.secret) ? parts.clientId : null;
  }

  /** Whether a client has to present a key where keys are optional. Rejects as the store does. */
  async hasKeys(clientId: string): Promise<boolean> {
    const client = await this.#store.read("client", clientId);
    return client !== null && client.value.keys.length > 0;
  }
}

/** Null for what has not the form of a key. A client's id may hold dots, a secret never does. */
function partsOf(key: string): { readonly clientId: string; readonly secret: string } | null {
  if (!key.startsWith(PREFIX)) return null;
  const lastDot = key.lastIndexOf(".");
  const clientId = key.slice(PREFIX.length, lastDot);
  const secret = key.slice(lastDot + 1);
  return CLIENT_ID.test(clientId) && SECRET.test(secret) ? { clientId, secret } : null;
}

/** Compares with each of the keys, in a time that does not tell how near it came. */
function isAmong(keys: readonly ClientKey[], secret: string): boolean {
  const digest = sha256(secret);
  let found = false;
  for (const { hash } of keys) {
    const expected = Buffer.from(hash, "hex");
    if (expected.length === digest.length && timingSafeEqual(expected, digest)) found = true;
  }
  return found;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
