/** Assembles the routes into one handler of requests, and gives every answer what all of them carry. */

import { Elysia } from "elysia";
import { TaskRunnerError } from "../core/errors.ts";
import type { TaskService } from "../service/tasks.ts";
import type { Logger } from "../telemetry/logger.ts";
import { adminGuard } from "./admin-key.ts";
import { batchRoute } from "./batch.ts";
import { enqueueRoute } from "./enqueue.ts";
import { type HealthSource, healthRoutes } from "./health.ts";
import { withOpenApi } from "./openapi.ts";
import { problemAnswer } from "./problem.ts";
import { requestIds } from "./request-id.ts";
import type { Answer, Call, Route } from "./route.ts";
import { taskListRoute } from "./task-list.ts";
import { taskRoutes } from "./tasks.ts";
import { rootRoute, versionRoute } from "./version.ts";

/** Something that answers requests, for whatever server listens. */
export interface Api {
  fetch(request: Request): Promise<Response>;
}

export interface ApiOptions {
  readonly service: TaskService;
  readonly health: HealthSource;
  /** Null leaves listing and changing tasks open to everyone. */
  readonly adminKey: string | null;
  readonly logger: Logger;
  readonly version: string;
  /** The largest body of a task, in bytes. */
  readonly maxPayloadBytes: number;
}

const ADMIN_OPEN =
  "ADMIN IS OPEN: ADMIN_API_KEY is not set, so everyone who can reach this port can list, change and cancel tasks.";

/** The whole API. */
export function createApi(options: ApiOptions): Api {
  const { service, health, adminKey, logger, version, maxPayloadBytes } = options;
  const routes = [
    enqueueRoute(service, maxPayloadBytes),
    batchRoute(service),
    taskListRoute(service),
    ...taskRoutes(service),
    ...healthRoutes(health, version, adminKey === null ? [ADMIN_OPEN] : []),
    versionRoute(version),
    rootRoute(version),
  ];
  return assemble(withOpenApi(routes, version), adminKey, logger);
}

export type HealthApiOptions = Pick<ApiOptions, "health" | "logger" | "version">;

/** Health and version alone, for a process that takes no tasks. */
export function createHealthApi({ health, logger, version }: HealthApiOptions): Api {
  return assemble([...healthRoutes(health, version, []), versionRoute(version)], null, logger);
}

function assemble(routes: readonly Route[], adminKey: string | null, logger: Logger): Api {
  const respond = responder(adminGuard(adminKey), logger);
  // Bodies are read, checked and refused by the routes themselves, in one manner for all of them.
  const unparsed = { parse: "none" } as const;
  // Compiled now and not at the first request, which would otherwise wait a tenth of a second.
  const app = new Elysia({ normalize: false, precompile: true });
  for (const [path, taken] of Map.groupBy(routes, (route) => route.path)) {
    for (const route of taken) {
      // Destructured: Elysia reads a handler's source, and prepares all that a whole context might be asked for.
      const handle: Handler = ({ request, params }) => respond({ request, params }, route);
      app.route(route.method, path, handle, unparsed);
      if (route.method === "GET") app.route("HEAD", path, handle, unparsed);
    }
    const other = otherMethods(taken);
    app.all(path, ({ request, params }) => respond({ request, params }, other), unparsed);
  }
  app.all("/*", ({ request, params }) => respond({ request, params }, NO_ROUTE), unparsed);
  app.onError(({ error, request }) => respond({ request, params: {} }, throwing(error)));
  return { fetch: async (request) => app.fetch(request) };
}

type Answering = Pick<Route, "admin" | "handle">;
type Handler = (context: Call) => Promise<Response>;

/** Answers a request by a route, turning what it throws into a problem. */
function responder(guard: (request: Request) => void, logger: Logger) {
  const requestId = requestIds();
  const debug = logger.isLevelEnabled("debug");
  return async (call: Call, { admin, handle }: Answering): Promise<Response> => {
    const id = requestId(call.request);
    let answer: Answer;
    try {
      if (admin) guard(call.request);
      answer = await handle(call);
    } catch (thrown) {
      answer = problemAnswer(expected(thrown, id, logger));
    }
    if (debug) {
      const { method, url } = call.request;
      logger.debug(
        { request_id: id, method, path: new URL(url).pathname, status: answer.status },
        "answered",
      );
    }
    return new Response(answer.status === 204 ? null : answer.body, {
      status: answer.status,
      headers: headersOf(answer, id),
    });
  };
}

function headersOf({ headers }: Answer, requestId: string): Record<string, string> {
  return headers === undefined
    ? { "content-type": "application/json", "x-request-id": requestId }
    : { "content-type": "application/json", "x-request-id": requestId, ...headers };
}

/** What was thrown, as a caller may see it: what was not expected is logged here and told without details. */
function expected(thrown: unknown, requestId: string, logger: Logger): TaskRunnerError {
  if (thrown instanceof TaskRunnerError) return thrown;
  logger.error({ request_id: requestId, err: thrown }, "a request failed unexpectedly");
  return new TaskRunnerError(
    "internal_error",
    `The request could not be answered. The server's log tells why, under the request id ${requestId}.`,
  );
}

/** Answers the methods that a path does not take. */
function otherMethods(taken: readonly Route[]): Answering {
  const methods = taken.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  const allow = [...methods, "OPTIONS"].join(", ");
  return {
    admin: false,
    handle: ({ request }) => {
      if (request.method === "OPTIONS") return { status: 204, body: "", headers: { allow } };
      const error = new TaskRunnerError("method_not_allowed", `This path takes ${allow}.`);
      const answer = problemAnswer(error);
      return { ...answer, headers: { ...answer.headers, allow } };
    },
  };
}

const NO_ROUTE = throwing(
  new TaskRunnerError("not_found", "There is nothing at this path; /openapi.json lists all."),
);

function throwing(error: unknown): Answering {
  return {
    admin: false,
    handle: () => {
      throw error;
    },
  };
}
