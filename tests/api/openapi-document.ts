/** An OpenAPI document as a test reads it: its operations, and validators of what they take and answer. */

import Ajv2020, { type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

export interface Operation {
  readonly method: string;
  /** With `{name}` for a parameter. */
  readonly path: string;
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly security: readonly Readonly<Record<string, readonly []>>[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly example?: unknown }>> };
  readonly responses: Readonly<Record<string, ResponseObject>>;
}

interface ResponseObject {
  readonly $ref?: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, unknown>>;
}

// biome-ignore lint/suspicious/noExplicitAny: what a document holds is what a test is there to find out
type Json = any;

/** Every operation of a document. */
export function operationsOf(document: Json): Operation[] {
  return Object.entries<Record<string, Json>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({ ...one, method: method.toUpperCase(), path })),
  );
}

/** What is wrong with the schemas of a document, which its own validator does not look into, and with its references. */
export function schemaFaults(document: Json): string[] {
  const ajv = new Ajv2020({ strict: false });
  const faults: string[] = [];
  const check = (schema: unknown, where: string) => {
    if (!ajv.validateSchema(schema as object)) faults.push(`${where}: ${ajv.errorsText(ajv.errors)}`);
  };
  const visit = (part: Json, where: string) => {
    if (typeof part !== "object" || part === null) return;
    if (typeof part.$ref === "string") {
      const names: string[] = part.$ref.slice(2).split("/");
      const found = names.reduce((at, name) => at?.[name], document);
      if (!part.$ref.startsWith("#/") || found === undefined) faults.push(`${where}: no ${part.$ref}`);
    }
    for (const [name, inner] of Object.entries(part)) {
      if (name === "schema") check(inner, `${where}/schema`);
      visit(inner, `${where}/${name}`);
    }
  };
  for (const [name, schema] of Object.entries(document.components.schemas)) check(schema, name);
  visit(document, "");
  return faults;
}

/** Whether a request without any key is let in, as the document has it. */
export function isKeyless({ security }: Operation): boolean {
  return security.length === 0 || security.some((keys) => Object.keys(keys).length === 0);
}

/** Holds values against the schemas of a document. */
export class Schemas {
  readonly #document: Json;
  readonly #ajv: Ajv2020;
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(document: Json) {
    this.#document = document;
    // Not strict: schemas say beside their rules, in words, what they take.
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats(this.#ajv);
    this.#ajv.addSchema(closed(document) as object, "document");
  }

  /** What is wrong with an answer; null when it is as the document says. */
  problemWithAnswer(operation: Operation, status: number, type: string, body: unknown): string | null {
    const given = operation.responses[status];
    if (given === undefined) return `${status} is no answer of ${operation.operationId}`;
    const parts = given.$ref?.slice(2).split("/") ?? this.#at(operation, "responses", String(status));
    const answer: ResponseObject = parts.reduce((part, name) => part[name], this.#document);
    const media = Object.keys(answer.content ?? {}).find((name) => isMedia(name, type));
    if (media === undefined) return `${type} is no answer of ${operation.operationId} with ${status}`;
    return this.#problemWith([...parts, "content", media, "schema"], body);
  }

  /** What is wrong with a body that a request sends. */
  problemWithRequest(operation: Operation, type: string, body: unknown): string | null {
    return this.#problemWith([...this.#at(operation, "requestBody"), "content", type, "schema"], body);
  }

  /** The names of the headers that an answer may have. */
  headersOf(operation: Operation, status: number): string[] {
    const given = operation.responses[status];
    const parts = given?.$ref?.slice(2).split("/") ?? this.#at(operation, "responses", String(status));
    return Object.keys(parts.reduce((part, name) => part[name], this.#document).headers);
  }

  #at({ path, method }: Operation, ...parts: string[]): string[] {
    return ["paths", path, method.toLowerCase(), ...parts];
  }

  #problemWith(parts: readonly string[], value: unknown): string | null {
    const pointer = parts.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1")));
    const ref = `document#/${pointer.join("/")}`;
    const validate = this.#compiled.get(ref) ?? this.#ajv.compile({ $ref: ref });
    this.#compiled.set(ref, validate);
    return validate(value) ? null : this.#ajv.errorsText(validate.errors);
  }
}

function isMedia(documented: string, type: string): boolean {
  return documented.endsWith("/*") ? type.startsWith(documented.slice(0, -1)) : documented === type;
}

/** The same, with objects that may have no field beside those that are told: an answer's field that is not told is a fault. */
function closed(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(closed);
  if (typeof part !== "object" || part === null) return part;
  const inner = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, closed(value)]));
  const told = inner.type === "object" && Object.keys(inner.properties ?? {}).length > 0;
  return told && !("additionalProperties" in inner) ? { ...inner, unevaluatedProperties: false } : inner;
}
