/** Holds values against JSON Schema as the OpenAPI document has it: written anew, so that it shares no mistake with the server. */

/** A schema as it stands in the document. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Keywords that say nothing of what is valid. */
const ANNOTATIONS = new Set(["description", "default", "x-allowed", "contentEncoding", "title", "examples"]);
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** Tells the first thing that is wrong with a value, with the path to it; null for a valid one. */
export class Schemas {
  readonly #components: Readonly<Record<string, JsonSchema>>;
  readonly #patterns = new Map<string, RegExp>();

  constructor(components: Readonly<Record<string, JsonSchema>>) {
    this.#components = components;
  }

  /** The schema that a reference stands for; the schema itself where it is none. */
  resolve(schema: JsonSchema): JsonSchema {
    const { $ref: ref } = schema;
    if (typeof ref !== "string") return schema;
    const name = ref.replace("#/components/schemas/", "");
    const found = this.#components[name];
    if (found === undefined) throw new Error(`the document refers to ${ref}, which is not there`);
    return found;
  }

  fault(given: JsonSchema, value: unknown, path = "$"): string | null {
    const schema = this.resolve(given);
    for (const [keyword, rule] of Object.entries(schema)) {
      const fault = this.#keyword(schema, keyword, rule, value, path);
      if (fault !== null) return fault;
    }
    return null;
  }

  #keyword(schema: JsonSchema, keyword: string, rule: unknown, value: unknown, path: string): string | null {
    if (ANNOTATIONS.has(keyword)) return null;
    const no = (what: string) => `${path} ${what}`;
    switch (keyword) {
      case "type":
        return isOfType(value, String(rule)) ? null : no(`is not of type ${rule}`);
      case "const":
        return value === rule ? null : no(`is not ${JSON.stringify(rule)}`);
      case "enum":
        return (rule as unknown[]).includes(value) ? null : no(`is not among ${JSON.stringify(rule)}`);
      case "anyOf":
        return (rule as JsonSchema[]).some((one) => this.fault(one, value, path) === null)
          ? null
          : no("fits none of its schemas");
      case "allOf":
        return firstOf(rule as JsonSchema[], (one) => this.fault(one, value, path));
    }
    if (typeof value === "string") return this.#ofText(keyword, rule, value, path);
    if (typeof value === "number") return ofNumber(keyword, rule as number, value, path);
    if (Array.isArray(value)) return this.#ofList(keyword, rule, value, path);
    if (isObject(value)) return this.#ofObject(schema, keyword, rule, value, path);
    return known(keyword);
  }

  #ofText(keyword: string, rule: unknown, value: string, path: string): string | null {
    // JSON Schema counts characters as RFC 8259 does: code points.
    const length = [...value].length;
    if (keyword === "minLength") return length >= Number(rule) ? null : `${path} is shorter than ${rule}`;
    if (keyword === "maxLength") return length <= Number(rule) ? null : `${path} is longer than ${rule}`;
    if (keyword === "pattern")
      return this.#pattern(String(rule)).test(value) ? null : `${path} does not match ${rule}`;
    if (keyword === "format") {
      if (rule !== "date-time") throw new Error(`nothing is known of the format ${rule}`);
      return DATE_TIME.test(value) ? null : `${path} is no date-time`;
    }
    return known(keyword);
  }

  #ofList(keyword: string, rule: unknown, value: readonly unknown[], path: string): string | null {
    if (keyword === "minItems") return value.length >= Number(rule) ? null : `${path} has too few items`;
    if (keyword === "maxItems") return value.length <= Number(rule) ? null : `${path} has too many items`;
    if (keyword === "items") {
      return firstOf([...value.entries()], ([at, item]) =>
        this.fault(rule as JsonSchema, item, `${path}[${at}]`),
      );
    }
    if (keyword === "uniqueItems") {
      const texts = value.map((item) => JSON.stringify(item));
      return rule === true && new Set(texts).size < texts.length ? `${path} has an item twice` : null;
    }
    return known(keyword);
  }

  #ofObject(
    schema: JsonSchema,
    keyword: string,
    rule: unknown,
    value: Readonly<Record<string, unknown>>,
    path: string,
  ): string | null {
    const names = Object.keys(value);
    const properties = (schema.properties ?? {}) as Record<string, JsonSchema>;
    const patterns = Object.entries((schema.patternProperties ?? {}) as Record<string, JsonSchema>);
    switch (keyword) {
      case "required":
        return firstOf(rule as string[], (name) =>
          Object.hasOwn(value, name) ? null : `${path}.${name} is missing`,
        );
      case "properties":
        return firstOf(names, (name) =>
          Object.hasOwn(properties, name)
            ? this.fault(properties[name] as JsonSchema, value[name], `${path}.${name}`)
            : null,
        );
      case "patternProperties":
        return firstOf(names, (name) =>
          firstOf(patterns, ([pattern, one]) =>
            this.#pattern(pattern).test(name) ? this.fault(one, value[name], `${path}.${name}`) : null,
          ),
        );
      case "additionalProperties": {
        const others = names.filter(
          (name) =>
            !Object.hasOwn(properties, name) &&
            !patterns.some(([pattern]) => this.#pattern(pattern).test(name)),
        );
        if (rule === false) return others.length === 0 ? null : `${path}.${others[0]} is not known`;
        if (rule === true) return null;
        return firstOf(others, (name) => this.fault(rule as JsonSchema, value[name], `${path}.${name}`));
      }
      case "minProperties":
        return names.length >= Number(rule) ? null : `${path} has too few members`;
      case "maxProperties":
        return names.length <= Number(rule) ? null : `${path} has too many members`;
    }
    return known(keyword);
  }

  #pattern(text: string): RegExp {
    const found = this.#patterns.get(text) ?? new RegExp(text, "u");
    this.#patterns.set(text, found);
    return found;
  }
}

/** Keywords that do not speak of values of every type. */
const OF_ONE_TYPE = new Set([
  ...["minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "minItems"],
  ...[
    "maxItems",
    "items",
    "uniqueItems",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
  ],
  ...["minProperties", "maxProperties"],
]);

/** A keyword that is passed over unread would make this say yes to anything. */
function known(keyword: string): null {
  if (OF_ONE_TYPE.has(keyword)) return null;
  throw new Error(`nothing is known of the keyword ${keyword}`);
}

function ofNumber(keyword: string, rule: number, value: number, path: string): string | null {
  if (keyword === "minimum") return value >= rule ? null : `${path} is less than ${rule}`;
  if (keyword === "maximum") return value <= rule ? null : `${path} is more than ${rule}`;
  return known(keyword);
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstOf<T>(items: Iterable<T>, look: (item: T) => string | null): string | null {
  for (const item of items) {
    const found = look(item);
    if (found !== null) return found;
  }
  return null;
}
