/** Describes in the OpenAPI document the problems that routes answer with: each status once, with its codes. */

import { codesOf, ProblemSchema } from "./problem.ts";
import { RATE_HEADERS } from "./rate-headers.ts";
import type { Route } from "./route.ts";

export const REQUEST_ID_HEADER = {
  "X-Request-Id": { description: "The caller's own, or one made here.", schema: { type: "string" } },
};

const RETRY_AFTER = { "Retry-After": "Seconds after which to try again." };
/** What problems of a status carry beside the problem. */
const PROBLEM_HEADERS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  401: { "WWW-Authenticate": "What a key may be sent as." },
  429: { ...RETRY_AFTER, ...RATE_HEADERS },
  503: RETRY_AFTER,
};

const CONTENT = { "application/problem+json": { schema: ProblemSchema } };

/** What the document keeps in one place: the answers that {@link problemsOf} refers to. */
export function problemAnswers(routes: readonly Route[]) {
  const statuses = [...new Set(routes.flatMap(({ problems }) => problems))].sort((a, b) => a - b);
  const told = statuses.map((status) => [
    nameOf(status),
    {
      description: `A problem: ${codesOf(status).join(", ")}.`,
      headers: { ...REQUEST_ID_HEADER, ...headersOf(PROBLEM_HEADERS[status] ?? {}) },
      content: CONTENT,
    },
  ]);
  const other = {
    description: `Any other problem, such as ${codesOf(500).join(", ")}.`,
    headers: REQUEST_ID_HEADER,
    content: CONTENT,
  };
  return { ...Object.fromEntries(told), Problem: other };
}

/** The problems of one route, by status; `default` for what any of them may come to. */
export function problemsOf({ problems }: Pick<Route, "problems">) {
  const refer = (name: string) => ({ $ref: `#/components/responses/${name}` });
  const told = problems.map((status) => [String(status), refer(nameOf(status))]);
  return { ...Object.fromEntries(told), default: refer("Problem") };
}

/** Headers by name with their meaning, as the document has them. */
export function headersOf(meanings: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(meanings).map(([name, description]) => [
      name,
      { description, schema: { type: "string" } },
    ]),
  );
}

function nameOf(status: number): string {
  return `Problem${status}`;
}
