/** What a name was given, by whom, and the value that its text stands for: alike for settings and for plugins' options. */

import { readFileSync } from "node:fs";
import type { TSchema } from "@sinclair/typebox";
import { messageOf } from "../core/errors.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** A text and where it came from. */
export interface Given {
  readonly text: string;
  readonly source: string;
}

export interface ConfigProblem {
  readonly name: string;
  /** One line: the value (never a secret's), what is allowed, the default. */
  readonly line: string;
}

/** Finds what a name was given; null where it is unset, or set to nothing. */
export type LookUp = (name: string) => Given | null;

/** What a secret was given, by its own name or in the file that NAME_FILE names. */
export function secretGiven(name: string, lookUp: LookUp, problems: ConfigProblem[]): Given | null {
  const direct = lookUp(name);
  const file = lookUp(`${name}_FILE`);
  if (file === null) return direct;
  if (direct !== null) {
    problems.push({ name, line: `${name} and ${name}_FILE are both set: allowed is one of them` });
    return null;
  }
  try {
    return { text: readFileSync(file.text, "utf8").replace(/\r?\n$/, ""), source: `file ${file.text}` };
  } catch (error) {
    problems.push({
      name: `${name}_FILE`,
      line: `${name}_FILE names a file that cannot be read: ${messageOf(error)}`,
    });
    return null;
  }
}

/** The value a text stands for; the text itself where it does not have the form, for the check to refuse. */
export function parse(schema: TSchema, secret: boolean, text: string): unknown {
  const word = text.trim().toLowerCase();
  if (schema.type === "integer") return /^-?\d+$/.test(word) ? Number(word) : text;
  if (schema.type === "number") return /^-?\d+(?:\.\d+)?$/.test(word) ? Number(word) : text;
  if (schema.type === "boolean") {
    if (word === "true" || word === "1") return true;
    return word === "false" || word === "0" ? false : text;
  }
  const choices = choicesOf(schema);
  if (choices.length > 0) return choices.find((choice) => choice.toLowerCase() === word) ?? text;
  return secret ? text : text.trim();
}

/** The values a choice offers; empty where the schema is no choice. */
export function choicesOf(schema: TSchema): readonly string[] {
  const options: readonly TSchema[] = schema.anyOf ?? [];
  return options.map((option) => String(option.const));
}

/** What a schema allows, in words. */
export function allowedBy(schema: TSchema): string {
  if (schema.type === "integer" || schema.type === "number") {
    const kind = schema.type === "integer" ? "a whole number" : "a number";
    const { minimum, maximum } = schema;
    if (minimum === undefined) return maximum === undefined ? kind : `${kind} of at most ${maximum}`;
    return maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
      ? `${kind} of at least ${minimum}`
      : `${kind} from ${minimum} to ${maximum}`;
  }
  if (schema.type === "boolean") return "true or false";
  const choices = choicesOf(schema);
  if (choices.length > 0) return `one of ${choices.join(", ")}`;
  return schema.pattern === undefined ? "any text" : `text that matches ${schema.pattern}`;
}

/** What a message says of a setting or an option. */
export interface Described {
  readonly name: string;
  readonly secret: boolean;
  readonly allowed: string;
  readonly defaultText: string;
}

/** The line of a wrong value; `shown` is as much of its text as may be shown. */
export function wrongValueLine(
  { name, secret, allowed, defaultText }: Described,
  { source }: Given,
  shown: string,
): string {
  const value = secret ? " (value hidden)" : `=${JSON.stringify(cut(shown))}`;
  const from = source === "environment" ? "" : ` from ${source}`;
  return `${name}${value}${from} is not allowed: ${allowed}; default ${defaultText}`;
}

const LONGEST_SHOWN = 100;

function cut(text: string): string {
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
}
