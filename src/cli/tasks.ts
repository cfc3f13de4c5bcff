/** `tasks`: looking at tasks and changing them. */

import { type Command, Option } from "commander";
import { MAX_PAGE } from "../core/store.ts";
import { TASK_STATES } from "../core/task.ts";
import { TaskPageView, TaskView, taskPath } from "./api-client.ts";
import { exitCodeOf } from "./enqueue.ts";
import { addExplainCommand } from "./explain.ts";
import { followTask } from "./follow.ts";
import { type CliHost, EXIT } from "./host.ts";
import { durationSec, wholeNumber } from "./input.ts";
import { printJson, styledState, TASK_COLUMNS, table, taskDetails, taskRow } from "./output.ts";
import { tellMore } from "./paging.ts";
import { plain } from "./plain.ts";
import { type ClientOptions, clientApi, withClientOptions } from "./server-options.ts";

interface ListOptions extends ClientOptions {
  readonly queue?: string;
  readonly state?: string;
  readonly client?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit: number;
  readonly cursor?: string;
}

/** Commands on one task that answer with the task as it then is. */
const CHANGES = [
  {
    name: "cancel",
    method: "DELETE",
    path: "",
    summary: "cancel a task; a running one is broken off",
    done: "cancelled",
  },
  { name: "run", method: "POST", path: "/run", summary: "make a waiting task due now", done: "due now" },
  {
    name: "replay",
    method: "POST",
    path: "/replay",
    summary: "start a finished task over",
    done: "to run again",
  },
] as const;

export function addTasksCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const tasks = program
    .command("tasks")
    .description("look at tasks and change them")
    .addHelpText(
      "after",
      `
Examples:
  task-runner tasks list --state dead
  task-runner tasks get 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner tasks explain 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner tasks replay 01JD2Q6X3R9V8K7M5N4P3Q2R1S`,
    );
  addList(tasks, host, ended);
  withClientOptions(tasks.command("get"))
    .description("show one task with its attempts")
    .argument("<id>", "the task")
    .addHelpText("after", examples("get"))
    .action(async (id: string, options: ClientOptions) => {
      const task = await clientApi(host, options).ask("GET", taskPath(id), TaskView);
      if (options.json) printJson(host, task);
      else host.stdout.write(taskDetails(host, task));
      ended(EXIT.ok);
    });
  for (const { name, method, path, summary, done } of CHANGES) {
    withClientOptions(tasks.command(name))
      .description(summary)
      .argument("<id>", "the task")
      .addHelpText("after", examples(name))
      .action(async (id: string, options: ClientOptions) => {
        const task = await clientApi(host, options).ask(method, taskPath(id) + path, TaskView);
        if (options.json) printJson(host, task);
        else
          host.stdout.write(
            `${plain(task.task_id)}  ${done}, ${styledState(host, host.stdout, task.state)}\n`,
          );
        ended(EXIT.ok);
      });
  }
  addWatch(tasks, host, ended);
  addExplainCommand(tasks, host, ended);
}

function addList(tasks: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withClientOptions(tasks.command("list"))
    .description("list tasks, newest first")
    .option("--queue <queue>", "only of this queue")
    .addOption(new Option("--state <state>", "only in this state").choices(TASK_STATES))
    .option("--client <id>", "only of this client")
    .option("--from <time>", "only accepted at or after this time")
    .option("--to <time>", "only accepted before this time")
    .addOption(new Option("--limit <n>", "at most this many").argParser(wholeNumber(1, MAX_PAGE)).default(50))
    .option("--cursor <cursor>", "continue where a list before ended")
    .addHelpText(
      "after",
      `
Examples:
  task-runner tasks list --state dead --queue mail
  task-runner tasks list --from 2030-01-31T00:00:00Z --json | jq -r '.tasks[].task_id'`,
    )
    .action(async (options: ListOptions) => {
      const page = await clientApi(host, options).ask("GET", `/v1/tasks?${queryOf(options)}`, TaskPageView);
      if (options.json) {
        printJson(host, page);
      } else {
        host.stdout.write(
          table(
            host,
            TASK_COLUMNS,
            page.tasks.map((task) => taskRow(host, task)),
          ),
        );
        tellMore(host, page.next_cursor);
      }
      ended(EXIT.ok);
    });
}

function addWatch(tasks: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withClientOptions(tasks.command("watch"))
    .description(
      "print every change of a task until it has ended; exit status 0 when it succeeded, 1 otherwise",
    )
    .argument("<id>", "the task")
    .addOption(
      new Option("--timeout <time>", "give up after this time").argParser(durationSec).default(3_600, "1h"),
    )
    .addHelpText("after", `\nWith --json, one line of JSON for each change.\n${examples("watch")}`)
    .action(async (id: string, options: ClientOptions & { timeout: number }) => {
      const changed = (task: TaskView) => {
        const line = options.json ? JSON.stringify(task) : changeLine(host, task);
        host.stdout.write(`${line}\n`);
      };
      const api = clientApi(host, options);
      ended(
        exitCodeOf(await followTask(host, api, { id, timeoutSec: options.timeout, existed: false, changed })),
      );
    });
}

function changeLine(host: CliHost, task: TaskView): string {
  const when = new Date(host.clock.now()).toISOString();
  const next =
    task.finished_at || !task.next_run_at || task.state === "running" ? "" : `, next run ${task.next_run_at}`;
  const why = task.reason ? `: ${task.reason}` : "";
  const attempts = task.counts.attempts === 0 ? "" : `, attempts: ${task.counts.attempts}`;
  return `${when}  ${styledState(host, host.stdout, task.state)}${plain(attempts + next + why)}`;
}

function queryOf(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams({ limit: String(options.limit) });
  const filters = {
    queue: options.queue,
    state: options.state,
    client_id: options.client,
    from: options.from,
    to: options.to,
    cursor: options.cursor,
  };
  for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, value);
  return query;
}

function examples(name: string): string {
  return `
Examples:
  task-runner tasks ${name} 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner tasks ${name} 01JD2Q6X3R9V8K7M5N4P3Q2R1S --api https://tasks.example.com --json`;
}
