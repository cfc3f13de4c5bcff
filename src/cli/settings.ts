/** Options that stand for settings, and what is said when settings are wrong. */

import { type Command, Option } from "commander";
import { type LoadedConfig, type Overrides, type Role, readEnvFile, type SettingName } from "../config.ts";
import { messageOf } from "../core/errors.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";

/** The values of MODE by role. */
const MODE_OF = { serve: "api", work: "worker", all: "all" } as const satisfies Record<Role, string>;

export interface SettingOptions {
  readonly port?: string;
  readonly host?: string;
  readonly store?: string;
  readonly plugin?: string;
  readonly envFile?: string;
}

const FLAGS = { port: "PORT", host: "HOST", store: "STORE_URL", plugin: "PLUGINS" } as const satisfies Record<
  string,
  SettingName
>;

/** Adds the options that go above the environment. */
export function withSettingOptions(command: Command): Command {
  return command
    .addOption(new Option("--port <n>", "port to listen on (PORT)"))
    .addOption(new Option("--host <address>", "address to listen on (HOST)"))
    .addOption(
      new Option(
        "--store <url>",
        "where tasks are kept: sqlite:PATH, sqlite::memory: or redis://host:port/db (STORE_URL)",
      ),
    )
    .addOption(
      new Option(
        "--plugin <path>",
        "load a plugin: a file or a package; may be repeated (PLUGINS)",
      ).argParser((path, before: string | undefined) => (before === undefined ? path : `${before},${path}`)),
    )
    .addOption(envFileOption());
}

export function envFileOption(): Option {
  return new Option("--env-file <file>", "read NAME=value lines; the real environment comes before them");
}

/** Loads the settings under the options given; ends the command when the --env-file cannot be read. */
export function loadSettings(host: CliHost, options: SettingOptions, role?: Role): LoadedConfig {
  const flags: Record<string, { flag: string; text: string }> = {};
  if (role !== undefined) flags.MODE = { flag: `subcommand ${role}`, text: MODE_OF[role] };
  for (const [option, name] of Object.entries(FLAGS)) {
    const text = options[option as keyof typeof FLAGS];
    if (text !== undefined) flags[name] = { flag: `--${option}`, text };
  }
  return host.loadConfig({ flags, ...envFileOf(options) });
}

function envFileOf({ envFile }: SettingOptions): Pick<Overrides, "envFile"> {
  if (envFile === undefined) return {};
  try {
    return { envFile: readEnvFile(envFile) };
  } catch (error) {
    throw new CommandFailure(EXIT.usage, `error: --env-file cannot be read: ${messageOf(error)}`);
  }
}

/**
 * Ends the command with exit status 2 and a line for each problem. With `only`, the problems of other
 * settings are left to whom they concern.
 */
export function refuseProblems({ problems }: LoadedConfig, only?: readonly string[]): void {
  const lines = problems
    .filter(({ name }) => only === undefined || only.includes(name))
    .map(({ line }) => line);
  if (lines.length > 0)
    throw new CommandFailure(EXIT.usage, lines.map((line) => `error: ${line}`).join("\n"));
}

/** The admin key of --admin-key, or of the environment; undefined where there is none. */
export function adminKeyOf(host: CliHost, flag: string | undefined): string | undefined {
  if (flag !== undefined) return flag;
  const loaded = host.loadConfig();
  refuseProblems(loaded, ["ADMIN_API_KEY", "ADMIN_API_KEY_FILE"]);
  return loaded.config.ADMIN_API_KEY;
}
