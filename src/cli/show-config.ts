/** `config`: the values in force and where each came from, secrets masked. */

import { Argument, type Command } from "commander";
import { type Role, SETTING_NAMES, settingOf, shownValue } from "../config.ts";
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
    .action((role: Role | undefined, options: SettingOptions & { json?: boolean }) => {
      ended(showConfig(host, options, role));
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

function showConfig(host: CliHost, options: SettingOptions & { json?: boolean }, role?: Role): number {
  const { config, sources, problems, warnings } = loadSettings(host, options, role);
  const settings = SETTING_NAMES.map((name) => {
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
  if (options.json) {
    printJson(host, { settings, warnings, problems: problems.map(({ line }) => line) });
  } else {
    const rows = settings.map(({ name, value, source, unit }) => [
      name,
      plain(value === null ? "-" : `${value}${unit === null ? "" : ` ${unit}`}`),
      source === "default" ? styled(host, host.stdout, "dim", source) : plain(source),
    ]);
    host.stdout.write(table(host, ["SETTING", "VALUE", "FROM"], rows));
    for (const warning of warnings)
      host.stderr.write(`${styled(host, host.stderr, "yellow", "warning:")} ${warning}\n`);
    for (const { line } of problems)
      host.stderr.write(`${styled(host, host.stderr, "red", "error:")} ${line}\n`);
  }
  return problems.length === 0 ? EXIT.ok : EXIT.usage;
}
