/** The commands that run a role: serve, work, all, and the one that MODE chooses when none is given. */

import type { Command } from "commander";
import { type Role, roleIn } from "../config.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { loadSettings, refuseProblems, type SettingOptions, withSettingOptions } from "./settings.ts";

/** The command that runs when there is no subcommand; not shown, for its only use is to read MODE. */
export const DEFAULT_COMMAND = "start";

interface RoleHelp {
  readonly summary: string;
  readonly examples: string;
}

const HELP: Readonly<Record<Role, RoleHelp>> = {
  serve: {
    summary: "accept tasks over HTTP and keep them",
    examples: `
Examples:
  task-runner serve                                    the API on port 8080, tasks in ./data/task-runner.db
  task-runner serve --store sqlite:/var/lib/tasks.db   tasks in a file of your choosing
  REDIS_ADDR=10.0.0.7:6379 task-runner serve           tasks in a Redis, for as many machines as you like
  ADMIN_API_KEY_FILE=/run/secrets/admin task-runner serve`,
  },
  work: {
    summary: "deliver tasks when they are due",
    examples: `
Examples:
  task-runner work                                     port 8082 answers health checks
  WORKER_CONCURRENCY=50 task-runner work --store sqlite:/var/lib/tasks.db
  REDIS_SENTINEL_ADDR=s1:26379,s2:26379 REDIS_PASSWORD_FILE=/run/secrets/redis task-runner work`,
  },
  all: {
    summary: "accept and deliver in one process",
    examples: `
Examples:
  task-runner all                                      everything on one machine, nothing to install
  task-runner all --port 9000 --store sqlite::memory:  to try it out: tasks are lost at the end
  task-runner all --env-file prod.env`,
  },
};

const SIGNALS_HELP = `
Settings come from the environment too: "task-runner config" shows them all.
SIGTERM or SIGINT ends gently, within SHUTDOWN_GRACE_SEC; a second one ends at once.`;

/** Adds the commands; each hands the exit status to `ended`. */
export function addRoleCommands(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  for (const role of ["serve", "work", "all"] as const) {
    const { summary, examples } = HELP[role];
    withSettingOptions(program.command(role).description(summary))
      .addHelpText("after", `${SIGNALS_HELP}\n${examples}`)
      .action(async (options: SettingOptions) => ended(await runRole(host, options, role)));
  }
  withSettingOptions(
    program.command(DEFAULT_COMMAND, { hidden: true }).description("run the role that MODE names"),
  ).action(async (options: SettingOptions) => {
    if (loadSettings(host, options).config.MODE === undefined) refuseWithoutRole(program, host, options);
    ended(await runRole(host, options));
  });
}

function refuseWithoutRole(program: Command, host: CliHost, options: SettingOptions): never {
  refuseProblems(loadSettings(host, options), ["MODE"]);
  program.outputHelp({ error: true });
  throw new CommandFailure(EXIT.usage, "\nerror: neither a command nor MODE says what to run");
}

async function runRole(host: CliHost, options: SettingOptions, named?: Role): Promise<number> {
  const loaded = loadSettings(host, options, named);
  refuseProblems(loaded);
  const role = named ?? roleIn(loaded.config);
  if (role === null) throw new Error("a role was checked to be there");
  return host.run(role, loaded);
}
