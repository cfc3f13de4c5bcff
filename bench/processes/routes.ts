/** The enqueue routes as a bare Elysia app would have them: our schemas validated, our answers given, nothing else. */

import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { EnqueueRequestSchema, MAX_BATCH_ITEMS } from "../../src/service/enqueue-request.ts";
import { BATCH_PATH, ENQUEUE_PATH } from "../load-shape.ts";

export type Request = Static<typeof EnqueueRequestSchema>;

/** What keeps the tasks; each answers with the ids it gave. */
export interface Taker {
  one(request: Request): string | Promise<string>;
  many(requests: readonly Request[]): readonly string[] | Promise<readonly string[]>;
}

const BatchSchema = Type.Object({
  tasks: Type.Array(EnqueueRequestSchema, { minItems: 1, maxItems: MAX_BATCH_ITEMS }),
});

const accepted = (task_id: string) => ({
  status: "enqueued",
  task_id,
  queue: "default",
  state: "ready",
  scheduled_at: "2030-01-31T08:00:00.000Z",
  durability: "primary",
});
const allAccepted = (ids: readonly string[]) => ({
  results: ids.map(accepted),
  enqueued: ids.length,
  duplicates: 0,
  rejected: 0,
});

/** Serves the routes the way the product is served, by a fetch function handed to the runtime; resolves to the port. */
export function serveRoutes(taker: Taker): number {
  const app = new Elysia()
    .post(
      ENQUEUE_PATH,
      ({ body, set }) => {
        set.status = 202;
        const id = taker.one(body);
        return typeof id === "string" ? accepted(id) : id.then(accepted);
      },
      { body: EnqueueRequestSchema },
    )
    .post(
      BATCH_PATH,
      ({ body, set }) => {
        set.status = 202;
        const ids = taker.many(body.tasks);
        return ids instanceof Promise ? ids.then(allAccepted) : allAccepted(ids);
      },
      { body: BatchSchema },
    );
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch });
  return server.port ?? 0;
}

/** How many milliseconds from now the bench's requests ask for; they say it in seconds or not at all. */
export function delayMs(request: Request): number {
  if (request.delay !== undefined) return request.delay * 1_000;
  return typeof request.scheduled_at === "number"
    ? Math.max(request.scheduled_at * 1_000 - Date.now(), 0)
    : 0;
}
