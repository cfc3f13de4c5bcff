/** `dead`: tasks that were given up: looking at them, starting them over, removing them. */

import { type Command, Option } from "commander";
import { TaskPageView, TaskView, taskPath } from "./api-client.ts";
import { type BulkOptions, purgeDead, replayDead } from "./dead-bulk.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { amount, wholeNumber } from "./input.ts";
import { attemptsInFull, show, TASK_COLUMNS, table, taskFacts, taskRow } from "./output.ts";
import { type PageOptions, pageQuery, tellMore, withPageOptions } from "./paging.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, needConsent, withApiOptions, withConsent } from "./server-options.ts";

interface ListOptions extends ApiOptions, PageOptions {
  readonly queue?: string;
  readonly client?: string;
  readonly from?: string;
  readonly to?: string;
}

export function addDeadCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const dead = program
    .command("dead")
    .description("look at tasks that were given up, start them over, or remove them")
    .addHelpText(
      "after",
      `
Examples:
  task-runner dead list --queue mail
  task-runner dead get 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner dead replay --queue mail --rate 5`,
    );
  withPageOptions(withFilter(withApiOptions(dead.command("list"))))
    .description("list dead tasks, newest first")
    .addHelpText("after", "\nExamples:\n  task-runner dead list --queue mail\n  task-runner dead list --json")
    .action(async (options: ListOptions) => {
      const query = pageQuery(options);
      query.set("state", "dead");
      const filters = { queue: options.queue, client_id: options.client, from: options.from, to: options.to };
      for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, value);
      const page = await adminApi(host, options).ask("GET", `/v1/tasks?${query}`, TaskPageView);
      show(host, options, page, ({ tasks }) =>
        table(
          host,
          TASK_COLUMNS,
          tasks.map((task) => taskRow(host, task)),
        ),
      );
      if (!options.json) tellMore(host, page.next_cursor);
      ended(EXIT.ok);
    });
  withApiOptions(dead.command("get"))
    .description("show one dead task with every attempt that was kept, in full")
    .argument("<id>", "the task")
    .addHelpText("after", "\nExamples:\n  task-runner dead get 01JD2Q6X3R9V8K7M5N4P3Q2R1S")
    .action(async (id: string, options: ApiOptions) => {
      const task = await adminApi(host, options).ask("GET", taskPath(id), TaskView);
      if (task.state !== "dead") {
        throw new CommandFailure(EXIT.failed, `error: task ${plain(id)} is ${plain(task.state)}, not dead`);
      }
      show(host, options, task, () => taskFacts(host, task) + attemptsInFull(host, task));
      ended(EXIT.ok);
    });
  addReplay(dead, host, ended);
  addPurge(dead, host, ended);
}

function addReplay(dead: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withBulkOptions(withApiOptions(dead.command("replay")))
    .description("start dead tasks over, with no attempts charged")
    .addOption(
      new Option("--rate <n>", "let this many begin a second, instead of all at once").argParser(amount),
    )
    .addHelpText(
      "after",
      `
Without ids and filters it is every dead task of every queue.

Examples:
  task-runner dead replay 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner dead replay --queue mail --rate 5
  task-runner dead replay --client shop --from 2030-01-31T00:00:00Z --limit 100`,
    )
    .action(async (ids: string[], options: BulkOptions) => {
      const answer = await replayDead(host, adminApi(host, options), ids, options);
      show(host, options, answer, ({ replayed }) => `replayed ${replayed}\n`);
      ended(EXIT.ok);
    });
}

function addPurge(dead: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withConsent(withBulkOptions(withApiOptions(dead.command("purge"))))
    .description("remove dead tasks before their retention is over")
    .addHelpText(
      "after",
      `
Without ids and filters it is every dead task of every queue.

Examples:
  task-runner dead purge 01JD2Q6X3R9V8K7M5N4P3Q2R1S --yes
  task-runner dead purge --queue mail --to 2030-01-31T00:00:00Z --yes`,
    )
    .action(async (ids: string[], options: BulkOptions & { yes?: boolean }) => {
      needConsent(
        options,
        ids.length === 0 ? "the dead tasks that fit, with their attempts" : ids.join(", "),
      );
      const answer = await purgeDead(host, adminApi(host, options), ids, options);
      show(host, options, answer, ({ removed }) => `removed ${removed}\n`);
      ended(EXIT.ok);
    });
}

function withFilter(command: Command): Command {
  return command
    .option("--queue <queue>", "only of this queue")
    .option("--client <id>", "only of this client")
    .option("--from <time>", "only accepted at or after this time")
    .option("--to <time>", "only accepted before this time");
}

function withBulkOptions(command: Command): Command {
  return withFilter(command)
    .argument("[ids...]", "only these tasks")
    .addOption(new Option("--limit <n>", "stop after this many").argParser(wholeNumber(1, 1_000_000_000)));
}
