/** What the OpenAPI document of a running server says of each of its routes. */

import { type JsonSchema, Schemas } from "../json-schema.ts";

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly schema: JsonSchema;
}

type Content = Readonly<Record<string, { readonly schema: JsonSchema }>>;

export interface Operation {
  readonly method: string;
  /** With `{name}` for a parameter. */
  readonly path: string;
  readonly parameters: readonly Parameter[];
  /** What it takes as its body, by media type; empty where it takes none. */
  readonly bodies: Content;
  /** What it answers with, by status and media type. */
  readonly answers: Readonly<Record<string, Content>>;
}

export interface ApiDocument {
  readonly operations: readonly Operation[];
  readonly schemas: Schemas;
  readonly problem: JsonSchema;
}

interface RawOperation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

/** The document with what it keeps elsewhere put in its place, but for schemas, which may hold themselves. */
function withoutReferences(document: unknown): unknown {
  const resolved = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(resolved);
    if (typeof part !== "object" || part === null) return part;
    const ref: unknown = Reflect.get(part, "$ref");
    if (typeof ref !== "string" || ref.startsWith("#/components/schemas/")) {
      return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, resolved(inner)]));
    }
    let found: unknown = document;
    for (const name of ref.slice(2).split("/")) found = Reflect.get(Object(found), name);
    if (found === undefined) throw new Error(`the document refers to ${ref}, which is not there`);
    return resolved(found);
  };
  return resolved(document);
}

/** Reads a document as JSON. */
export function readDocument(text: string): ApiDocument {
  const document = withoutReferences(JSON.parse(text)) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
    readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
  };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      parameters: operation.parameters ?? [],
      bodies: operation.requestBody?.content ?? {},
      answers: Object.fromEntries(
        Object.entries(operation.responses).map(([status, { content }]) => [status, content ?? {}]),
      ),
    })),
  );
  const problem = document.components.schemas.Problem;
  if (problem === undefined) throw new Error("the document has no schema of a problem");
  return { operations, schemas: new Schemas(document.components.schemas), problem };
}
