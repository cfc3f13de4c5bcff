/** Settings: gathered from flags, environment and files, checked all at once, and frozen. The only reader of the environment. */

import { readFileSync } from "node:fs";
import process from "node:process";
import { parseEnv } from "node:util";
import { Value } from "@sinclair/typebox/value";
import {
  type ConfigProblem,
  type Env,
  type Given,
  parse,
  secretGiven,
  wrongValueLine,
} from "./config/given.ts";
import { judgeNames } from "./config/names.ts";
import { type OptionsAsked, type OptionsFound, readOptions } from "./config/plugin-options.ts";
import {
  type Config,
  ConfigSchema,
  type Role,
  roleOf,
  SETTING_NAMES,
  type Setting,
  type SettingName,
  settingOf,
} from "./config/schema.ts";
import { chosenStore, defaultsOf, judgeStore } from "./config/store-choice.ts";
import { type RedisGrammar, withoutLogin } from "./config/store-url.ts";

export { cidrsIn } from "./config/egress.ts";
export type { ConfigProblem, Env } from "./config/given.ts";
export { tracesUrlOf } from "./config/otlp-endpoint.ts";
export type { OptionInForce, OptionsAsked, OptionsFound } from "./config/plugin-options.ts";
export {
  type Config,
  pluginNamesIn,
  type Role,
  roleOf,
  SETTING_NAMES,
  type SettingName,
  settingOf,
} from "./config/schema.ts";
export { isEmbedded, type RedisGrammar, sqlitePathOf } from "./config/store-url.ts";

/** Settings from elsewhere than the environment. */
export interface Overrides {
  /** From the command line; above the environment. `flag` is what the user wrote, for the messages. */
  readonly flags?: { readonly [K in SettingName]?: { readonly flag: string; readonly text: string } };
  /** The content of --env-file; below the environment. */
  readonly envFile?: { readonly path: string; readonly env: Env };
}

/** Where each value came from: `default`, `environment`, `--env-file PATH`, a flag, or `file PATH`. */
export type Sources = Readonly<Record<SettingName, string>>;

export interface LoadedConfig {
  /** Complete even when there are problems: a wrong value is replaced by its default. */
  readonly config: Config;
  readonly sources: Sources;
  /** What forbids to start. A line for each wrong name; `name` is the one at fault. */
  readonly problems: readonly ConfigProblem[];
  /** What is worth a line at start; each begins with the name that it is about. */
  readonly warnings: readonly string[];
  /** The options of a plugin, read from the same places under its own prefix and nowhere else. */
  readonly optionsOf: (asked: OptionsAsked) => OptionsFound;
}

/** The environment of this process. */
export function processEnv(): Env {
  return process.env;
}

/** Reads a file of NAME=value lines. Throws an Error with one clear line when it cannot be read. */
export function readEnvFile(path: string): { readonly path: string; readonly env: Env } {
  return { path, env: parseEnv(readFileSync(path, "utf8")) };
}

/**
 * Gathers and checks every setting; `redis` tells which addresses the store on Redis takes. Never throws for what
 * a user wrote: that is told in `problems`.
 */
export function loadConfig(env: Env, redis: RedisGrammar, overrides: Overrides = {}): LoadedConfig {
  const problems: ConfigProblem[] = [];
  const values: Record<string, unknown> = {};
  const sources: Record<string, string> = {};
  for (const name of SETTING_NAMES) {
    const setting = settingOf(name);
    const given = setting.secret
      ? secretGiven(name, (wanted) => lookUp(wanted, env, overrides), problems)
      : openlyGiven(setting, env, overrides, problems);
    const value = given === null ? undefined : parse(setting.schema, setting.secret, given.text);
    if (given !== null && !isAllowed(setting, value, redis)) {
      const shown = setting.wrongIn?.(given.text) || showable(setting.name, given.text);
      problems.push({ name, line: wrongValueLine(setting, given, shown) });
      sources[name] = "default";
    } else {
      sources[name] = given?.source ?? "default";
      if (value !== undefined) values[name] = value;
    }
    if (!(name in values) && setting.schema.default !== undefined) values[name] = setting.schema.default;
  }
  values.PORT ??= values.MODE === "worker" ? 8082 : 8080;
  const set = new Set<SettingName>(SETTING_NAMES.filter((name) => sources[name] !== "default"));
  const { url, from } = chosenStore(values);
  values.STORE_URL = url;
  if (from !== null) sources.STORE_URL = from;
  const config = { ...defaultsOf(url, redis), ...values };
  if (!Value.Check(ConfigSchema, config)) throw new Error("the settings' defaults do not fit their schema");

  const names = judgeNames(setNames(env, overrides), (name) => lookUp(name, env, overrides)?.text ?? "");
  const misled = problems.some(({ name }) => CHOOSING.has(name));
  // What was given and is wrong is set all the same, and told of by its own line.
  const isSet = (name: SettingName) =>
    set.has(name) || problems.some((problem) => problem.name === name || problem.name === `${name}_FILE`);
  const store = misled ? NO_FINDINGS : judgeStore(config, isSet, redis);
  problems.push(...store.refused);
  return {
    config: Object.freeze(config),
    sources: Object.freeze(sources as Record<SettingName, string>),
    problems,
    warnings: [...store.warnings, ...names],
    optionsOf: (asked) =>
      readOptions(asked, setNames(env, overrides), (name) => lookUp(name, env, overrides)),
  };
}

/** A wrong one among these chooses no store, so what goes with which store cannot be told. */
const CHOOSING: ReadonlySet<string> = new Set(["STORE_URL", "REDIS_SENTINEL_ADDR", "REDIS_ADDR"]);
const NO_FINDINGS = { refused: [], warnings: [] };

/** A setting's value as it may be shown; null where it is unset. */
export function shownValue(config: Config, name: SettingName): string | number | boolean | null {
  const value = config[name];
  if (value === undefined) return null;
  if (settingOf(name).secret) return "(hidden)";
  return name === "STORE_URL" ? withoutLogin(String(value)) : value;
}

/** The role to run: null when neither a subcommand nor MODE names one. */
export function roleIn(config: Config): Role | null {
  return config.MODE === undefined ? null : roleOf(config.MODE);
}

function lookUp(name: string, env: Env, overrides: Overrides): Given | null {
  const flag = name in ConfigSchema.properties ? overrides.flags?.[name as SettingName] : undefined;
  if (flag !== undefined) return { text: flag.text, source: flag.flag };
  const fromEnv = env[name];
  if (fromEnv?.trim()) return { text: fromEnv, source: "environment" };
  const fromFile = overrides.envFile?.env[name];
  if (fromFile?.trim()) return { text: fromFile, source: `--env-file ${overrides.envFile?.path}` };
  return null;
}

/** What a setting's name, or the other name it goes by, was given. */
function openlyGiven(
  { name, alias }: Setting,
  env: Env,
  overrides: Overrides,
  problems: ConfigProblem[],
): Given | null {
  const direct = lookUp(name, env, overrides);
  const byAlias = alias === undefined ? null : lookUp(alias, env, overrides);
  if (byAlias === null) return direct;
  if (direct === null) return { text: byAlias.text, source: `${byAlias.source} (${alias})` };
  if (direct.text.trim() !== byAlias.text.trim()) {
    problems.push({ name, line: `${name} and ${alias} are both set: allowed is one of them` });
  }
  return direct;
}

function isAllowed(setting: Setting, value: unknown, redis: RedisGrammar): boolean {
  return Value.Check(setting.schema, value) && (typeof value !== "string" || setting.accepts(value, redis));
}

/** Of a wrong value that names a store only what cannot hold a password. */
function showable(name: SettingName, text: string): string {
  const mayHoldPassword =
    name === "STORE_URL"
      ? !text.startsWith("sqlite:") && /[:@]/.test(text)
      : CHOOSING.has(name) && /@/.test(text);
  if (!mayHoldPassword) return text;
  return `${/^[a-z0-9+.-]+:(?=\/\/)/i.exec(text)?.[0] ?? ""}…`;
}

function setNames(env: Env, overrides: Overrides): Set<string> {
  const names = new Set([...Object.keys(env), ...Object.keys(overrides.envFile?.env ?? {})]);
  for (const name of names) if (lookUp(name, env, overrides) === null) names.delete(name);
  return names;
}
