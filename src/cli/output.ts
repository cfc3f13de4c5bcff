/** How results are shown: tables and colours for people, JSON for machines. */

import { styleText } from "node:util";
import Table from "cli-table3";
import type { TaskView } from "./api-client.ts";
import type { CliHost, Output } from "./host.ts";
import { plain } from "./plain.ts";

type Style = Parameters<typeof styleText>[0];

const STATE_STYLES: Readonly<Record<string, Style>> = {
  scheduled: "cyan",
  ready: "blue",
  running: "yellow",
  retrying: "magenta",
  succeeded: "green",
  dead: "red",
  cancelled: "gray",
};

/** Styles text where a person looks at `output` and NO_COLOR is not set (https://no-color.org). */
export function styled(host: CliHost, output: Output, style: Style, text: string): string {
  const wanted = output.isTTY === true && !host.env.NO_COLOR;
  return wanted ? styleText(style, text, { validateStream: false }) : text;
}

export function printJson(host: CliHost, value: unknown): void {
  host.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Writes an answer as --json asks for it, or as the text that `text` makes of it. */
export function show<T>(
  host: CliHost,
  { json }: { readonly json?: boolean },
  answer: T,
  text: (answer: T) => string,
): void {
  if (json) printJson(host, answer);
  else host.stdout.write(text(answer));
}

/** A table without lines, its cells in columns; an empty list of rows gives the head alone. */
export function table(host: CliHost, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const blank = Object.fromEntries(BORDERS.map((place) => [place, ""]));
  const made = new Table({
    chars: { ...blank, middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    head: head.map((name) => styled(host, host.stdout, "bold", name)),
  });
  made.push(...rows.map((row) => [...row]));
  const lines = made.toString().split("\n");
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

const BORDERS = [
  "top",
  "top-mid",
  "top-left",
  "top-right",
  "bottom",
  "bottom-mid",
  "bottom-left",
  "bottom-right",
  "left",
  "left-mid",
  "mid",
  "mid-mid",
  "right",
  "right-mid",
];

/** A limit in words. */
export function limitText(limit: number | null): string {
  return limit === null ? "no limit" : String(limit);
}

/** How much of a limit is used. */
export function usedText(used: number, limit: number | null): string {
  return limit === null ? `${used}, no limit` : `${used} of ${limit}`;
}

export function styledState(host: CliHost, output: Output, state: string): string {
  return styled(host, output, STATE_STYLES[state] ?? "white", plain(state));
}

/** The row of a task in a listing; the head is {@link TASK_COLUMNS}. */
export function taskRow(host: CliHost, task: TaskView): string[] {
  return [
    plain(task.task_id),
    styledState(host, host.stdout, task.state),
    plain(task.queue),
    plain(task.client_id),
    plain(task.priority),
    String(task.counts.attempts),
    plain(task.finished_at ?? task.next_run_at ?? "-"),
    plain(`${task.task.method} ${task.task.url}`),
  ];
}

export const TASK_COLUMNS = [
  "TASK",
  "STATE",
  "QUEUE",
  "CLIENT",
  "PRIORITY",
  "ATTEMPTS",
  "NEXT OR END",
  "TARGET",
];

/** Everything worth knowing of one task, for a person. */
export function taskDetails(host: CliHost, task: TaskView): string {
  return taskFacts(host, task) + attemptTable(host, task);
}

/** One task without its attempts. */
export function taskFacts(host: CliHost, task: TaskView): string {
  const { attempts, crashes, releases } = task.counts;
  return factLines(host, [
    ["task", plain(task.task_id)],
    ["state", styledState(host, host.stdout, task.state)],
    ["reason", task.reason && plain(task.reason)],
    ["target", plain(`${task.task.method} ${task.task.url}`)],
    ["queue", plain(`${task.queue} (${task.priority})`)],
    ["client", plain(task.client_id)],
    ["created", plain(task.created_at)],
    ["scheduled", plain(task.scheduled_at)],
    ["next run", task.finished_at ? null : task.next_run_at && plain(task.next_run_at)],
    ["finished", task.finished_at && plain(task.finished_at)],
    ["counts", `attempts ${attempts}, crashes ${crashes}, releases ${releases}`],
  ]);
}

/** A name and what is to be said of it; a fact without a value is left out. */
export type Fact = readonly [name: string, value: string | null | undefined];

/** A line for each fact, the values in one column. Values are written as they are. */
export function factLines(host: CliHost, facts: readonly Fact[]): string {
  const said = facts.filter(([, value]) => value);
  const width = Math.max(0, ...said.map(([name]) => name.length));
  return said
    .map(([name, value]) => `${styled(host, host.stdout, "dim", name.padEnd(width))}  ${value}\n`)
    .join("");
}

function attemptTable(host: CliHost, task: TaskView): string {
  if (task.attempts === undefined || task.attempts.length === 0) return "";
  const rows = task.attempts.map((attempt) => [
    String(attempt.number),
    plain(attempt.started_at),
    `${attempt.duration_ms} ms`,
    attempt.status ? String(attempt.status) : "-",
    plain(attempt.error ?? attempt.response_excerpt ?? ""),
  ]);
  return `\n${table(host, ["ATTEMPT", "STARTED", "TOOK", "STATUS", "ERROR OR ANSWER"], rows)}`;
}

/** Every attempt that was kept, a block each, with all that is known of it. */
export function attemptsInFull(host: CliHost, task: TaskView): string {
  return (task.attempts ?? [])
    .map((attempt) =>
      factLines(host, [
        ["attempt", String(attempt.number)],
        ["started", plain(attempt.started_at)],
        ["took", `${attempt.duration_ms} ms`],
        ["status", attempt.status ? String(attempt.status) : "no answer"],
        ["error", attempt.error && plain(attempt.error)],
        ["answer", attempt.response_excerpt && plain(attempt.response_excerpt)],
        ["worker", plain(attempt.worker)],
      ]),
    )
    .map((block) => `\n${block}`)
    .join("");
}
