/** `queues set`: a queue's rules from options, each named after the field it sets. */

import { type Command, Option } from "commander";
import { MAX_WEIGHT, MIN_WEIGHT } from "../core/queue.ts";
import { QueueView } from "./admin-views.ts";
import type { ApiClient } from "./api-client.ts";
import { amount, durationSec, given, header, NONE, noneAsNull, orNone, wholeNumber } from "./input.ts";
import type { ApiOptions } from "./server-options.ts";

export interface RuleOptions extends ApiOptions {
  readonly enable?: boolean;
  readonly disable?: boolean;
  readonly maxDispatchesPerSec?: number | typeof NONE;
  readonly maxBurst?: number | typeof NONE;
  readonly maxConcurrent?: number | typeof NONE;
  readonly weight?: number;
  readonly retryMaxAttempts?: number | typeof NONE;
  readonly retryMinBackoff?: number | typeof NONE;
  readonly retryMaxBackoff?: number | typeof NONE;
  readonly retryMaxDoublings?: number | typeof NONE;
  readonly retryMaxDuration?: number | typeof NONE;
  readonly retryJitter?: number | typeof NONE;
  readonly timeout?: number | typeof NONE;
  readonly targetUrl?: string | typeof NONE;
  readonly targetMethod?: string | typeof NONE;
  readonly targetHeader?: Record<string, string> | typeof NONE;
  readonly retentionSucceeded?: number | typeof NONE;
  readonly retentionDead?: number | typeof NONE;
  readonly permanentStatus?: readonly number[];
  readonly afterDeath?: string;
  readonly deadQueue?: string | typeof NONE;
  readonly deadUrl?: string | typeof NONE;
  readonly mode?: string;
}

const duration = orNone(durationSec);
const number = orNone(amount);
const word = orNone((text) => text);
const method = orNone((text) => text.toUpperCase());

/** -1 stands for no limit, as in the API. */
const attempts = orNone((text: string) => (text === "-1" ? -1 : amount(text)));

/** Adds a status to those given before it; `none` takes all of them away. */
function status(text: string, before: readonly number[] = []): readonly number[] {
  return text === NONE ? [] : [...before, wholeNumber(300, 599)(text)];
}

/** Adds a header to those given before it; `none` takes all of them away. */
function targetHeader(text: string, before: RuleOptions["targetHeader"]): RuleOptions["targetHeader"] {
  return text === NONE ? NONE : header(text, before === NONE ? undefined : before);
}

/** Options with a value, in the order in which help shows them. */
const VALUES: readonly (readonly [
  flags: string,
  description: string,
  parse: (text: string, before: never) => unknown,
])[] = [
  [
    "--max-dispatches-per-sec <n>",
    "tasks begun a second, over all workers; 0.1 is one in ten seconds",
    number,
  ],
  ["--max-burst <n>", "tasks that may begin at once after a rest", number],
  ["--max-concurrent <n>", "tasks running at once, over all workers", number],
  [
    "--weight <n>",
    `tasks that each client gets in a turn, ${MIN_WEIGHT} to ${MAX_WEIGHT}`,
    wholeNumber(MIN_WEIGHT, MAX_WEIGHT),
  ],
  ["--retry-max-attempts <n>", "deliveries in all, the first included; -1 for no limit", attempts],
  ["--retry-min-backoff <time>", "wait before the first retry", duration],
  ["--retry-max-backoff <time>", "longest wait between tries", duration],
  ["--retry-max-doublings <n>", "how often the wait doubles before it grows evenly", number],
  ["--retry-max-duration <time>", "keep trying at least this long after the first attempt", duration],
  ["--retry-jitter <n>", "fraction by which each wait is varied, 0 to 1", number],
  ["--timeout <time>", "limit of one attempt", duration],
  ["--target-url <url>", "called instead of the tasks' own URL", word],
  ["--target-method <method>", "in place of the tasks' own method", method],
  ["--target-header <header>", '"Name: value" sent with every task; repeatable', targetHeader],
  ["--retention-succeeded <time>", "how long succeeded tasks stay readable", duration],
  ["--retention-dead <time>", "how long dead tasks stay readable", duration],
  ["--permanent-status <code>", "a status after which a task is not tried again; repeatable", status],
];

/** Adds an option for each rule. */
export function withRuleOptions(command: Command): Command {
  command
    .addOption(new Option("--enable", "take new tasks").conflicts("disable"))
    .option("--disable", "refuse new tasks; those it has go on");
  for (const [flags, description, parse] of VALUES) {
    command.addOption(
      new Option(flags, description).argParser(parse as (text: string, before: unknown) => unknown),
    );
  }
  return command
    .addOption(
      new Option(
        "--after-death <who>",
        "who gets the ordering key of a dead task: the next, or nobody",
      ).choices(["next", "hold"]),
    )
    .addOption(
      new Option("--dead-queue <queue>", "queue that gets a copy of each dead task")
        .argParser(word)
        .conflicts("deadUrl"),
    )
    .addOption(new Option("--dead-url <url>", "URL that is told of each dead task").argParser(word))
    .addOption(
      new Option(
        "--mode <mode>",
        "who takes its tasks: workers (push), or consumers that lease them",
      ).choices(["push", "pull"]),
    );
}

/** The change that the options ask for, as the API takes it. */
export async function rulesOf(api: ApiClient, queue: string, options: RuleOptions): Promise<unknown> {
  const rules = {
    enabled: options.enable || options.disable ? options.enable === true : undefined,
    max_dispatches_per_sec: options.maxDispatchesPerSec,
    max_burst: options.maxBurst,
    max_concurrent: options.maxConcurrent,
    weight: options.weight,
    timeout_sec: options.timeout,
    retention_succeeded_sec: options.retentionSucceeded,
    retention_dead_sec: options.retentionDead,
    permanent_statuses: options.permanentStatus,
    after_death: options.afterDeath,
    dead_target: deadTargetOf(options),
    mode: options.mode,
    ...(await groupsOf(api, queue, options)),
  };
  return { queue, ...noneAsNull(given(rules)) };
}

function deadTargetOf({ deadQueue, deadUrl }: RuleOptions) {
  if (deadQueue !== undefined) return deadQueue === NONE ? NONE : { queue: deadQueue };
  return deadUrl === undefined || deadUrl === NONE ? deadUrl : { url: deadUrl };
}

/** The server replaces `retry` and `target` as a whole: what is not named of them has to be told again. */
async function groupsOf(api: ApiClient, queue: string, options: RuleOptions) {
  const retry = given({
    max_attempts: options.retryMaxAttempts,
    min_backoff_sec: options.retryMinBackoff,
    max_backoff_sec: options.retryMaxBackoff,
    max_doublings: options.retryMaxDoublings,
    max_duration_sec: options.retryMaxDuration,
    jitter: options.retryJitter,
  });
  const target = given({
    url: options.targetUrl,
    method: options.targetMethod,
    headers: options.targetHeader,
  });
  const [changesRetry, changesTarget] = [retry, target].map((group) => Object.keys(group).length > 0);
  if (!changesRetry && !changesTarget) return {};
  const now = await api.find(queuePath(queue), QueueView);
  const newTarget = withoutNone({ ...now?.target, ...target });
  return {
    retry: changesRetry ? withoutNone({ ...now?.retry, ...retry }) : undefined,
    target: changesTarget ? (Object.keys(newTarget).length === 0 ? null : newTarget) : undefined,
  };
}

/** The path of one queue's settings. */
export function queuePath(queue: string): string {
  return `/admin/queues/get?${new URLSearchParams({ queue })}`;
}

function withoutNone(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== NONE));
}
