/** The admin routes of dead letters: many tasks that were given up, started over or removed at once. */

import { Type } from "@sinclair/typebox";
import type { DeadLetters } from "../service/dead.ts";
import { DeadPurgeSchema, DeadReplaySchema } from "../service/dead-request.ts";
import { bodyReader, CHANGE_PROBLEMS, NextCursorSchema } from "./admin-request.ts";
import { JSON_TYPE } from "./json-body.ts";
import { json, type Route } from "./route.ts";

export function deadRoutes(dead: DeadLetters): readonly Route[] {
  return [replayRoute(dead), purgeRoute(dead)];
}

function replayRoute(dead: DeadLetters): Route {
  const read = bodyReader(DeadReplaySchema);
  return {
    method: "POST",
    path: "/admin/dead/replay",
    summary: "Start dead tasks over, with no attempts charged; with rate_per_sec one after the other",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: DeadReplaySchema }],
    answers: {
      200: {
        description: "How many were started over.",
        schema: Type.Object({ replayed: Type.Integer(), next_cursor: NextCursorSchema }),
      },
    },
    problems: CHANGE_PROBLEMS,
    async handle({ request, caller }) {
      return json(200, await dead.replay(await read(request), caller.actor));
    },
  };
}

function purgeRoute(dead: DeadLetters): Route {
  const read = bodyReader(DeadPurgeSchema);
  return {
    method: "POST",
    path: "/admin/dead/purge",
    summary: "Remove dead tasks before their retention is over",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: DeadPurgeSchema }],
    answers: {
      200: {
        description: "How many were removed.",
        schema: Type.Object({ removed: Type.Integer(), next_cursor: NextCursorSchema }),
      },
    },
    problems: CHANGE_PROBLEMS,
    async handle({ request, caller }) {
      return json(200, await dead.purge(await read(request), caller.actor));
    },
  };
}
