/** The routes of one task: read, cancel, move, run now, start over. */

import { TaskRunnerError } from "../core/errors.ts";
import type { ChangeResult } from "../core/store.ts";
import { RescheduleRequestSchema } from "../service/enqueue-request.ts";
import { invalid } from "../service/new-task.ts";
import type { TaskService } from "../service/tasks.ts";
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
    changeRoute("/v1/tasks/:id/run", "Run a waiting task now", "run now", (id) => service.run(id)),
    changeRoute("/v1/tasks/:id/replay", "Start a finished task over", "replayed", (id) => service.replay(id)),
  ];
}

function readRoute(service: TaskService): Route {
  return {
    method: "GET",
    path: "/v1/tasks/:id",
    summary: "Read a task",
    admin: false,
    answers: { 200: { description: "The task.", schema: TaskSchema } },
    problems: [404, 503],
    async handle(call) {
      const task = await service.get(idOf(call));
      if (task === null) throw notFound();
      return json(200, taskJson(task));
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
      return changed(await service.cancel(idOf(call)), "cancelled");
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
      return changed(await service.reschedule(idOf(call), value), "moved");
    },
  };
}

/** A change that needs no body; one that is sent is not looked at. */
function changeRoute(
  path: string,
  summary: string,
  done: string,
  change: (id: string) => Promise<ChangeResult>,
): Route {
  return {
    method: "POST",
    path,
    summary,
    ...CHANGES,
    async handle(call) {
      return changed(await change(idOf(call)), done);
    },
  };
}

const CHANGES = {
  admin: true,
  answers: { 200: { description: "The task as it is now.", schema: TaskSchema } },
  problems: [401, 404, 409, 503],
};

function idOf({ params }: Call): string {
  return params.id ?? "";
}

function changed(result: ChangeResult, done: string): Answer {
  switch (result.kind) {
    case "changed":
      return json(200, taskJson(result.task));
    case "not_found":
      throw notFound();
    case "conflict":
      throw new TaskRunnerError("conflict", `A task that is ${result.state} cannot be ${done}.`);
  }
}

function notFound(): TaskRunnerError {
  return new TaskRunnerError(
    "task_not_found",
    "No task has this id; a finished one goes once its retention is over.",
  );
}
