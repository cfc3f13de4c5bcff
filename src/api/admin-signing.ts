/** The admin routes of signing secrets, alike for clients and queues: one to make a secret, one to revoke it. */

import { type TObject, Type } from "@sinclair/typebox";
import { ClientSchema } from "../service/client-settings.ts";
import type { ClientService } from "../service/clients.ts";
import { ClientIdSchema } from "../service/enqueue-request.ts";
import { QueueIdSchema, QueueSchema } from "../service/queue-settings.ts";
import type { QueueService } from "../service/queues.ts";
import { says, TimeSchema } from "../service/schema-words.ts";
import type { SigningSecrets } from "../service/signing-secrets.ts";
import { bodyReader, CHANGE_PROBLEMS } from "./admin-request.ts";
import { JSON_TYPE } from "./json-body.ts";
import { json, type Route } from "./route.ts";

const CLOSED = { additionalProperties: false };

const SecretIdSchema = says(
  "a secret_id of its signing secrets: 8 characters of 0-9 a-f",
  Type.String({ pattern: "^[0-9a-f]{8}$" }),
);

const CREATED = {
  secret_id: Type.String(),
  secret: Type.String({ description: "Shown this once: it is kept encrypted, and never told again." }),
  created_at: TimeSchema,
};

export interface SigningServices {
  readonly signing: SigningSecrets;
  readonly clients: Pick<ClientService, "get">;
  readonly queues: Pick<QueueService, "get">;
}

export function signingRoutes({ signing, clients, queues }: SigningServices): readonly Route[] {
  return [
    ...routesOf({
      kind: "client",
      field: "client_id",
      id: ClientIdSchema,
      owner: ClientSchema,
      signing,
      view: (id) => clients.get(id),
    }),
    ...routesOf({
      kind: "queue",
      field: "queue",
      id: QueueIdSchema,
      owner: QueueSchema,
      signing,
      view: (name) => queues.get(name),
    }),
  ];
}

/** What the routes of clients and those of queues differ in. */
interface Owners {
  readonly kind: "client" | "queue";
  /** By which a request names the owner. */
  readonly field: string;
  readonly id: TObject["properties"][string];
  readonly owner: TObject;
  readonly signing: SigningSecrets;
  readonly view: (id: string) => Promise<unknown>;
}

function routesOf(owners: Owners): readonly Route[] {
  return [createRoute(owners), revokeRoute(owners)];
}

function createRoute({ kind, field, id, signing }: Owners): Route {
  const schema = Type.Object({ [field]: id }, CLOSED);
  const read = bodyReader(schema);
  return {
    method: "POST",
    path: `/admin/${kind}s/secrets/create`,
    summary: `Make a secret that deliveries of a ${kind} are signed with, shown this once`,
    access: "admin",
    body: [{ type: JSON_TYPE, schema }],
    answers: {
      200: {
        description: "The secret.",
        schema: Type.Object(
          { [field]: Type.String(), ...CREATED },
          { $id: `${kind === "client" ? "Client" : "Queue"}Secret` },
        ),
      },
    },
    problems: [409, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const owner = String((await read(request))[field]);
      const created = await signing.create({ kind, owner }, caller.actor);
      return json(200, { [field]: owner, ...created }, { "cache-control": "no-store" });
    },
  };
}

function revokeRoute({ kind, field, id, owner: schemaOfOwner, signing, view }: Owners): Route {
  const schema = Type.Object({ [field]: id, secret_id: SecretIdSchema }, CLOSED);
  const read = bodyReader(schema);
  return {
    method: "POST",
    path: `/admin/${kind}s/secrets/revoke`,
    summary: `Sign deliveries of a ${kind} with one of its secrets no more`,
    access: "admin",
    body: [{ type: JSON_TYPE, schema }],
    answers: { 200: { description: `The ${kind} as it is now.`, schema: schemaOfOwner } },
    problems: [404, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const body = await read(request);
      const owner = String(body[field]);
      await signing.revoke({ kind, owner }, String(body.secret_id), caller.actor);
      return json(200, await view(owner));
    },
  };
}
