/** Checks a value against a schema and says of every failing field, in words for a person, what it may be. */

import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import type { FieldProblem } from "../core/errors.ts";
import { withCountedTexts } from "./counted-text.ts";

/** More failing fields than this are not looked for. */
const MAX_PROBLEMS = 100;

/** A compiled schema. */
export interface Validator<T> {
  /** Whether the value fits; cheap. */
  fits(value: unknown): value is T;
  /** Every failing field, each once; `prefix` goes before its path, e.g. `tasks[3]`. */
  problems(value: unknown, prefix?: string): readonly FieldProblem[];
}

export function compile<S extends TSchema>(schema: S): Validator<Static<S>> {
  const checked = TypeCompiler.Compile(withCountedTexts(schema));
  return {
    fits: (value): value is Static<S> => checked.Check(value),
    problems: (value, prefix = "") => collect(checked.Errors(value), prefix),
  };
}

/** The first error of each path: a schema's later words on the same field add nothing for its reader. */
function collect(errors: Iterable<ValueError>, prefix: string): readonly FieldProblem[] {
  const found = new Map<string, FieldProblem>();
  for (const error of errors) {
    const path = dotted(error.path, prefix);
    if (found.has(path)) continue;
    found.set(path, { path, message: describe(error) });
    if (found.size === MAX_PROBLEMS) break;
  }
  return [...found.values()];
}

function describe({ type, schema }: ValueError): string {
  const allowed = typeof schema["x-allowed"] === "string" ? schema["x-allowed"] : "another value";
  if (type === ValueErrorType.ObjectRequiredProperty) return `is required: ${allowed}`;
  if (type === ValueErrorType.ObjectAdditionalProperties) return unknownField(schema);
  return `must be ${allowed}`;
}

/** The schema of an unknown field's error is that of the object it stood in. */
function unknownField(schema: TSchema): string {
  return `is not a known field here; known are ${Object.keys(schema.properties ?? {}).join(", ")}`;
}

/** A JSON pointer as a dotted path; the whole value is `body`. */
function dotted(pointer: string, prefix: string): string {
  let path = prefix;
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path = path === "" ? name : `${path}.${name}`;
  }
  return path === "" ? "body" : path;
}
