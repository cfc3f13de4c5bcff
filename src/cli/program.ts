/** The command line: every command in one tree, and one rule for exit statuses. */

import { Command, CommanderError } from "commander";
import { COMMIT, VERSION } from "../version.ts";
import { addAuditCommand } from "./audit.ts";
import { addClientsCommand } from "./clients.ts";
import { addDeadCommand } from "./dead.ts";
import { addEnqueueCommand } from "./enqueue.ts";
import { addFsckCommand } from "./fsck.ts";
import { addHealthcheckCommand } from "./healthcheck.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { printJson } from "./output.ts";
import { addQueuesCommand } from "./queues.ts";
import { addRoleCommands, DEFAULT_COMMAND } from "./roles.ts";
import { addConfigCommand } from "./show-config.ts";
import { addStatsCommand } from "./stats.ts";
import { addTasksCommand } from "./tasks.ts";
import { addTiersCommand } from "./tiers.ts";

/** Runs the command in `args` (without the program's own name) and resolves to the exit status. */
export async function runCli(args: readonly string[], host: CliHost): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = buildProgram(host, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(withDefaultCommand(args), { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommandFailure) {
      host.stderr.write(`${error.message}\n`);
      return error.exitCode;
    }
    // Commander has written its own message; help that was asked for is the only good end among these.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    throw error;
  }
}

/** Without a subcommand, MODE decides: `task-runner --port 9000` is `task-runner start --port 9000`. */
function withDefaultCommand(args: readonly string[]): string[] {
  const first = args[0];
  const names =
    first !== undefined && (!first.startsWith("-") || ["-h", "--help", "-V", "--version"].includes(first));
  return names ? [...args] : [DEFAULT_COMMAND, ...args];
}

function buildProgram(host: CliHost, ended: (exitCode: number) => void): Command {
  const program = new Command("task-runner")
    .description(
      "A self-hosted HTTP task queue: hand in a URL to call, and it is called when due, until it succeeds.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .showHelpAfterError("(--help tells what is allowed)")
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
    })
    .exitOverride()
    .addHelpText(
      "after",
      `
Without a command, MODE decides what runs: api is serve, worker is work, all is all.
The exit status is 0 when all went well, 1 when it failed, 2 when it was called wrongly.

Examples:
  task-runner all                                       accept and deliver tasks on this machine
  task-runner enqueue https://example.com/hook --wait   hand in a task and wait for its end
  task-runner tasks explain TASK_ID                     why a task does not run
  task-runner dead list                                 what could not be delivered
  task-runner clients set shop --tier premium           let a client do more`,
    );
  addRoleCommands(program, host, ended);
  addConfigCommand(program, host, ended);
  addHealthcheckCommand(program, host, ended);
  addEnqueueCommand(program, host, ended);
  addTasksCommand(program, host, ended);
  addDeadCommand(program, host, ended);
  addQueuesCommand(program, host, ended);
  addClientsCommand(program, host, ended);
  addTiersCommand(program, host, ended);
  addAuditCommand(program, host, ended);
  addStatsCommand(program, host, ended);
  addFsckCommand(program, host, ended);
  program
    .command("version")
    .description("print the version, the commit of a compiled program, and the runtime")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  task-runner version\n  task-runner version --json")
    .action((options: { json?: boolean }) => {
      const { runtime } = host;
      const commit = COMMIT === null ? {} : { commit: COMMIT };
      if (options.json) printJson(host, { version: VERSION, ...commit, runtime });
      else
        host.stdout.write(
          `task-runner ${VERSION} (${COMMIT === null ? "" : `commit ${COMMIT}, `}${runtime})\n`,
        );
    });
  return program;
}
