/** The excerpt of an answer: at most 1 KiB of valid text, whatever the bytes were. */

import { describe, expect, test } from "bun:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import {
  compressedExcerptOf,
  excerptOf,
  MAX_EXCERPT_BYTES,
  MAX_RESPONSE_BYTES,
  readBounded,
} from "../../src/transport/http/response.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const sizeOf = (text: string | null) => bytesOf(text ?? "").length;

describe("an answer's excerpt", () => {
  test("is the text, line breaks and all, and null where there is none", () => {
    expect(excerptOf("a\r\n\tb")).toBe("a\r\n\tb");
    expect(excerptOf(bytesOf("żółw 🐢"))).toBe("żółw 🐢");
    expect(excerptOf("")).toBeNull();
    expect(excerptOf(new Uint8Array())).toBeNull();
  });

  for (const [what, unit] of [
    ["one byte", "a"],
    ["two bytes", "é"],
    ["three bytes", "日"],
    ["four bytes", "🐢"],
  ] as const) {
    test(`is cut between characters of ${what}, whether it came as text or as bytes`, () => {
      for (const lead of ["", "x", "xx", "xxx"]) {
        const long = lead + unit.repeat(2_000);
        const room = Math.floor((MAX_EXCERPT_BYTES - lead.length) / bytesOf(unit).length);
        expect(excerptOf(long)).toBe(lead + unit.repeat(room));
        expect(excerptOf(bytesOf(long))).toBe(lead + unit.repeat(room));
      }
    });
  }

  test("says that binary data is binary", () => {
    expect(excerptOf(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13))).toBe(
      "[binary data]",
    );
    expect(excerptOf(new Uint8Array(300).fill(0xff))).toBe("[binary data]");
    expect(excerptOf("a\0b")).toBe("[binary data]");
  });

  test("keeps text with a few bytes that are no UTF-8 readable", () => {
    const latin1 = Buffer.from("Zugriff verweigert: Schlüssel fehlt", "latin1");
    expect(excerptOf(latin1)).toBe("Zugriff verweigert: Schl\ufffdssel fehlt");
  });

  test("holds nothing that drives a terminal", () => {
    expect(excerptOf("all is well \u001b[2J\u009b31m and more text to read")).toBe(
      "all is well \ufffd[2J\ufffd31m and more text to read",
    );
  });

  test("is valid, short and free of control characters for any bytes", () => {
    const anyBytes = fc.uint8Array({ maxLength: 3 * MAX_EXCERPT_BYTES });
    fc.assert(
      fc.property(fc.oneof(anyBytes, fc.string({ unit: "binary", maxLength: 2_000 })), (body) => {
        const excerpt = excerptOf(body);
        expect(sizeOf(excerpt)).toBeLessThanOrEqual(MAX_EXCERPT_BYTES);
        expect((excerpt ?? "").isWellFormed()).toBe(true);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
        expect(excerpt ?? "").not.toMatch(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
      }),
    );
  });
});

describe("the excerpt of a compressed answer", () => {
  const text = "the queue is full, come back later";
  for (const [encoding, packed] of [
    ["gzip", gzipSync(text)],
    ["GZIP", gzipSync(text)],
    ["x-gzip", gzipSync(text)],
    ["deflate", deflateSync(text)],
    ["br", brotliCompressSync(text)],
  ] as const) {
    test(`is unpacked: ${encoding}`, async () =>
      expect(await compressedExcerptOf(packed, encoding)).toBe(text));
  }

  test("is what could be unpacked when the body was cut off", async () => {
    const noise = Array.from({ length: 40_000 }, (_, index) => (index * 7_919) % 1_000).join(" ");
    const cut = gzipSync(noise).subarray(0, 8_000);
    expect(await compressedExcerptOf(cut, "gzip")).toBe(noise.slice(0, MAX_EXCERPT_BYTES));
  });

  test("is binary where it cannot be unpacked", async () => {
    for (const encoding of ["gzip", "deflate", "br", "zstd", "gzip, br", "made-up"]) {
      expect(await compressedExcerptOf(bytesOf("not compressed at all"), encoding), encoding).toBe(
        "[binary data]",
      );
    }
    expect(await compressedExcerptOf(new Uint8Array(), "gzip")).toBeNull();
  });
});

describe("bounded reading", () => {
  /** Tells, once the reader is done with it, whether everything was taken. */
  async function* chunks(sizes: readonly number[], tell: (end: "whole" | "cut") => void) {
    let end: "whole" | "cut" = "cut";
    try {
      for (const size of sizes) yield new Uint8Array(size).fill(97);
      end = "whole";
    } finally {
      tell(end);
    }
  }

  test("joins what comes, to its end", async () => {
    const ends: string[] = [];
    expect((await readBounded(chunks([1, 0, 2, 3], (end) => ends.push(end)))).length).toBe(6);
    expect(ends).toEqual(["whole"]);
  });

  test("stops at the bound and lets go of the rest", async () => {
    const ends: string[] = [];
    const read = await readBounded(chunks([60_000, 60_000, 60_000], (end) => ends.push(end)));
    expect(read.length).toBe(MAX_RESPONSE_BYTES);
    expect(read.every((byte) => byte === 97)).toBe(true);
    expect(ends).toEqual(["cut"]);
  });
});
