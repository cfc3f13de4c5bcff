/** Describes one route as an operation of the OpenAPI document. */

import type { TSchema } from "@sinclair/typebox";
import { JSON_TYPE } from "./json-body.ts";
import { exampleOf } from "./openapi-examples.ts";
import { headersOf, problemsOf, REQUEST_ID_HEADER } from "./openapi-problems.ts";
import { keysFor, type Security } from "./openapi-security.ts";
import type { Route } from "./route.ts";

/** Under which heading readers find a route: by the beginning of its path, the first that fits. */
const TAGS: readonly (readonly [string, string])[] = [
  ["/v1/enqueue", "Handing in"],
  ["/v1/tasks", "Tasks"],
  ["/v1/queues", "Pull queues"],
  ["/v1/leases", "Pull queues"],
  ["/admin/clients", "Clients"],
  ["/admin/tiers", "Tiers"],
  ["/admin/queues", "Queues"],
  ["/admin/schedules", "Schedules"],
  ["/admin/dead", "Dead letters"],
  ["/admin/", "Installation"],
  ["/", "Process"],
];

export function operation(route: Route, security: Security) {
  return {
    operationId: operationId(route),
    tags: TAGS.flatMap(([start, tag]) => (route.path.startsWith(start) ? [tag] : [])).slice(0, 1),
    summary: route.summary,
    parameters: parameters(route),
    ...requestBody(route),
    // Statuses of its own come last: health tells what is wrong under one that problems have elsewhere.
    responses: { ...problemsOf(route), ...answers(route) },
    security: keysFor(route.access, security),
  };
}

function requestBody({ path, body }: Route) {
  if (body === undefined) return {};
  const example = exampleOf(path);
  const media = body.map(({ type, schema }) => [
    type,
    { schema, ...(type === JSON_TYPE && example !== undefined && { example }) },
  ]);
  return { requestBody: { required: true, content: Object.fromEntries(media) } };
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
  const required: readonly string[] = query?.required ?? [];
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    ...(schema.description !== undefined && { description: schema.description }),
    schema,
  }));
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
    Object.entries(route.answers).map(([status, { description, type = JSON_TYPE, schema, headers }]) => [
      status,
      {
        description,
        headers: { ...REQUEST_ID_HEADER, ...headersOf(headers ?? {}) },
        content: { [type]: { schema } },
      },
    ]),
  );
}
