/** The admin routes of tiers: the limits that clients share by name. */

import { Type } from "@sinclair/typebox";
import { TierNameSchema, TierSchema, TierSetSchema } from "../service/tier-settings.ts";
import type { TierService } from "../service/tiers.ts";
import { ADMIN_PROBLEMS, bodyReader, CHANGE_PROBLEMS } from "./admin-request.ts";
import { JSON_TYPE } from "./json-body.ts";
import { json, type Route } from "./route.ts";

const TierOnlySchema = Type.Object({ tier: TierNameSchema }, { additionalProperties: false });

export function tierRoutes(tiers: TierService): readonly Route[] {
  return [listRoute(tiers), setRoute(tiers), deleteRoute(tiers)];
}

function listRoute(tiers: TierService): Route {
  return {
    method: "GET",
    path: "/admin/tiers",
    summary: "List the tiers",
    access: "admin",
    answers: {
      200: { description: "All tiers.", schema: Type.Object({ tiers: Type.Array(TierSchema) }) },
    },
    problems: ADMIN_PROBLEMS,
    async handle() {
      return json(200, { tiers: await tiers.list() });
    },
  };
}

function setRoute(tiers: TierService): Route {
  const read = bodyReader(TierSetSchema);
  return {
    method: "POST",
    path: "/admin/tiers/set",
    summary: "Make a tier, or change its limits",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: TierSetSchema }],
    answers: { 200: { description: "The tier as it is now.", schema: TierSchema } },
    problems: [409, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      return json(200, await tiers.set(await read(request), caller.actor));
    },
  };
}

function deleteRoute(tiers: TierService): Route {
  const read = bodyReader(TierOnlySchema);
  return {
    method: "POST",
    path: "/admin/tiers/delete",
    summary: "Remove a tier; its clients have the limits of the default one",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: TierOnlySchema }],
    answers: {
      200: {
        description: "It is removed.",
        schema: Type.Object({ status: Type.Literal("deleted"), tier: Type.String() }),
      },
    },
    problems: [404, 409, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { tier } = await read(request);
      await tiers.delete(tier, caller.actor);
      return json(200, { status: "deleted", tier });
    },
  };
}
