/** GET /version and GET /: what is running here, and where to read on. */

import { Type } from "@sinclair/typebox";
import { json, type Route } from "./route.ts";

const VersionSchema = Type.Object({ name: Type.Literal("task-runner"), version: Type.String() });
const BuildSchema = Type.Composite([
  VersionSchema,
  Type.Object({
    commit: Type.Optional(Type.String({ description: "What a compiled program was built of." })),
  }),
]);

/** `commit` is null where the sources run as they are. */
export function versionRoute(version: string, commit: string | null): Route {
  return {
    method: "GET",
    path: "/version",
    summary: "The version that is running",
    access: "open",
    answers: { 200: { description: "The version.", schema: BuildSchema } },
    problems: [],
    handle: () => json(200, { name: "task-runner", version, ...(commit === null ? {} : { commit }) }),
  };
}

/** `prefix` is the path that all routes are served under, empty for none. */
export function rootRoute(version: string, prefix: string): Route {
  const pointers = {
    openapi: `${prefix}/openapi.json`,
    docs: `${prefix}/docs`,
    health: `${prefix}/health`,
    enqueue: `${prefix}/v1/enqueue`,
  };
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
          Type.Object({
            openapi: Type.String(),
            docs: Type.String(),
            health: Type.String(),
            enqueue: Type.String(),
          }),
        ]),
      },
    },
    problems: [],
    handle: () => json(200, { name: "task-runner", version, ...pointers }),
  };
}
