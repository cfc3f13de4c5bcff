/** GET /openapi.json: the OpenAPI 3.1 document, written from the very routes and schemas that are served. */

import { Type } from "@sinclair/typebox";
import { operation } from "./openapi-operation.ts";
import { problemAnswers } from "./openapi-problems.ts";
import { type Security, securitySchemes } from "./openapi-security.ts";
import type { Route } from "./route.ts";

/** What the document says beside the routes. */
export interface Served extends Security {
  readonly version: string;
  /** The path that all routes are served under, empty for none. */
  readonly pathPrefix: string;
}

/** Adds to `routes` the one that describes them all, itself included. */
export function withOpenApi(routes: readonly Route[], served: Served): readonly Route[] {
  let document = "";
  const route: Route = {
    method: "GET",
    path: "/openapi.json",
    summary: "This document",
    access: "open",
    answers: { 200: { description: "OpenAPI 3.1.", schema: Type.Object({}) } },
    problems: [],
    handle: () => {
      // Written when it is first asked for: most processes never are, and it would be work at every start.
      if (document === "") document = JSON.stringify(openApiDocument(all, served));
      return { status: 200, body: document };
    },
  };
  const all = [...routes, route];
  return all;
}

function openApiDocument(routes: readonly Route[], served: Served) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, served) };
  }
  const { value, schemas } = withReferences({ paths, responses: problemAnswers(routes) });
  return {
    openapi: "3.1.0",
    info: {
      title: "Task Runner",
      version: served.version,
      description: "A self-hosted HTTP task queue.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    ...(served.pathPrefix !== "" && { servers: [{ url: served.pathPrefix }] }),
    tags: [...new Set(Object.values(paths).flatMap(tagsOf))].map((name) => ({ name })),
    paths: value.paths,
    components: { schemas, responses: value.responses, securitySchemes: securitySchemes(served) },
  };
}

function tagsOf(operations: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.values(operations).flatMap((one) => (one as ReturnType<typeof operation>).tags);
}

/** Puts every schema that has an `$id` in one place, and a reference where it stood. */
function withReferences<T>(whole: T) {
  const schemas: Record<string, unknown> = {};
  const refer = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(refer);
    if (typeof part !== "object" || part === null) return part;
    // `$id` itself is left out: it would make the schema a document of its own.
    const { $id: id, ...rest } = part as Record<string, unknown>;
    const referred = Object.fromEntries(Object.entries(rest).map(([name, inner]) => [name, refer(inner)]));
    if (typeof id !== "string") return referred;
    if (id in schemas && JSON.stringify(schemas[id]) !== JSON.stringify(referred)) {
      throw new Error(`two schemas have the $id ${id}`);
    }
    schemas[id] = referred;
    return { $ref: `#/components/schemas/${id}` };
  };
  return { value: refer(whole) as T, schemas };
}
