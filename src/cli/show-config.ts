/** `config`: the values in force and where each came from, secrets masked. */

import { Argument, type Command } from "commander";
import { type LoadedConfig, type Role, SETTING_NAMES, settingOf, shownValue } from "../config.ts";
import { messageOf, TaskRunnerError } from "../core/errors.ts";
import { type CliHost, EXIT } from "./host.ts";
import { printJson, styled, table } from "./output.ts";
import { plain } from "./plain.ts";
import { loadSettings, type SettingOptions, withSettingOptions } from "./settings.ts";

export function addConfigCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withSettingOptions(program.command("config"))
    .description("show the settings in force and where each came from, secrets masked")
    .addArgument(roleArgument())
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
The exit status is 2 when a setting is wrong, and every wrong one is told.

Examples:
  task-runner config                          as the environment sets it
  task-runner config work --env-file prod.env what a worker would run with
  task-runner config --json | jq '.settings[] | select(.source != "default")'`,
    )
    .action(async (role: Role | undefined, options: SettingOptions & { json?: boolean }) => {
      ended(await showConfig(host, options, role));
    });
}

/** The role, where it decides a default: PORT's. */
export function roleArgument(): Argument {
  return new Argument("[role]", "the role it is for, when MODE does not say").choices([
    "serve",
    "work",
    "all",
  ]);
}

async function showConfig(
  host: CliHost,
  options: SettingOptions & { json?: boolean },
  role?: Role,
): Promise<number> {
  const loaded = loadSettings(host, options, role);
  const { config, sources } = loaded;
  const plugins = await pluginsOf(host, loaded);
  const problems = [...loaded.problems.map(({ line }) => line), ...plugins.problems];
  const { warnings } = plugins;
  const own = SETTING_NAMES.map((name) => {
    const { unit, defaultText, description } = settingOf(name);
    return {
      name,
      value: shownValue(config, name),
      source: sources[name],
      unit: unit ?? null,
      default: defaultText,
      description,
    };
  });
  const optional = plugins.options.map(({ name, value, source, secret, unit, defaultText, description }) => {
    const shown = value === undefined ? null : secret ? "(hidden)" : (value as string | number | boolean);
    return { name, value: shown, source, unit, default: defaultText, description };
  });
  const settings = [...own, ...optional];
  if (options.json) {
    printJson(host, { settings, warnings, problems });
  } else {
    const rows = settings.map(({ name, value, source, unit }) => [
      name,
      plain(value === null ? "-" : `${value}${unit === null ? "" : ` ${unit}`}`),
      source === "default" ? styled(host, host.stdout, "dim", source) : plain(source),
    ]);
    host.stdout.write(table(host, ["SETTING", "VALUE", "FROM"], rows));
    for (const warning of warnings)
      host.stderr.write(`${styled(host, host.stderr, "yellow", "warning:")} ${warning}\n`);
    for (const line of problems) host.stderr.write(`${styled(host, host.stderr, "red", "error:")} ${line}\n`);
  }
  return problems.length === 0 ? EXIT.ok : EXIT.usage;
}

/** The plugins' part of the settings; one that cannot be loaded is a wrong setting like others. */
async function pluginsOf(host: CliHost, loaded: LoadedConfig): ReturnType<CliHost["readyPlugins"]> {
  try {
    return await host.readyPlugins(loaded);
  } catch (error) {
    if (!(error instanceof TaskRunnerError)) throw error;
    return { options: [], problems: [messageOf(error)], warnings: loaded.warnings };
  }
}
