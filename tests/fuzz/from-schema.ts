/** Makes values that a JSON Schema accepts, and from those the ones that are wrong in one place. */

import fc from "fast-check";
import type { JsonSchema, Schemas } from "./json-schema.ts";

/** What a name usually holds: the schema says "text", and nearly no text is a URL. */
export type Hints = Readonly<Record<string, fc.Arbitrary<unknown>>>;

/** How often a member is there that need not be. */
const OPTIONAL = fc.constantFrom(true, false, false, false);
/** Tries to meet a length by a pattern. */
const LONG = 200;

/** Values that fit a schema; with `hints` where a member of that name is looked for. */
export class Values {
  readonly #schemas: Schemas;
  readonly #hints: Hints;

  constructor(schemas: Schemas, hints: Hints = {}) {
    this.#schemas = schemas;
    this.#hints = hints;
  }

  of(given: JsonSchema, name = ""): fc.Arbitrary<unknown> {
    const plain = this.#plain(this.#schemas.resolve(given));
    const hint = Object.hasOwn(this.#hints, name) ? this.#hints[name] : undefined;
    return hint === undefined
      ? plain
      : fc.oneof({ weight: 7, arbitrary: hint }, { weight: 1, arbitrary: plain });
  }

  #plain(schema: JsonSchema): fc.Arbitrary<unknown> {
    if ("const" in schema) return fc.constant(schema.const);
    if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum);
    if (Array.isArray(schema.anyOf))
      return fc.oneof(...(schema.anyOf as JsonSchema[]).map((one) => this.of(one)));
    switch (schema.type) {
      case "string":
        return this.#text(schema);
      case "integer":
      case "number":
        return numberOf(schema);
      case "boolean":
        return fc.boolean();
      case "null":
        return fc.constant(null);
      case "array":
        return this.#list(schema);
      case "object":
        return this.#object(schema);
      case undefined:
        return fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown>;
      default:
        throw new Error(`no values are known of the type ${schema.type}`);
    }
  }

  #text(schema: JsonSchema): fc.Arbitrary<string> {
    const minLength = Number(schema.minLength ?? 0);
    const maxLength = Number(schema.maxLength ?? LONG);
    const edges = [..."aA0-é😀"].flatMap((character) => [
      character.repeat(Math.max(1, minLength)),
      character.repeat(maxLength),
    ]);
    const fitting = edges.filter((text) => this.#schemas.fault(schema, text) === null);
    const most =
      typeof schema.pattern === "string"
        ? fc.stringMatching(new RegExp(schema.pattern))
        : fc.string({ minLength, maxLength: Math.min(maxLength, LONG), unit: "binary" });
    const usual = most.filter((text) => this.#schemas.fault(schema, text) === null);
    if (fitting.length === 0) return usual;
    return fc.oneof({ weight: 3, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...fitting) });
  }

  #list(schema: JsonSchema): fc.Arbitrary<unknown[]> {
    const minLength = Number(schema.minItems ?? 0);
    const maxLength = Math.min(Number(schema.maxItems ?? 5), Math.max(5, minLength));
    const item = this.of((schema.items ?? {}) as JsonSchema);
    return schema.uniqueItems === true
      ? fc.uniqueArray(item, { minLength, maxLength, selector: (value) => JSON.stringify(value) })
      : fc.array(item, { minLength, maxLength });
  }

  #object(schema: JsonSchema): fc.Arbitrary<unknown> {
    const patterns = Object.entries((schema.patternProperties ?? {}) as Record<string, JsonSchema>);
    const [record] = patterns;
    if (record !== undefined) {
      const value = this.of(record[1]);
      return fc.dictionary(fc.string({ minLength: 1, maxLength: 12 }), value, {
        maxKeys: 4,
        noNullPrototype: true,
      });
    }
    const required = (schema.required ?? []) as string[];
    const members = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>).map(
      ([name, one]) =>
        fc.tuple(
          fc.constant(name),
          required.includes(name) ? fc.constant(true) : OPTIONAL,
          this.of(one, name),
        ),
    );
    return fc
      .tuple(...members)
      .map((all) =>
        Object.fromEntries(all.filter(([, there]) => there).map(([name, , value]) => [name, value])),
      )
      .filter((value) => this.#schemas.fault(schema, value) === null);
  }
}

function numberOf(schema: JsonSchema): fc.Arbitrary<number> {
  const min = Number(schema.minimum ?? -1e15);
  const max = Number(schema.maximum ?? 1e15);
  const whole = fc.integer({
    min: Math.max(Math.ceil(min), -(2 ** 31)),
    max: Math.min(Math.floor(max), 2 ** 31 - 1),
  });
  if (schema.type === "integer") return fc.oneof(whole, fc.constantFrom(Math.ceil(min), Math.floor(max)));
  return fc.oneof(whole, fc.double({ min, max, noNaN: true }), fc.constantFrom(min, max));
}

/** Values that trip a careless reader, where any value is looked for. */
export const NASTY: readonly unknown[] = [
  ...[null, true, false, 0, -0, -1, 0.5, 1e308, -1e308, 5e-324, 2 ** 31, 2 ** 53, -(2 ** 53), 1e21],
  ...[
    "",
    " ",
    "\0",
    "\ud800",
    "\udc00x",
    "\r\nX-Evil: 1",
    "__proto__",
    "constructor",
    "null",
    "1",
    "٣",
    "\u202e",
  ],
  ...[
    "2026-02-30T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "%00",
    "../../etc/passwd",
    "a/b",
    "a b",
    "*",
    "é",
    "😀",
  ],
  ...[
    [],
    {},
    [[]],
    [null],
    [{}],
    { "": 1 },
    { toString: 1 },
    { length: 1e9 },
    JSON.parse('{"__proto__":{"x":1}}'),
  ],
  ...[
    "x".repeat(129),
    "x".repeat(9_000),
    "1".repeat(400),
    Array(1_001).fill("x"),
    Array(30).fill({ a: [1] }),
  ],
];

const anything = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<unknown> },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
);

const STRANGE_NAMES = [
  "__proto__",
  "constructor",
  "x",
  "",
  "url",
  "client_id",
  "toString",
  "\0",
  "$ref",
  "é",
];

/** A value with one thing changed: a part replaced, left out, or added. The change may happen to do no harm. */
export function changedInOnePlace(valid: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc
    .tuple(
      valid,
      fc.nat(1_000),
      fc.constantFrom("replace", "replace", "replace", "remove", "add"),
      anything,
      fc.constantFrom(...STRANGE_NAMES),
    )
    .map(([value, place, how, part, name]) => changed(value, place, how, part, name));
}

/** A place in a value: what holds it, and under which name. */
type Place = readonly [holder: Record<string, unknown>, name: string];

function changed(value: unknown, at: number, how: string, part: unknown, name: string): unknown {
  const whole: Record<string, unknown> = { value: structuredClone(value) };
  const places: Place[] = [];
  const holders: Record<string, unknown>[] = [];
  collect(whole, places, holders);
  const [holder, own] = places[at % places.length] ?? [whole, "value"];
  if (how === "add" && holders.length > 0) put(holders[at % holders.length] ?? whole, name, part);
  else if (how === "remove" && !Array.isArray(holder) && holder !== whole) delete holder[own];
  else put(holder, own, part);
  return whole.value;
}

function collect(holder: Record<string, unknown>, places: Place[], holders: Record<string, unknown>[]): void {
  for (const [name, value] of Object.entries(holder)) {
    places.push([holder, name]);
    if (typeof value !== "object" || value === null) continue;
    if (!Array.isArray(value)) holders.push(value as Record<string, unknown>);
    collect(value as Record<string, unknown>, places, holders);
  }
}

/** As JSON.parse does it: `__proto__` is a name like any other. */
function put(holder: object, name: string, value: unknown): void {
  Object.defineProperty(holder, name, { value, enumerable: true, writable: true, configurable: true });
}
