/** GET /v1/tasks/{id}/explain: why a task does not run, and when it is likely to. */

import type { Explainer } from "../service/explain.ts";
import { ExplanationSchema } from "../service/explanation.ts";
import { json, type Route } from "./route.ts";
import { ownTask } from "./tasks.ts";

export function explainRoute(explainer: Explainer): Route {
  return {
    method: "GET",
    path: "/v1/tasks/:id/explain",
    summary: "Explain why a task does not run, and when it is likely to",
    access: "task",
    answers: { 200: { description: "All that holds it back.", schema: ExplanationSchema } },
    problems: [401, 404, 429, 503],
    async handle(call) {
      return json(200, await explainer.explain(await ownTask(explainer, call)));
    },
  };
}
