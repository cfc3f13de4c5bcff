/** `stats`: what the whole installation is doing now. */

import type { Command } from "commander";
import { StatsView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { show, table } from "./output.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, withApiOptions } from "./server-options.ts";

export function addStatsCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withApiOptions(program.command("stats"))
    .description("tell what is going on now: tasks by state, hosts that are held back, workers")
    .addHelpText(
      "after",
      `
A host that failed too often in a row is held back: one of its tasks tries it now and then, the others wait uncharged.

Examples:
  task-runner stats
  task-runner stats --json | jq '.hosts[] | select(.tasks > 1000)'`,
    )
    .action(async (options: ApiOptions) => {
      const stats = await adminApi(host, options).ask("GET", "/admin/stats", StatsView);
      show(host, options, stats, (now) => textOf(host, now));
      ended(EXIT.ok);
    });
}

function textOf(host: CliHost, { store, queues, tasks, hosts, workers }: StatsView): string {
  const states = Object.entries(tasks).map(([state, count]) => [plain(state), String(count)]);
  const parts = [
    `store ${plain(store)}, ${queues} ${queues === 1 ? "queue" : "queues"} with tasks\n`,
    table(host, ["STATE", "TASKS"], states),
    table(
      host,
      ["WORKER", "VERSION", "TASKS AT ONCE", "STARTED", "SEEN"],
      workers.map((one) => [
        plain(one.worker),
        plain(one.version),
        String(one.concurrency),
        plain(one.started_at),
        plain(one.seen_at),
      ]),
    ),
  ];
  if (hosts.length > 0) {
    const rows = hosts.map((one) => [plain(one.host), String(one.tasks), plain(one.next_probe_at)]);
    parts.push(table(host, ["HOST HELD BACK", "TASKS WAITING", "TRIED AGAIN AT"], rows));
  }
  return parts.join("\n");
}
