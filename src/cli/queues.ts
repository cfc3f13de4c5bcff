/** `queues`: what waits where, and by which rules it runs. */

import type { Command } from "commander";
import { DoneView, QueuePageView, QueueView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { show, table } from "./output.ts";
import { type PageOptions, pageQuery, tellMore, withPageOptions } from "./paging.ts";
import { plain } from "./plain.ts";
import { addPurgeCommand } from "./purge.ts";
import { queuePath, type RuleOptions, rulesOf, withRuleOptions } from "./queue-rules.ts";
import { QUEUE_COLUMNS, queueDetails, queueRow } from "./queue-text.ts";
import { type ApiOptions, adminApi, needConsent, withApiOptions, withConsent } from "./server-options.ts";
import { addSecretsCommand } from "./signing-secrets.ts";

/** Commands on one queue that answer with the queue as it then is. */
const CHANGES = [
  { name: "pause", summary: "hand out none of its tasks, and go on taking new ones", done: "paused" },
  { name: "resume", summary: "hand its tasks out again", done: "handed out again" },
] as const;

export function addQueuesCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const queues = program
    .command("queues")
    .description("look at queues and set by which rules their tasks run")
    .addHelpText(
      "after",
      `
Examples:
  task-runner queues list
  task-runner queues set mail --max-dispatches-per-sec 5 --max-concurrent 3
  task-runner queues pause mail
  task-runner queues purge mail --yes --wait`,
    );
  withPageOptions(withApiOptions(queues.command("list")))
    .description("list queues, by name, with what waits in them")
    .addHelpText("after", "\nExamples:\n  task-runner queues list\n  task-runner queues list --json")
    .action(async (options: ApiOptions & PageOptions) => {
      const page = await adminApi(host, options).ask(
        "GET",
        `/admin/queues?${pageQuery(options)}`,
        QueuePageView,
      );
      show(host, options, page, ({ queues: rows }) => table(host, QUEUE_COLUMNS, rows.map(queueRow)));
      if (!options.json) tellMore(host, page.next_cursor);
      ended(EXIT.ok);
    });
  withApiOptions(queues.command("get"))
    .description("show one queue: its rules, its counts and what is under way")
    .argument("<queue>", "the queue")
    .addHelpText("after", "\nExamples:\n  task-runner queues get mail")
    .action(async (name: string, options: ApiOptions) => {
      const queue = await adminApi(host, options).ask("GET", queuePath(name), QueueView);
      show(host, options, queue, () => queueDetails(host, queue));
      ended(EXIT.ok);
    });
  addSet(queues, host, ended);
  for (const { name, summary, done } of CHANGES) {
    withApiOptions(queues.command(name))
      .description(summary)
      .argument("<queue>", "the queue")
      .addHelpText("after", `\nExamples:\n  task-runner queues ${name} mail`)
      .action(async (queue: string, options: ApiOptions) => {
        const now = await adminApi(host, options).ask("POST", `/admin/queues/${name}`, QueueView, { queue });
        show(host, options, now, () => `${plain(queue)}  ${done}\n`);
        ended(EXIT.ok);
      });
  }
  addPurgeCommand(queues, host, ended);
  addSecretsCommand(queues, "queues", host, ended);
  withConsent(withApiOptions(queues.command("delete")))
    .description("remove a queue that has no unfinished tasks, and its rules")
    .argument("<queue>", "the queue")
    .addHelpText("after", "\nExamples:\n  task-runner queues delete mail --yes")
    .action(async (queue: string, options: ApiOptions & { yes?: boolean }) => {
      needConsent(options, `the queue ${queue} and its rules`);
      const answer = await adminApi(host, options).ask("POST", "/admin/queues/delete", DoneView, { queue });
      show(host, options, answer, ({ status }) => `${plain(queue)}  ${plain(status)}\n`);
      ended(EXIT.ok);
    });
}

function addSet(queues: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withRuleOptions(withApiOptions(queues.command("set")))
    .description("make a queue, or change its rules; they hold for the tasks that wait in it, too")
    .argument("<queue>", "the queue")
    .addHelpText(
      "after",
      `
A rule that is not named stays as it is. none takes a rule away. Times are seconds, or 30s, 5m, 2h, 1d.

Examples:
  task-runner queues set mail --max-dispatches-per-sec 5 --max-burst 10 --max-concurrent 3
  task-runner queues set mail --retry-max-attempts 3 --retry-min-backoff 10s --permanent-status 404 --permanent-status 410
  task-runner queues set mail --target-url https://mail.example.com/send --target-header "Authorization: Bearer t"
  task-runner queues set orders --after-death hold --dead-queue failed-orders
  task-runner queues set mail --max-concurrent none --dead-queue none`,
    )
    .action(async (name: string, options: RuleOptions) => {
      const api = adminApi(host, options);
      const queue = await api.ask("POST", "/admin/queues/set", QueueView, await rulesOf(api, name, options));
      show(host, options, queue, () => queueDetails(host, queue));
      ended(EXIT.ok);
    });
}
