/** Sealed secrets open with their key and in their place, and nowhere else. */

import { describe, expect, test } from "bun:test";
import { Sealer, type SecretPlace } from "../../src/secrets/sealing.ts";

const BYTES = Uint8Array.from({ length: 32 }, (_, at) => at * 7);
const KEY = Buffer.from(BYTES).toString("base64");
const OTHER_KEY = Buffer.from(BYTES.toReversed()).toString("base64");
const PLACE: SecretPlace = { kind: "client", owner: "shop", secretId: "1a2b3c4d" };
const SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0IGFuZCBub3RoaW5nIGVsc2U=";

describe("a sealer", () => {
  test("opens what it sealed, also with its key written in the other way", () => {
    const sealed = new Sealer(KEY).seal(SECRET, PLACE);
    const hex = Buffer.from(BYTES).toString("hex");
    for (const key of [KEY, hex, hex.toUpperCase()]) expect(new Sealer(key).open(sealed, PLACE)).toBe(SECRET);
  });

  test("never seals to the same text twice, and shows nothing of the secret", () => {
    const sealer = new Sealer(KEY);
    const sealed = Array.from({ length: 100 }, () => sealer.seal(SECRET, PLACE));
    expect(new Set(sealed).size).toBe(100);
    const vectors = sealed.map((text) => Buffer.from(text, "base64").subarray(0, 12).toString("hex"));
    expect(new Set(vectors).size).toBe(100);
    const bytes = Buffer.from(sealed[0] ?? "", "base64");
    expect(bytes.length).toBe(12 + SECRET.length + 16);
    expect(bytes.includes(SECRET.slice(6, 14))).toBe(false);
  });

  test("opens nothing with another key", () => {
    expect(new Sealer(OTHER_KEY).open(new Sealer(KEY).seal(SECRET, PLACE), PLACE)).toBeNull();
  });

  test.each([
    { ...PLACE, owner: "other" },
    { ...PLACE, kind: "queue" as const },
    { ...PLACE, secretId: "1a2b3c4e" },
  ])("opens nothing that was moved to %p", (place) => {
    const sealer = new Sealer(KEY);
    expect(sealer.open(sealer.seal(SECRET, PLACE), place)).toBeNull();
  });

  test("opens nothing of which one bit was changed, that was cut short, or that is no sealed text", () => {
    const sealer = new Sealer(KEY);
    const sealed = Buffer.from(sealer.seal(SECRET, PLACE), "base64");
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(sealer.open(changed.toString("base64"), PLACE)).toBeNull();
      expect(sealer.open(sealed.subarray(0, at).toString("base64"), PLACE)).toBeNull();
    }
    for (const text of ["", "c2VhbGVk", "not base64!"]) expect(sealer.open(text, PLACE)).toBeNull();
  });

  test.each(["", "short", KEY.slice(0, -1), `${KEY}\n`, `${KEY}AAAA`, "g".repeat(64), "0".repeat(63)])(
    "is not made of the key %p, which is not told",
    (key) => {
      const made = () => new Sealer(key);
      expect(made).toThrow("32 bytes");
      if (key.length > 8) expect(made).not.toThrow(key.slice(0, 8));
    },
  );
});
