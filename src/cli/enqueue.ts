/** `enqueue`: hands in a task and, when asked to, waits for its end. */

import { type Command, Option } from "commander";
import { PRIORITIES } from "../core/priority.ts";
import { type ApiClient, EnqueuedView, type TaskView } from "./api-client.ts";
import { followTask } from "./follow.ts";
import { type CliHost, EXIT } from "./host.ts";
import {
  type BodyFields,
  bodyFields,
  dataBytes,
  durationSec,
  header,
  instant,
  looksLikeJson,
} from "./input.ts";
import { printJson, styledState, taskDetails } from "./output.ts";
import { progressLine } from "./progress.ts";
import { type ClientOptions, clientApi, withClientOptions } from "./server-options.ts";

interface EnqueueOptions extends ClientOptions {
  readonly method: string;
  readonly header?: Record<string, string>;
  readonly data?: string;
  readonly delay?: number;
  readonly at?: string | number;
  readonly queue: string;
  readonly client: string;
  readonly priority?: string;
  readonly name?: string;
  readonly callbackUrl?: string;
  readonly failureCallbackUrl?: string;
  readonly wait?: boolean;
  readonly waitTimeout: number;
}

export function addEnqueueCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const command = program
    .command("enqueue")
    .description("hand in a task: a URL to call, now or later")
    .argument("<url>", "the URL to call")
    .option("-X, --method <method>", "HTTP method", "POST")
    .addOption(
      new Option("-H, --header <header>", '"Name: value" to send with it; repeatable').argParser(header),
    )
    .option("-d, --data <data>", "body to send: text, @FILE, or @- for standard input")
    .addOption(
      new Option("--delay <time>", "run after this time: seconds, or 30s, 5m, 2h, 1d").argParser(durationSec),
    )
    .addOption(
      new Option("--at <time>", "run at this time: RFC 3339, or seconds since 1970")
        .argParser(instant)
        .conflicts("delay"),
    )
    .option("--queue <queue>", "queue to wait in", "default")
    .option("--client <id>", "who hands it in", "cli")
    .addOption(new Option("--priority <priority>", "how urgent it is").choices(PRIORITIES))
    .option("--name <name>", "a second task of this name in the queue is not made")
    .option("--callback-url <url>", "URL that is sent a report once the task has ended")
    .option("--failure-callback-url <url>", "URL that is sent it instead when the task is dead")
    .option("--wait", "wait until the task has ended: exit status 0 when it succeeded, 1 otherwise")
    .addOption(
      new Option("--wait-timeout <time>", "give up waiting after this time")
        .argParser(durationSec)
        .default(3_600, "1h"),
    );
  withClientOptions(command)
    .addHelpText(
      "after",
      `
A body that is a JSON object or array is sent as application/json unless a header says otherwise.

Examples:
  task-runner enqueue https://example.com/hook
  task-runner enqueue https://example.com/hook --data '{"user":7}' --delay 5m
  task-runner enqueue https://example.com/hook -H "Authorization: Bearer t" -d @body.json --queue mail
  task-runner enqueue https://example.com/job --name nightly-2030-01-31 --at 2030-01-31T02:00:00Z
  task-runner enqueue https://example.com/job --callback-url https://example.com/done
  task-runner enqueue https://example.com/job --wait && echo done`,
    )
    .action(async (url: string, options: EnqueueOptions) => ended(await enqueue(host, url, options)));
}

async function enqueue(host: CliHost, url: string, options: EnqueueOptions): Promise<number> {
  const api = clientApi(host, options);
  const answer = await api.ask("POST", "/v1/enqueue", EnqueuedView, await requestOf(host, url, options));
  if (options.wait) return waitForEnd(host, api, answer.task_id, options);
  if (options.json) printJson(host, answer);
  else
    host.stdout.write(`${answer.task_id}  ${answer.status}${whenDue(answer.state, answer.scheduled_at)}\n`);
  return EXIT.ok;
}

function whenDue(state: string | undefined, scheduledAt: string | undefined): string {
  if (state === undefined) return "";
  return state === "scheduled" ? `, to run at ${scheduledAt}` : `, ${state}`;
}

async function requestOf(host: CliHost, url: string, options: EnqueueOptions): Promise<unknown> {
  const headers = { ...options.header };
  const body: BodyFields =
    options.data === undefined ? {} : bodyFields(await dataBytes(options.data, host.readStdin));
  const named = Object.keys(headers).some((name) => name.toLowerCase() === "content-type");
  if (!named && looksLikeJson(body.body ?? "")) headers["Content-Type"] = "application/json";
  return {
    client_id: options.client,
    queue: options.queue,
    task: { url, method: options.method.toUpperCase(), headers, ...body },
    ...(options.delay === undefined ? {} : { delay: options.delay }),
    ...(options.at === undefined ? {} : { scheduled_at: options.at }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.callbackUrl === undefined ? {} : { callback_url: options.callbackUrl }),
    ...(options.failureCallbackUrl === undefined ? {} : { failure_callback_url: options.failureCallbackUrl }),
  };
}

async function waitForEnd(
  host: CliHost,
  api: ApiClient,
  id: string,
  options: EnqueueOptions,
): Promise<number> {
  const progress = progressLine(host);
  let task: TaskView;
  try {
    task = await followTask(host, api, {
      id,
      timeoutSec: options.waitTimeout,
      existed: true,
      changed: (now) =>
        progress.show(`${id}  ${styledState(host, host.stderr, now.state)}${attemptsOf(now)}`),
    });
  } finally {
    progress.clear();
  }
  if (options.json) printJson(host, task);
  else host.stdout.write(taskDetails(host, task));
  return exitCodeOf(task);
}

/** 0 for a task that succeeded, 1 for one that ended otherwise. */
export function exitCodeOf(task: TaskView): number {
  return task.state === "succeeded" ? EXIT.ok : EXIT.failed;
}

function attemptsOf({ counts }: TaskView): string {
  return counts.attempts === 0 ? "" : `, attempts so far: ${counts.attempts}`;
}
