/** GET /admin/audit: who changed what, and when. */

import { Type } from "@sinclair/typebox";
import { AuditEntrySchema, type AuditLog } from "../service/audit.ts";
import { ADMIN_PROBLEMS, NextCursorSchema, PageQuerySchema, pageOf } from "./admin-request.ts";
import { json, type Route } from "./route.ts";

export function auditRoute(audit: AuditLog): Route {
  return {
    method: "GET",
    path: "/admin/audit",
    summary: "List the changes that were made to settings and to many tasks at once, newest first",
    access: "admin",
    query: PageQuerySchema,
    answers: {
      200: {
        description: "A page of entries.",
        schema: Type.Object({ entries: Type.Array(AuditEntrySchema), next_cursor: NextCursorSchema }),
      },
    },
    problems: [400, ...ADMIN_PROBLEMS],
    async handle({ request }) {
      const { entries, nextCursor } = await audit.list(pageOf(request));
      return json(200, { entries, next_cursor: nextCursor });
    },
  };
}
