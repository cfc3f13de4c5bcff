/** The admin routes of clients: their tiers and limits, what they may use, and their API keys. */

import { Type } from "@sinclair/typebox";
import { ClientSchema, ClientSetSchema, LabelSchema } from "../service/client-settings.ts";
import type { ClientService } from "../service/clients.ts";
import { ClientIdSchema } from "../service/enqueue-request.ts";
import { says, TimeSchema } from "../service/schema-words.ts";
import {
  ADMIN_PROBLEMS,
  bodyReader,
  CHANGE_PROBLEMS,
  NextCursorSchema,
  PageQuerySchema,
  pageOf,
  queryReader,
} from "./admin-request.ts";
import { JSON_TYPE } from "./json-body.ts";
import { json, type Route } from "./route.ts";

const ClientIdOnlySchema = Type.Object({ client_id: ClientIdSchema }, { additionalProperties: false });

export const CreateKeySchema = Type.Object(
  { client_id: ClientIdSchema, label: Type.Optional(LabelSchema) },
  { $id: "ClientKeyCreateRequest", additionalProperties: false },
);

const RevokeKeySchema = Type.Object(
  {
    client_id: ClientIdSchema,
    key_id: says(
      "a key_id of the client's keys: 8 characters of 0-9 a-f",
      Type.String({ pattern: "^[0-9a-f]{8}$" }),
    ),
  },
  { $id: "ClientKeyRevokeRequest", additionalProperties: false },
);

export const CreatedKeySchema = Type.Object(
  {
    client_id: Type.String(),
    key_id: Type.String(),
    key: Type.String({ description: "Shown this once: only its hash is kept." }),
    label: Type.Union([Type.String(), Type.Null()]),
    created_at: TimeSchema,
  },
  { $id: "ClientKey" },
);

export const ClientPageSchema = Type.Object({
  clients: Type.Array(ClientSchema, { description: "In the order of their ids." }),
  next_cursor: NextCursorSchema,
});

const THE_CLIENT = { 200: { description: "The client as it is now.", schema: ClientSchema } };

export function clientRoutes(clients: ClientService): readonly Route[] {
  return [
    listRoute(clients),
    getRoute(clients),
    setRoute(clients),
    deleteRoute(clients),
    createKeyRoute(clients),
    revokeKeyRoute(clients),
  ];
}

function listRoute(clients: ClientService): Route {
  return {
    method: "GET",
    path: "/admin/clients",
    summary: "List clients, with their limits and what they are using",
    access: "admin",
    query: PageQuerySchema,
    answers: { 200: { description: "A page of clients.", schema: ClientPageSchema } },
    problems: [400, ...ADMIN_PROBLEMS],
    async handle({ request }) {
      const { clients: page, nextCursor } = await clients.list(pageOf(request));
      return json(200, { clients: page, next_cursor: nextCursor });
    },
  };
}

function getRoute(clients: ClientService): Route {
  const read = queryReader(ClientIdOnlySchema);
  return {
    method: "GET",
    path: "/admin/clients/get",
    summary: "Read a client",
    access: "admin",
    query: ClientIdOnlySchema,
    answers: { 200: { description: "The client.", schema: ClientSchema } },
    problems: [400, 404, ...ADMIN_PROBLEMS],
    async handle({ request }) {
      return json(200, await clients.get(read(request).client_id));
    },
  };
}

function setRoute(clients: ClientService): Route {
  const read = bodyReader(ClientSetSchema);
  return {
    method: "POST",
    path: "/admin/clients/set",
    summary: "Make a client, or change its tier, its limits or what it may use",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: ClientSetSchema }],
    answers: THE_CLIENT,
    problems: CHANGE_PROBLEMS,
    async handle({ request, caller }) {
      return json(200, await clients.set(await read(request), caller.actor));
    },
  };
}

function deleteRoute(clients: ClientService): Route {
  const read = bodyReader(ClientIdOnlySchema);
  return {
    method: "POST",
    path: "/admin/clients/delete",
    summary: "Remove a client with its settings and keys; its tasks stay",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: ClientIdOnlySchema }],
    answers: {
      200: {
        description: "It is removed.",
        schema: Type.Object({ status: Type.Literal("deleted"), client_id: Type.String() }),
      },
    },
    problems: [404, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { client_id: id } = await read(request);
      await clients.delete(id, caller.actor);
      return json(200, { status: "deleted", client_id: id });
    },
  };
}

function createKeyRoute(clients: ClientService): Route {
  const read = bodyReader(CreateKeySchema);
  return {
    method: "POST",
    path: "/admin/clients/keys/create",
    summary: "Make an API key of a client, shown this once",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: CreateKeySchema }],
    answers: { 200: { description: "The key.", schema: CreatedKeySchema } },
    problems: [409, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { client_id: id, label } = await read(request);
      const created = json(200, await clients.createKey(id, label ?? null, caller.actor));
      return { ...created, headers: { "cache-control": "no-store" } };
    },
  };
}

function revokeKeyRoute(clients: ClientService): Route {
  const read = bodyReader(RevokeKeySchema);
  return {
    method: "POST",
    path: "/admin/clients/keys/revoke",
    summary: "Make an API key of a client worthless at once",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: RevokeKeySchema }],
    answers: THE_CLIENT,
    problems: [404, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { client_id: id, key_id: keyId } = await read(request);
      return json(200, await clients.revokeKey(id, keyId, caller.actor));
    },
  };
}
