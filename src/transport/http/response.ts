/** Reads an answer within bounds, and turns its start into text that can be kept and shown. */

import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";

/** The most of an answer that is read; what follows is cut off, with the connection. */
export const MAX_RESPONSE_BYTES = 64 * 1024;
/** The most of an answer that is kept, as UTF-8. */
export const MAX_EXCERPT_BYTES = 1024;

/** Stands for an answer that is no text. */
const BINARY = "[binary data]";
/** An answer with more odd characters than this share is taken for binary. */
const MAX_ODD_SHARE = 0.1;
/** Control characters but tab, line feed and carriage return, which could drive a terminal, and what was no UTF-8. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const ODD = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]/g;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Joins what a stream gives until it ends or the bound is reached; never more than {@link MAX_RESPONSE_BYTES}. */
export async function readBounded(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const bytes = new Uint8Array(MAX_RESPONSE_BYTES);
  let length = 0;
  // Leaving the loop early ends the iterator, which cancels the stream and closes its connection.
  for await (const chunk of chunks) {
    const taken = chunk.subarray(0, MAX_RESPONSE_BYTES - length);
    bytes.set(taken, length);
    length += taken.length;
    if (length === MAX_RESPONSE_BYTES) break;
  }
  return bytes.subarray(0, length);
}

/** The start of an answer's body as at most 1 KiB of text; null where there was none. */
export function excerptOf(body: string | Uint8Array): string | null {
  if (body.length === 0) return null;
  const text =
    typeof body === "string"
      ? body.slice(0, MAX_EXCERPT_BYTES)
      : decoder.decode(body.subarray(0, cutAt(body, MAX_EXCERPT_BYTES)));
  const odd = text.match(ODD);
  if (odd !== null && (odd.includes("\0") || odd.length > text.length * MAX_ODD_SHARE)) return BINARY;
  const shown = odd === null ? text : text.replace(ODD, "\ufffd");
  // No character takes more than three bytes for each of its UTF-16 units.
  if (shown.length * 3 <= MAX_EXCERPT_BYTES) return shown;
  return shown.slice(0, encoder.encodeInto(shown, new Uint8Array(MAX_EXCERPT_BYTES)).read);
}

/** The excerpt of a body that was sent compressed. */
export async function compressedExcerptOf(body: Uint8Array, encoding: string): Promise<string | null> {
  if (body.length === 0) return null;
  const unpacked = await unpackStart(body, encoding.trim().toLowerCase());
  return unpacked === null ? BINARY : excerptOf(unpacked);
}

/** The largest end, at most `limit`, that does not split a UTF-8 sequence (which is four bytes at most). */
function cutAt(bytes: Uint8Array, limit: number): number {
  if (bytes.length <= limit) return bytes.length;
  let end = limit;
  while (end > limit - 4 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return end;
}

/**
 * The start of a compressed body, unpacked in small steps and stopped at the size of an excerpt, so that
 * a few bytes that unpack to gigabytes cost nothing; null where it cannot be unpacked.
 */
function unpackStart(body: Uint8Array, encoding: string): Promise<Uint8Array | null> {
  const options = { chunkSize: MAX_EXCERPT_BYTES };
  const unpacker =
    encoding === "gzip" || encoding === "x-gzip"
      ? createGunzip(options)
      : encoding === "deflate"
        ? createInflate(options)
        : encoding === "br"
          ? createBrotliDecompress(options)
          : null;
  if (unpacker === null) return Promise.resolve(null);
  return new Promise((resolve) => {
    const unpacked: Uint8Array[] = [];
    let length = 0;
    const finish = () => {
      unpacker.destroy();
      resolve(length === 0 ? null : Buffer.concat(unpacked));
    };
    unpacker.on("data", (chunk: Uint8Array) => {
      unpacked.push(chunk);
      length += chunk.length;
      if (length > MAX_EXCERPT_BYTES) finish();
    });
    unpacker.once("end", finish);
    // A body cut at the bound ends in an error; what came before it is still worth showing.
    unpacker.on("error", finish);
    unpacker.end(body);
  });
}
