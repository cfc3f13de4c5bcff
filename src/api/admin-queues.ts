/** The admin routes of queues: their rules, and what is done to one as a whole. */

import { Type } from "@sinclair/typebox";
import { QueueIdSchema, QueueSchema, QueueSetSchema } from "../service/queue-settings.ts";
import type { QueueService } from "../service/queues.ts";
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

const QueueOnlySchema = Type.Object({ queue: QueueIdSchema }, { additionalProperties: false });

export const QueuePageSchema = Type.Object({
  queues: Type.Array(QueueSchema, { description: "In the order of their names." }),
  next_cursor: NextCursorSchema,
});

const THE_QUEUE = { 200: { description: "The queue as it is now.", schema: QueueSchema } };
const NAMED = [{ type: JSON_TYPE, schema: QueueOnlySchema }];

export function queueRoutes(queues: QueueService): readonly Route[] {
  return [
    listRoute(queues),
    getRoute(queues),
    setRoute(queues),
    pauseRoute(queues, "pause", "Stop handing out a queue's tasks; it still takes new ones"),
    pauseRoute(queues, "resume", "Hand out a paused queue's tasks again"),
    purgeRoute(queues),
    deleteRoute(queues),
  ];
}

function listRoute(queues: QueueService): Route {
  return {
    method: "GET",
    path: "/admin/queues",
    summary: "List queues, with their rules and what they hold",
    access: "admin",
    query: PageQuerySchema,
    answers: { 200: { description: "A page of queues.", schema: QueuePageSchema } },
    problems: [400, ...ADMIN_PROBLEMS],
    async handle({ request }) {
      const { queues: page, nextCursor } = await queues.list(pageOf(request));
      return json(200, { queues: page, next_cursor: nextCursor });
    },
  };
}

function getRoute(queues: QueueService): Route {
  const read = queryReader(QueueOnlySchema);
  return {
    method: "GET",
    path: "/admin/queues/get",
    summary: "Read a queue",
    access: "admin",
    query: QueueOnlySchema,
    answers: { 200: { description: "The queue.", schema: QueueSchema } },
    problems: [400, 404, ...ADMIN_PROBLEMS],
    async handle({ request }) {
      return json(200, await queues.get(read(request).queue));
    },
  };
}

function setRoute(queues: QueueService): Route {
  const read = bodyReader(QueueSetSchema);
  return {
    method: "POST",
    path: "/admin/queues/set",
    summary: "Make a queue, or change its rules; they apply to tasks that wait already",
    access: "admin",
    body: [{ type: JSON_TYPE, schema: QueueSetSchema }],
    answers: THE_QUEUE,
    problems: [...CHANGE_PROBLEMS, 422],
    async handle({ request, caller }) {
      return json(200, await queues.set(await read(request), caller.actor));
    },
  };
}

function pauseRoute(queues: QueueService, action: "pause" | "resume", summary: string): Route {
  const read = bodyReader(QueueOnlySchema);
  return {
    method: "POST",
    path: `/admin/queues/${action}`,
    summary,
    access: "admin",
    body: NAMED,
    answers: THE_QUEUE,
    problems: [404, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { queue } = await read(request);
      return json(200, await queues[action](queue, caller.actor));
    },
  };
}

function purgeRoute(queues: QueueService): Route {
  const read = bodyReader(QueueOnlySchema);
  return {
    method: "POST",
    path: "/admin/queues/purge",
    summary: "Remove every task that waits in a queue now, in the background; those that run finish",
    access: "admin",
    body: NAMED,
    answers: {
      202: {
        description: "It has begun; the queue's field purge tells how far it is.",
        schema: Type.Object({ status: Type.Literal("purging"), queue: Type.String() }),
      },
    },
    problems: [404, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { queue } = await read(request);
      await queues.purge(queue, caller.actor);
      return json(202, { status: "purging", queue });
    },
  };
}

function deleteRoute(queues: QueueService): Route {
  const read = bodyReader(QueueOnlySchema);
  return {
    method: "POST",
    path: "/admin/queues/delete",
    summary: "Remove a queue without unfinished tasks, with its rules",
    access: "admin",
    body: NAMED,
    answers: {
      200: {
        description: "It is removed.",
        schema: Type.Object({ status: Type.Literal("deleted"), queue: Type.String() }),
      },
    },
    problems: [404, 409, ...CHANGE_PROBLEMS],
    async handle({ request, caller }) {
      const { queue } = await read(request);
      await queues.delete(queue, caller.actor);
      return json(200, { status: "deleted", queue });
    },
  };
}
