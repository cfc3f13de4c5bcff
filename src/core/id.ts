/** Task ids: short, ordered by time so that indexes grow at one edge, and impossible to guess. */

/** Crockford's base 32 in ascending byte order, so that the text sorts as the number does. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARS = 10;
const RANDOM_BYTES = 16;
/** Random bytes are drawn for this many ids at a time: one call into the system's source serves many tasks. */
const POOLED_IDS = 256;

/** Fills `bytes` with random values, as `crypto.getRandomValues` does. */
export type FillRandom = (bytes: Uint8Array<ArrayBuffer>) => void;

/**
 * Makes a generator of ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds and 80 random bits
 * in 26 characters. Ids of one millisecond are not ordered among themselves: the order of tasks is the
 * store's business, and a counter in the id would make its neighbour guessable.
 */
export function idGenerator(fillRandom: FillRandom): (nowMs: number) => string {
  const pool = new Uint8Array(RANDOM_BYTES * POOLED_IDS);
  const decoder = new TextDecoder();
  // Written all at once: a text that is put together character by character is walked again by whoever reads it.
  let chars = "";
  let used = 0;
  let lastMs = -1;
  let timePart = "";
  return (nowMs) => {
    if (used === chars.length) {
      fillRandom(pool);
      for (const [at, byte] of pool.entries()) pool[at] = ALPHABET.charCodeAt(byte & 31);
      chars = decoder.decode(pool);
      used = 0;
    }
    if (nowMs !== lastMs) {
      lastMs = nowMs;
      timePart = encodeTime(nowMs);
    }
    used += RANDOM_BYTES;
    return timePart + chars.slice(used - RANDOM_BYTES, used);
  };
}

function encodeTime(nowMs: number): string {
  let rest = nowMs;
  let text = "";
  for (let i = 0; i < TIME_CHARS; i++) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** Whether `text` has the form of an id made here; a cheap look before the store is asked. */
export function isTaskId(text: string): boolean {
  return /^[0-9A-HJKMNP-TV-Z]{26}$/.test(text);
}
