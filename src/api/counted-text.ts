/** Lengths of texts as JSON Schema means them, in characters: the library counts UTF-16 units, of which an emoji is two. */

import { Kind, type TSchema, TypeRegistry } from "@sinclair/typebox";

const COUNTED = "CountedText";
/** Of a pattern that lists what it takes, each character is one unit. */
const TAKES_ANY = /\[\^/;

TypeRegistry.Set<TSchema>(
  COUNTED,
  ({ minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern }, value) => {
    if (typeof value !== "string" || value.length < minLength) return false;
    // So many units are as many characters at most, and half as many at least: most texts need no counting.
    const isSure = value.length <= maxLength && value.length >= minLength * 2;
    if (!isSure) {
      const length = charactersIn(value, maxLength);
      if (length < minLength || length > maxLength) return false;
    }
    return pattern === undefined || patternOf(pattern).test(value);
  },
);

const patterns = new Map<string, RegExp>();

function patternOf(text: string): RegExp {
  const pattern = patterns.get(text) ?? new RegExp(text);
  patterns.set(text, pattern);
  return pattern;
}

/** Counts no further than one past `most`. */
function charactersIn(text: string, most: number): number {
  let count = 0;
  for (const _ of text) {
    count++;
    if (count > most) break;
  }
  return count;
}

/** The same schema for checking, in which every text that may hold a character of two units is counted by characters. */
export function withCountedTexts<S extends TSchema>(schema: S): S {
  return counted(schema) as S;
}

function counted(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(counted);
  if (typeof part !== "object" || part === null) return part;
  const schema = part as TSchema;
  // A spread takes the library's own symbols along, which say what is optional.
  const copy: Record<string | symbol, unknown> = { ...schema };
  for (const name of Object.keys(copy)) if (typeof copy[name] === "object") copy[name] = counted(copy[name]);
  const { type, pattern, minLength, maxLength } = schema;
  const isBounded = typeof maxLength === "number" || typeof minLength === "number";
  const mayHoldAny = pattern === undefined || (typeof pattern === "string" && TAKES_ANY.test(pattern));
  if (type === "string" && schema[Kind] === "String" && isBounded && mayHoldAny) copy[Kind] = COUNTED;
  return copy;
}
