/** GET /v1/tasks: pages through the tasks that match a filter. */

import { type Static, Type } from "@sinclair/typebox";
import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import type { TaskFilter } from "../core/store.ts";
import { TASK_STATES, type TaskState } from "../core/task.ts";
import { ClientIdSchema, QueueNameSchema } from "../service/enqueue-request.ts";
import { parseInstantMs } from "../service/instant.ts";
import { invalid } from "../service/new-task.ts";
import type { TaskService } from "../service/tasks.ts";
import { DEFAULT_PAGE, PageQuerySchema, queryReader } from "./admin-request.ts";
import { type Caller, refusalOf } from "./identity.ts";
import { json, type Route } from "./route.ts";
import { TaskSchema, taskJson } from "./task-json.ts";

const InstantParameter = (description: string) =>
  Type.String({ maxLength: 64, description, "x-allowed": "RFC 3339 or seconds since 1970" });

export const ListQuerySchema = Type.Object(
  {
    queue: Type.Optional(QueueNameSchema),
    state: Type.Optional(
      Type.Unsafe<TaskState>(
        Type.Union(
          TASK_STATES.map((state) => Type.Literal(state)),
          { "x-allowed": `one of ${TASK_STATES.join(", ")}` },
        ),
      ),
    ),
    client_id: Type.Optional(ClientIdSchema),
    from: Type.Optional(InstantParameter("Handed in at this time or later.")),
    to: Type.Optional(InstantParameter("Handed in before this time.")),
    ...PageQuerySchema.properties,
  },
  { additionalProperties: false },
);

export const TaskPageSchema = Type.Object({
  tasks: Type.Array(TaskSchema, { description: "Newest first." }),
  next_cursor: Type.Union([Type.String(), Type.Null()], { description: "Null on the last page." }),
});

export function taskListRoute(service: TaskService): Route {
  const read = queryReader(ListQuerySchema);
  return {
    method: "GET",
    path: "/v1/tasks",
    summary: "List tasks, newest first",
    access: "tasks",
    query: ListQuerySchema,
    answers: { 200: { description: "A page of tasks.", schema: TaskPageSchema } },
    problems: [400, 401, 403, 429, 503],
    async handle({ request, caller }) {
      const page = await service.list(await withinReach(filterOf(read(request)), caller));
      return json(200, { tasks: page.tasks.map(taskJson), next_cursor: page.nextCursor });
    },
  };
}

/** The filter, narrowed to what the caller may see. */
async function withinReach(filter: TaskFilter, caller: Caller): Promise<TaskFilter> {
  if (caller.seesAll) return filter;
  const clientId = filter.clientId ?? caller.clientId;
  if (clientId === null) {
    throw new TaskRunnerError(
      "unauthorized",
      "Without a key only the tasks of a client that has none are listed: name it as client_id.",
    );
  }
  if (!(await caller.mayUse(clientId))) throw refusalOf(caller, clientId);
  return { ...filter, clientId };
}

function filterOf(query: Static<typeof ListQuerySchema>): TaskFilter {
  const problems: FieldProblem[] = [];
  const fromMs = instantOf("from", query.from, problems);
  const toMs = instantOf("to", query.to, problems);
  if (problems.length > 0) throw invalid(problems);
  return {
    limit: query.limit ?? DEFAULT_PAGE,
    ...(query.queue !== undefined && { queue: query.queue }),
    ...(query.state !== undefined && { state: query.state }),
    ...(query.client_id !== undefined && { clientId: query.client_id }),
    ...(fromMs !== null && { fromMs }),
    ...(toMs !== null && { toMs }),
    ...(query.cursor !== undefined && { cursor: query.cursor }),
  };
}

function instantOf(path: string, text: string | undefined, problems: FieldProblem[]): number | null {
  if (text === undefined) return null;
  const atMs = parseInstantMs(/^\d{1,12}(?:\.\d{1,9})?$/.test(text) ? Number(text) : text);
  if (atMs === null) problems.push({ path, message: "must be RFC 3339 or seconds since 1970" });
  return atMs;
}
