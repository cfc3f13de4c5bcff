/** Checks signatures of Standard Webhooks over the very bytes that came, by what every runtime has built in. */

const SECRET_PREFIX = "whsec_";
const VERSION = "v1,";
const encoder = new TextEncoder();

/** What was signed. */
export interface Signed {
  readonly id: string;
  /** As the header says it. */
  readonly timestamp: string;
  readonly body: Uint8Array;
}

/**
 * Whether one of the signatures in the header `signatures` is of one of the secrets. Throws a TypeError for a secret
 * that is none.
 */
export async function isSigned(
  signed: Signed,
  signatures: string,
  secrets: readonly string[],
): Promise<boolean> {
  const head = encoder.encode(`${signed.id}.${signed.timestamp}.`);
  const bytes = new Uint8Array(head.length + signed.body.length);
  bytes.set(head);
  bytes.set(signed.body, head.length);
  const given = signatures.split(" ").filter((signature) => signature.startsWith(VERSION));
  let found = false;
  // All are looked at, found or not: the time it takes tells nothing of which one fits.
  for (const secret of secrets) {
    const expected = VERSION + (await hmacOf(keyOf(secret), bytes));
    for (const signature of given) if (isSame(signature, expected)) found = true;
  }
  return found;
}

function keyOf(secret: string): Uint8Array<ArrayBuffer> {
  const text = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret;
  try {
    const key = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    if (key.length > 0) return key;
  } catch {
    // Told below, without the secret.
  }
  throw new TypeError(`a signing secret is ${SECRET_PREFIX} and base64 after it; one of those given is not`);
}

async function hmacOf(key: Uint8Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  const digest = await crypto.subtle.sign("HMAC", imported, bytes);
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

/** Takes as long for texts that differ in their first character as for those that differ in their last. */
function isSame(given: string, expected: string): boolean {
  if (given.length !== expected.length) return false;
  let difference = 0;
  for (let at = 0; at < expected.length; at++) difference |= given.charCodeAt(at) ^ expected.charCodeAt(at);
  return difference === 0;
}
