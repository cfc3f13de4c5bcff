/** Assembles the routes into one handler of requests, and gives every answer what all of them carry. */

import { Elysia } from "elysia";
import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import type { ClientKeys } from "../service/client-keys.ts";
import type { TaskService } from "../service/tasks.ts";
import type { Logger } from "../telemetry/logger.ts";
import { batchRoute, MAX_BATCH_BYTES } from "./batch.ts";
import { BodyRoom } from "./body-room.ts";
import { docsRoutes } from "./docs-page.ts";
import { enqueueRoute, maxRequestBytes } from "./enqueue.ts";
import { type HealthSource, healthRoutes } from "./health.ts";
import { type Access, ANYONE, type Caller, type ClientAuth, Gate } from "./identity.ts";
import { withOpenApi } from "./openapi.ts";
import { problemAnswer } from "./problem.ts";
import { requestIds } from "./request-id.ts";
import { requestTarget, withHost } from "./request-target.ts";
import type { Answer, Call, Route } from "./route.ts";
import { taskListRoute } from "./task-list.ts";
import { taskRoutes } from "./tasks.ts";
import { rootRoute, versionRoute } from "./version.ts";
import { WrongKeys } from "./wrong-keys.ts";

/** Something that answers requests, for whatever server listens. */
export interface Api {
  fetch(request: Request): Promise<Response>;
}

export interface ApiOptions {
  readonly service: TaskService;
  /** The routes of whoever looks after the runner, and others that are made elsewhere. */
  readonly moreRoutes: readonly Route[];
  /** Those of the process itself, its metrics: like health they answer without the path's prefix too. */
  readonly ofProcess?: readonly Route[];
  readonly health: HealthSource;
  /** Null leaves administration open to everyone. */
  readonly adminKey: string | null;
  readonly clientAuth: ClientAuth;
  readonly clientKeys: Pick<ClientKeys, "ownerOf" | "hasKeys">;
  /** The address that a request came from, asked for when its key was wrong; null where it is not known. */
  readonly addressOf: (request: Request) => string | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  /** Of a compiled program; null where the sources run as they are. */
  readonly commit?: string | null;
  /** The largest body of a task, in bytes. */
  readonly maxPayloadBytes: number;
  /** The path that the whole API is under, from its slash on; empty for none. */
  readonly pathPrefix: string;
}

/** What everyone should know who runs without an admin key. */
export function adminOpenWarning(clientAuth: ClientAuth): string {
  const tasks =
    clientAuth === "off"
      ? "list, change and cancel every task, and change every client and queue."
      : "make a key for any client and with it list, change and cancel its tasks.";
  return `ADMIN IS OPEN: ADMIN_API_KEY is not set, so whoever reaches this port can ${tasks}`;
}

/** The whole API. */
export function createApi(options: ApiOptions): Api {
  const { service, moreRoutes, health, adminKey, clientAuth, clientKeys, logger, version } = options;
  const { pathPrefix } = options;
  const ofProcess = [
    ...healthRoutes(health, version, adminKey === null ? [adminOpenWarning(clientAuth)] : []),
    ...(options.ofProcess ?? []),
  ];
  const bodies = new BodyRoom(Math.max(MAX_BATCH_BYTES, maxRequestBytes(options.maxPayloadBytes)));
  const routes = [
    enqueueRoute(service, options.maxPayloadBytes, bodies),
    batchRoute(service, bodies),
    taskListRoute(service),
    ...taskRoutes(service),
    ...moreRoutes,
    ...ofProcess,
    versionRoute(version, options.commit ?? null),
    rootRoute(version, pathPrefix),
    ...docsRoutes(),
  ];
  const gate = new Gate({ adminKey, clientAuth, keys: clientKeys, wrongKeys: new WrongKeys(options) });
  const admit: Admit = (request, access) => gate.admit(request, access);
  const served = { clientAuth, adminKeySet: adminKey !== null, version, pathPrefix };
  const all = withOpenApi(routes, served);
  if (pathPrefix === "") return assemble(all, admit, logger);
  // Whoever probes this process itself knows nothing of the path that a proxy sends here.
  return assemble([...all.map((route) => under(pathPrefix, route)), ...ofProcess], admit, logger);
}

function under(prefix: string, route: Route): Route {
  return { ...route, path: route.path === "/" ? prefix : `${prefix}${route.path}` };
}

export type HealthApiOptions = Pick<ApiOptions, "health" | "logger" | "version" | "commit" | "ofProcess">;

/** Health, version and what else is of the process, for one that takes no tasks. */
export function createHealthApi(options: HealthApiOptions): Api {
  const { health, logger, version, commit = null, ofProcess = [] } = options;
  const routes = [...healthRoutes(health, version, []), ...ofProcess, versionRoute(version, commit)];
  return assemble(routes, () => ANYONE, logger);
}

type Admit = (request: Request, access: Access) => Caller | Promise<Caller>;

function assemble(routes: readonly Route[], admit: Admit, logger: Logger): Api {
  const respond = responder(admit, logger);
  // Bodies are read, checked and refused by the routes themselves, in one manner for all of them.
  const unparsed = { parse: "none" } as const;
  // Compiled now and not at the first request, which would otherwise wait a tenth of a second.
  // A standard host name would be one of four letters or more: a service named `api` would find nothing here.
  const app = new Elysia({ normalize: false, precompile: true, handler: { standardHostname: false } });
  for (const [path, taken] of Map.groupBy(routes, (route) => route.path)) {
    for (const route of taken) {
      // Destructured: Elysia reads a handler's source, and prepares all that a whole context might be asked for.
      const handle: Handler = ({ request, params }) => respond(request, params, route);
      app.route(route.method, path, handle, unparsed);
      if (route.method === "GET") app.route("HEAD", path, handle, unparsed);
    }
    const other = otherMethods(taken);
    app.all(path, ({ request, params }) => respond(request, params, other), unparsed);
  }
  app.all("/*", ({ request, params }) => respond(request, params, NO_ROUTE), unparsed);
  app.onError(({ error, request }) => respond(request, {}, throwing(error)));
  return { fetch: async (request) => app.fetch(withHost(request)) };
}

type Answering = Pick<Route, "access" | "handle">;
type Handler = (context: Omit<Call, "caller">) => Promise<Response>;

/** Answers a request by a route, turning what it throws into a problem. */
function responder(admit: Admit, logger: Logger) {
  const requestId = requestIds();
  const debug = logger.isLevelEnabled("debug");
  return async (request: Request, params: Call["params"], route: Answering): Promise<Response> => {
    const id = requestId(request);
    let answer: Answer;
    try {
      const admitted = admit(request, route.access);
      // Awaited only where a key has to be looked up: most requests need no turn of the loop for this.
      const caller = admitted instanceof Promise ? await admitted : admitted;
      answer = await route.handle({ request, params, caller });
    } catch (thrown) {
      answer = problemAnswer(expected(thrown, id, logger));
    }
    if (debug) {
      logger.debug(
        { request_id: id, method: request.method, path: requestTarget(request).path, status: answer.status },
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
    access: "open",
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
    access: "open",
    handle: () => {
      throw error;
    },
  };
}
