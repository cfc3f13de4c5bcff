/** GET /openapi.json: the OpenAPI 3.1 document, written from the very routes and schemas that are served. */

import { type TSchema, Type } from "@sinclair/typebox";
import { ProblemSchema } from "./problem.ts";
import type { Route } from "./route.ts";

const REQUEST_ID_HEADER = {
  "X-Request-Id": { description: "The caller's own, or one made here.", schema: { type: "string" } },
};

/** Adds to `routes` the one that describes them all, itself included. */
export function withOpenApi(routes: readonly Route[], version: string): readonly Route[] {
  let document = "";
  const route: Route = {
    method: "GET",
    path: "/openapi.json",
    summary: "This document",
    admin: false,
    answers: { 200: { description: "OpenAPI 3.1.", schema: Type.Object({}) } },
    problems: [],
    handle: () => ({ status: 200, body: document }),
  };
  const all = [...routes, route];
  document = JSON.stringify(openApiDocument(all, version));
  return all;
}

function openApiDocument(routes: readonly Route[], version: string) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  const { value, schemas } = withReferences(paths);
  return {
    openapi: "3.1.0",
    info: { title: "Task Runner", version, description: "A self-hosted HTTP task queue." },
    paths: value,
    components: {
      schemas,
      securitySchemes: { adminKey: { type: "apiKey", in: "header", name: "X-Admin-Key" } },
    },
  };
}

/** Puts every schema that has an `$id` in one place, and a reference where it stood. */
function withReferences(value: unknown) {
  const schemas: Record<string, unknown> = {};
  const refer = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(refer);
    if (typeof part !== "object" || part === null) return part;
    // `$id` itself is left out: it would make the schema a document of its own.
    const { $id: id, ...rest } = part as Record<string, unknown>;
    const referred = Object.fromEntries(Object.entries(rest).map(([name, inner]) => [name, refer(inner)]));
    if (typeof id !== "string") return referred;
    schemas[id] = referred;
    return { $ref: `#/components/schemas/${id}` };
  };
  return { value: refer(value), schemas };
}

function operation(route: Route) {
  return {
    operationId: operationId(route),
    summary: route.summary,
    parameters: parameters(route),
    ...(route.body && {
      requestBody: {
        required: true,
        content: Object.fromEntries(route.body.map(({ type, schema }) => [type, { schema }])),
      },
    }),
    responses: { ...answers(route), ...problems(route) },
    ...(route.admin && { security: [{ adminKey: [] }] }),
  };
}

/** `post_v1_tasks_id_run` of `POST /v1/tasks/:id/run`. */
function operationId({ method, path }: Route): string {
  const words = path.split(/\W+/).filter((word) => word !== "");
  return [method.toLowerCase(), ...(words.length === 0 ? ["root"] : words)].join("_");
}

function parameters({ path, query, headers }: Route) {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const properties: Record<string, TSchema> = query?.properties ?? {};
  const inQuery = Object.entries(properties).map(([name, schema]) => ({ name, in: "query", schema }));
  const inHeader = Object.entries(headers ?? {}).map(([name, description]) => ({
    name,
    in: "header",
    description,
    schema: { type: "string" },
  }));
  return [...inPath, ...inQuery, ...inHeader];
}

function answers(route: Route) {
  return Object.fromEntries(
    Object.entries(route.answers).map(([status, { description, schema }]) => [
      status,
      {
        description,
        headers: REQUEST_ID_HEADER,
        content: { "application/json": { schema } },
      },
    ]),
  );
}

function problems(route: Route) {
  const content = { "application/problem+json": { schema: ProblemSchema } };
  return Object.fromEntries(
    route.problems.map((status) => [
      status,
      { description: "A problem.", headers: REQUEST_ID_HEADER, content },
    ]),
  );
}
