/** GET /admin/stats: what the whole installation is doing now. */

import { type Stats, StatsSchema } from "../service/stats.ts";
import { ADMIN_PROBLEMS } from "./admin-request.ts";
import { json, type Route } from "./route.ts";

export function statsRoute(stats: Stats): Route {
  return {
    method: "GET",
    path: "/admin/stats",
    summary: "Tell what the whole installation is doing now: tasks, hosts that are held back, workers",
    access: "admin",
    answers: { 200: { description: "As it is now.", schema: StatsSchema } },
    problems: ADMIN_PROBLEMS,
    async handle() {
      return json(200, await stats.read());
    },
  };
}
