/** Reads a plugin's options: the same places, forms and messages as settings, under a prefix of the plugin's own. */

import { stripVTControlCharacters } from "node:util";
import { OptionalKind, type TObject, type TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { messageOf } from "../core/errors.ts";
import {
  allowedBy,
  type ConfigProblem,
  choicesOf,
  type Given,
  type LookUp,
  parse,
  secretGiven,
  wrongValueLine,
} from "./given.ts";
import { isOwnPrefix, slips } from "./names.ts";

/** What a plugin asks for. */
export interface OptionsAsked {
  /** For messages, e.g. `plugin "nats"`. */
  readonly owner: string;
  /** With its underscore, e.g. `NATS_`; every option's name begins with it. */
  readonly prefix: string;
  readonly schema: TObject;
}

/** One option as it is in force. */
export interface OptionInForce {
  readonly name: string;
  /** Undefined where it is unset. */
  readonly value: unknown;
  readonly source: string;
  readonly secret: boolean;
  readonly defaultText: string;
  readonly description: string;
  readonly unit: string | null;
}

export interface OptionsFound {
  /** The options in force; to be used only when there is no problem. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly options: readonly OptionInForce[];
  readonly problems: readonly ConfigProblem[];
  /** Each begins with the name that it is about. */
  readonly warnings: readonly string[];
}

/** An option's schema with what may be said beside its form, as of our own settings. */
interface OptionSchema extends TSchema {
  readonly secret?: boolean;
  readonly allowed?: string;
  readonly defaultText?: string;
  readonly unit?: string;
}

const PREFIX = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_$/;
const NAME = /^[A-Z0-9]+(?:_[A-Z0-9]+)*$/;
const FORMS = new Set(["string", "integer", "number", "boolean"]);
/** What Kubernetes says of a service that is named like the prefix; nobody wrote it for us. */
const OF_KUBERNETES = /_(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?)$/;
const MOST_SLIPS = 2;
const LONGEST_REASON = 300;
const LONGEST_QUOTED = 100;

/**
 * Reads the options that `asked` describes out of the names that are set. What its author did wrong is among the
 * problems, like what its user did.
 */
export function readOptions(asked: OptionsAsked, setNames: Iterable<string>, lookUp: LookUp): OptionsFound {
  const fault = faultOf(asked);
  if (fault !== null) {
    return { values: {}, options: [], problems: [{ name: asked.prefix, line: fault }], warnings: [] };
  }
  const problems: ConfigProblem[] = [];
  const values: Record<string, unknown> = {};
  const options = Object.entries(asked.schema.properties).map(([name, schema]: [string, OptionSchema]) => {
    const described = describe(name, schema);
    const given = described.secret ? secretGiven(name, lookUp, problems) : lookUp(name);
    const value = valueFrom(schema, described, given, problems);
    if (value !== undefined) values[name] = value;
    const source = given === null || value === undefined ? "default" : given.source;
    return { ...described, value, source };
  });
  return { values: Object.freeze(values), options, problems, warnings: strangers(asked, setNames) };
}

function valueFrom(
  schema: OptionSchema,
  described: ReturnType<typeof describe>,
  given: Given | null,
  problems: ConfigProblem[],
): unknown {
  const { name, secret, allowed } = described;
  if (given === null) {
    const isNeeded = schema.default === undefined && schema[OptionalKind] === undefined;
    // A file that cannot be read was told of already.
    if (isNeeded && !problems.some((problem) => problem.name.startsWith(name))) {
      problems.push({ name, line: `${name} is not set and has no default: allowed is ${allowed}` });
    }
    return schema.default;
  }
  const value = parse(schema, secret, given.text);
  if (Value.Check(schema, value)) return value;
  problems.push({ name, line: wrongValueLine(described, given, given.text) });
  return undefined;
}

function describe(name: string, schema: OptionSchema) {
  const fallback = schema[OptionalKind] === undefined ? "none: it must be set" : "none";
  return {
    name,
    secret: schema.secret === true,
    allowed: schema.allowed ?? allowedBy(schema),
    defaultText: schema.defaultText ?? (schema.default === undefined ? fallback : String(schema.default)),
    description: schema.description ?? "",
    unit: schema.unit ?? null,
  };
}

/** What the plugin's author did wrong, in one line; null when nothing. */
function faultOf({ owner, prefix, schema }: OptionsAsked): string | null {
  if (!PREFIX.test(prefix)) {
    return `${owner}: envPrefix ${quoted(prefix)} is not allowed: capitals, digits and underscores, one at its end, like "NATS_"`;
  }
  if (isOwnPrefix(prefix)) {
    return `${owner}: envPrefix "${prefix}" is not allowed: Task Runner has settings of its own that begin so`;
  }
  for (const [name, option] of Object.entries(schema.properties)) {
    if (!name.startsWith(prefix) || !NAME.test(name)) {
      return `${owner}: option ${quoted(name)} is not allowed: it must be named in capitals and begin with its envPrefix "${prefix}"`;
    }
    if (!FORMS.has(option.type) && choicesOf(option).length === 0) {
      return `${owner}: option ${name} is not allowed: it must be text, a number, a boolean or a choice of texts, as the environment can hold`;
    }
    const problem = checkFault(option);
    if (problem !== null) return `${owner}: option ${name} has a schema that does not work: ${problem}`;
  }
  return null;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, LONGEST_QUOTED));
}

/** Why a schema cannot be used, or refuses its own default. */
function checkFault(option: TSchema): string | null {
  try {
    const isFit = Value.Check(option, option.default ?? "");
    return isFit || option.default === undefined ? null : "it refuses its own default";
  } catch (error) {
    return stripVTControlCharacters(messageOf(error)).slice(0, LONGEST_REASON);
  }
}

/** A line for each name that is set under the prefix and stands for nothing. */
function strangers({ owner, prefix, schema }: OptionsAsked, setNames: Iterable<string>): string[] {
  const known = Object.entries(schema.properties).flatMap(([name, option]) =>
    option.secret === true ? [name, `${name}_FILE`] : [name],
  );
  const unknown = [...setNames].filter(
    (name) => name.startsWith(prefix) && !known.includes(name) && !OF_KUBERNETES.test(name),
  );
  return unknown.map((name) => {
    const meant = known.find((candidate) => slips(name, candidate) <= MOST_SLIPS);
    const hint = meant === undefined ? `its options are ${known.join(", ")}` : `did you mean ${meant}?`;
    return `${name} is not an option of ${owner} and has no effect: ${hint}`;
  });
}
