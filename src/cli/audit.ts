/** `audit`: who changed which settings, and how. */

import type { Command } from "commander";
import { AuditView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { show, table } from "./output.ts";
import { type PageOptions, pageQuery, tellMore, withPageOptions } from "./paging.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, withApiOptions } from "./server-options.ts";

/** The most of one value that a table shows; --json shows all. */
const MAX_SHOWN_CHARS = 60;

export function addAuditCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withPageOptions(withApiOptions(program.command("audit")))
    .description("list the changes of clients, tiers and queues, newest first")
    .addHelpText(
      "after",
      `
The actor is the fingerprint of the admin key that was used, or open where none is asked for.

Examples:
  task-runner audit
  task-runner audit --limit 200 --json | jq '.entries[] | select(.subject == "shop")'`,
    )
    .action(async (options: ApiOptions & PageOptions) => {
      const page = await adminApi(host, options).ask("GET", `/admin/audit?${pageQuery(options)}`, AuditView);
      show(host, options, page, ({ entries }) =>
        table(
          host,
          ["AT", "ACTOR", "ACTION", "SUBJECT", "CHANGE"],
          entries.map((entry) => [
            plain(entry.at),
            plain(entry.actor),
            plain(entry.action),
            plain(entry.subject),
            plain(changeText(entry.before, entry.after)),
          ]),
        ),
      );
      if (!options.json) tellMore(host, page.next_cursor);
      ended(EXIT.ok);
    });
}

/** What differs between two states of the same settings, field by field. */
export function changeText(before: unknown, after: unknown): string {
  const [from, to] = [fieldsOf(before), fieldsOf(after)];
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  return names
    .map((name) => ({ name, from: valueText(from[name]), to: valueText(to[name]) }))
    .filter((change) => change.from !== change.to)
    .map((change) => `${change.name}: ${shortened(change.from)} -> ${shortened(change.to)}`)
    .join("; ");
}

function fieldsOf(state: unknown): Readonly<Record<string, unknown>> {
  return typeof state === "object" && state !== null ? { ...state } : {};
}

/** What is empty says as little as what is not there. */
function valueText(value: unknown): string {
  const text = JSON.stringify(value ?? null);
  return ["null", "[]", "{}"].includes(text) ? "-" : text;
}

function shortened(text: string): string {
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
}
