/** The routes of one task: read, cancel, move, run now, start over. */

import { TaskRunnerError } from "../core/errors.ts";
import type { ChangeResult } from "../core/store.ts";
import type { Task } from "../core/task.ts";
import { RescheduleRequestSchema } from "../service/enqueue-request.ts";
import { invalid } from "../service/new-task.ts";
import type { TaskService } from "../service/tasks.ts";
import type { Caller } from "./identity.ts";
import { JSON_TYPE, mediaTypeOf, parseJson, readText } from "./json-body.ts";
import { type Answer, type Call, json, type Route } from "./route.ts";
import { TaskSchema, taskJson } from "./task-json.ts";
import { compile } from "./validate.ts";

const MAX_CHANGE_BYTES = 64 * 1024;

export function taskRoutes(service: TaskService): readonly Route[] {
  return [
    readRoute(service),
    cancelRoute(service),
    rescheduleRoute(service),
    changeRoute(service, "run", "Run a waiting task now", "run now"),
    changeRoute(service, "replay", "Start a finished task over", "replayed"),
  ];
}

function readRoute(service: TaskService): Route {
  return {
    method: "GET",
    path: "/v1/tasks/:id",
    summary: "Read a task",
    access: "task",
    answers: { 200: { description: "The task.", schema: TaskSchema } },
    problems: [401, 404, 429, 503],
    async handle(call) {
      return json(200, taskJson(await ownTask(service, call)));
    },
  };
}

function cancelRoute(service: TaskService): Route {
  return {
    method: "DELETE",
    path: "/v1/tasks/:id",
    summary: "Cancel a task: a waiting one at once, a running one by breaking off its call",
    ...CHANGES,
    async handle(call) {
      await assertOwn(service, call);
      return changed(call, await service.cancel(idOf(call)), "cancelled");
    },
  };
}

function rescheduleRoute(service: TaskService): Route {
  const validator = compile(RescheduleRequestSchema);
  return {
    method: "PATCH",
    path: "/v1/tasks/:id",
    summary: "Move a waiting task to another time or priority",
    ...CHANGES,
    body: [{ type: JSON_TYPE, schema: RescheduleRequestSchema }],
    problems: [400, 413, 415, ...CHANGES.problems],
    async handle(call) {
      mediaTypeOf(call.request, [JSON_TYPE]);
      const value = parseJson(await readText(call.request, MAX_CHANGE_BYTES));
      if (!validator.fits(value)) throw invalid(validator.problems(value));
      await assertOwn(service, call);
      return changed(call, await service.reschedule(idOf(call), value), "moved");
    },
  };
}

/** A change that needs no body; one that is sent is not looked at. */
function changeRoute(service: TaskService, change: "run" | "replay", summary: string, done: string): Route {
  return {
    method: "POST",
    path: `/v1/tasks/:id/${change}`,
    summary,
    ...CHANGES,
    async handle(call) {
      await assertOwn(service, call);
      return changed(call, await service[change](idOf(call)), done);
    },
  };
}

const CHANGES = {
  access: "tasks",
  answers: { 200: { description: "The task as it is now.", schema: TaskSchema } },
  problems: [401, 404, 409, 429, 503],
} as const;

/**
 * The task that a path names, if the caller may see it. Rejects with `task_not_found` otherwise, in the very same words
 * whether there is none or it is another client's.
 */
export async function ownTask(service: Pick<TaskService, "get">, call: Call): Promise<Task> {
  const { caller } = call;
  const task = await service.get(idOf(call));
  if (task !== null && (caller.seesAll || (await caller.mayUse(task.clientId)))) return task;
  throw notFound(caller);
}

/** Before a change: a task never gets another client, so that one look is enough. */
async function assertOwn(service: TaskService, call: Call): Promise<void> {
  if (!call.caller.seesAll) await ownTask(service, call);
}

function idOf({ params }: Call): string {
  return params.id ?? "";
}

function changed({ caller }: Call, result: ChangeResult, done: string): Answer {
  switch (result.kind) {
    case "changed":
      return json(200, taskJson(result.task));
    case "not_found":
      throw notFound(caller);
    case "conflict":
      throw new TaskRunnerError("conflict", `A task that is ${result.state} cannot be ${done}.`);
  }
}

function notFound({ seesAll, clientId }: Pick<Caller, "seesAll" | "clientId">): TaskRunnerError {
  const whose = clientId === null ? "No task" : `No task of client "${clientId}"`;
  const hint =
    seesAll || clientId !== null ? "" : ", and a client that has keys reaches its tasks with one of them";
  return new TaskRunnerError(
    "task_not_found",
    `${whose} has this id; a finished one goes once its retention is over${hint}.`,
  );
}
