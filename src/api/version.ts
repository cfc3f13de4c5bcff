/** GET /version and GET /: what is running here, and where to read on. */

import { Type } from "@sinclair/typebox";
import { json, type Route } from "./route.ts";

const VersionSchema = Type.Object({ name: Type.Literal("task-runner"), version: Type.String() });

export function versionRoute(version: string): Route {
  return {
    method: "GET",
    path: "/version",
    summary: "The version that is running",
    access: "open",
    answers: { 200: { description: "The version.", schema: VersionSchema } },
    problems: [],
    handle: () => json(200, { name: "task-runner", version }),
  };
}

export function rootRoute(version: string): Route {
  const pointers = { openapi: "/openapi.json", health: "/health", enqueue: "/v1/enqueue" };
  return {
    method: "GET",
    path: "/",
    summary: "What this is, and where to read on",
    access: "open",
    answers: {
      200: {
        description: "Where to read on.",
        schema: Type.Composite([
          VersionSchema,
          Type.Object({ openapi: Type.String(), health: Type.String(), enqueue: Type.String() }),
        ]),
      },
    },
    problems: [],
    handle: () => json(200, { name: "task-runner", version, ...pointers }),
  };
}
