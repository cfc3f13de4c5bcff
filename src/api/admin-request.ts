/** How routes read what they are sent: a body or a query, held against its schema, every fault told. */

import { type Static, type TObject, type TSchema, Type } from "@sinclair/typebox";
import type { FieldProblem } from "../core/errors.ts";
import { MAX_PAGE } from "../core/store.ts";
import { invalid } from "../service/new-task.ts";
import { JSON_TYPE, mediaTypeOf, parseJson, readText } from "./json-body.ts";
import { requestTarget } from "./request-target.ts";
import { compile, type Validator } from "./validate.ts";

/** Settings with every list and header at its longest are shorter. */
const MAX_ADMIN_BYTES = 256 * 1024;
/** Of a page whose size nobody says. */
export const DEFAULT_PAGE = 50;

/** Statuses of the problems that every admin route may answer with. */
export const ADMIN_PROBLEMS = [401, 429, 503] as const;
/** And of those that read a body. */
export const CHANGE_PROBLEMS = [400, ...ADMIN_PROBLEMS, 413, 415] as const;

export const PageQuerySchema = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_PAGE,
        default: DEFAULT_PAGE,
        "x-allowed": `a whole number from 1 to ${MAX_PAGE}`,
      }),
    ),
    cursor: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 512,
        description: "next_cursor of the page before.",
        "x-allowed": "the next_cursor of the page before",
      }),
    ),
  },
  { additionalProperties: false },
);

export const NextCursorSchema = Type.Union([Type.String(), Type.Null()], {
  description: "To go on with; null when nothing follows.",
});

/** Makes a reader of JSON bodies of at most `maxBytes`. It rejects with `validation_failed` and what {@link readText} and parsing do. */
export function bodyReader<S extends TObject>(
  schema: S,
  maxBytes: number = MAX_ADMIN_BYTES,
): (request: Request) => Promise<Static<S>> {
  const validator = compile(schema);
  const inner = innerValidators(schema);
  return async (request) => {
    mediaTypeOf(request, [JSON_TYPE]);
    const value = parseJson(await readText(request, maxBytes));
    if (!validator.fits(value)) throw invalid(problemsOf(value, validator, inner));
    return value;
  };
}

/** Makes a reader of queries. It throws `validation_failed`, also for a parameter that is given twice. */
export function queryReader<S extends TSchema>(schema: S): (request: Request) => Static<S> {
  const validator = compile(schema);
  return (request) => {
    const query: Record<string, unknown> = Object.create(null);
    for (const [name, value] of new URLSearchParams(requestTarget(request).query)) {
      if (name in query) throw invalid([{ path: name, message: "must be given once" }]);
      query[name] = name === "limit" && /^\d{1,9}$/.test(value) ? Number(value) : value;
    }
    if (!validator.fits(query)) throw invalid(validator.problems(query));
    return query;
  };
}

const readPage = queryReader(PageQuerySchema);

/** The page that a query asks for. Throws `validation_failed`. */
export function pageOf(request: Request): { readonly limit: number; readonly cursor?: string } {
  const { limit = DEFAULT_PAGE, cursor } = readPage(request);
  return { limit, ...(cursor !== undefined && { cursor }) };
}

/**
 * Of a field that takes something or null, what it takes beside null: of a value that is neither, only this can tell
 * which part of it is wrong.
 */
function innerValidators(schema: TObject): ReadonlyMap<string, Validator<unknown>> {
  const inner = new Map<string, Validator<unknown>>();
  for (const [name, { anyOf }] of Object.entries(schema.properties)) {
    const [taken, other] = Array.isArray(anyOf) ? (anyOf as readonly TSchema[]) : [];
    if (taken !== undefined && other?.type === "null" && taken.type !== undefined) {
      inner.set(name, compile(taken));
    }
  }
  return inner;
}

function problemsOf(
  value: unknown,
  validator: Validator<unknown>,
  inner: ReadonlyMap<string, Validator<unknown>>,
): readonly FieldProblem[] {
  return validator.problems(value).flatMap((problem): readonly FieldProblem[] => {
    const field = inner.get(problem.path);
    const given = (value as Readonly<Record<string, unknown>> | null)?.[problem.path];
    // What is no list and no object is told at once what it may be, null included.
    if (field === undefined || typeof given !== "object" || given === null) return [problem];
    const parts = field.problems(given, problem.path);
    return parts.some(({ path }) => path !== problem.path) ? parts : [problem];
  });
}
