/** GET /openapi.json: the OpenAPI 3.1 document, written from the very routes and schemas that are served. */

import { type TSchema, Type } from "@sinclair/typebox";
import type { ClientAuth } from "./identity.ts";
import { ProblemSchema } from "./problem.ts";
import { RATE_HEADERS } from "./rate-headers.ts";
import type { Route } from "./route.ts";

/** Which keys this server asks for. */
export interface Security {
  readonly clientAuth: ClientAuth;
  readonly adminKeySet: boolean;
}

/** What the document says beside the routes. */
export interface Served extends Security {
  readonly version: string;
  /** The path that all routes are served under, empty for none. */
  readonly pathPrefix: string;
}

const SECURITY_SCHEMES = {
  adminKey: {
    type: "apiKey",
    in: "header",
    name: "X-Admin-Key",
    description: "The key of whoever looks after the runner.",
  },
  clientKey: {
    type: "apiKey",
    in: "header",
    name: "X-API-Key",
    description: "A key of a client, trk.{client_id}.{secret}: opens this client's tasks and no others.",
  },
  clientBearer: { type: "http", scheme: "bearer", description: "The same key of a client." },
};

const REQUEST_ID_HEADER = {
  "X-Request-Id": { description: "The caller's own, or one made here.", schema: { type: "string" } },
};

const RETRY_AFTER = { "Retry-After": "Seconds after which to try again." };
/** What problems of a status carry beside the problem. */
const PROBLEM_HEADERS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  401: { "WWW-Authenticate": "What a key may be sent as." },
  429: { ...RETRY_AFTER, ...RATE_HEADERS },
  503: RETRY_AFTER,
};

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
    handle: () => ({ status: 200, body: document }),
  };
  const all = [...routes, route];
  document = JSON.stringify(openApiDocument(all, served));
  return all;
}

function openApiDocument(routes: readonly Route[], served: Served) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, served) };
  }
  const { value, schemas } = withReferences(paths);
  return {
    openapi: "3.1.0",
    info: { title: "Task Runner", version: served.version, description: "A self-hosted HTTP task queue." },
    ...(served.pathPrefix !== "" && { servers: [{ url: served.pathPrefix }] }),
    paths: value,
    components: {
      schemas,
      securitySchemes: SECURITY_SCHEMES,
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

function operation(route: Route, security: Security) {
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
    security: keysOf(route, security),
  };
}

/** The keys of which one will do, an empty one among them where none is needed; none at all where none is looked at. */
function keysOf({ access }: Route, { clientAuth, adminKeySet }: Security): readonly Record<string, []>[] {
  if (access === "open" || (access === "task" && clientAuth === "off")) return [];
  const forAdmin = access === "admin" || clientAuth === "off";
  const keys: Record<string, []>[] = [{ adminKey: [] }];
  if (!forAdmin) keys.push({ clientKey: [] }, { clientBearer: [] });
  const keyless = forAdmin ? !adminKeySet : clientAuth === "optional" && (access === "task" || !adminKeySet);
  return keyless ? [...keys, {}] : keys;
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
    Object.entries(route.answers).map(([status, { description, schema, headers }]) => [
      status,
      {
        description,
        headers: { ...REQUEST_ID_HEADER, ...headersOf(headers ?? {}) },
        content: { "application/json": { schema } },
      },
    ]),
  );
}

function headersOf(meanings: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(meanings).map(([name, description]) => [
      name,
      { description, schema: { type: "string" } },
    ]),
  );
}

function problems(route: Route) {
  const content = { "application/problem+json": { schema: ProblemSchema } };
  return Object.fromEntries(
    route.problems.map((status) => [
      status,
      {
        description: "A problem.",
        headers: { ...REQUEST_ID_HEADER, ...headersOf(PROBLEM_HEADERS[status] ?? {}) },
        content,
      },
    ]),
  );
}
