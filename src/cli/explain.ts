/** `tasks explain`: why a task does not run, or what became of it. */

import type { Command } from "commander";
import { ExplanationView } from "./admin-views.ts";
import { taskPath } from "./api-client.ts";
import { type CliHost, EXIT } from "./host.ts";
import { factLines, printJson, styledState, table } from "./output.ts";
import { plain } from "./plain.ts";
import { type ClientOptions, clientApi, withClientOptions } from "./server-options.ts";

export function addExplainCommand(tasks: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withClientOptions(tasks.command("explain"))
    .description("tell everything that keeps a task from running, and when it is likely to run")
    .argument("<id>", "the task")
    .addHelpText(
      "after",
      `
Examples:
  task-runner tasks explain 01JD2Q6X3R9V8K7M5N4P3Q2R1S
  task-runner tasks explain 01JD2Q6X3R9V8K7M5N4P3Q2R1S --json | jq -r '.reasons[].code'`,
    )
    .action(async (id: string, options: ClientOptions) => {
      const why = await clientApi(host, options).ask("GET", `${taskPath(id)}/explain`, ExplanationView);
      if (options.json) {
        printJson(host, why);
      } else {
        host.stdout.write(
          factLines(host, [
            ["task", plain(why.task_id)],
            ["state", styledState(host, host.stdout, why.state)],
            ["held", why.held ? "yes" : "no"],
            ["next run", why.next_at && plain(why.next_at)],
          ]),
        );
        const rows = why.reasons.map(({ code, detail }) => [plain(code), plain(detail)]);
        if (rows.length > 0) host.stdout.write(`\n${table(host, ["REASON", "WHICH MEANS"], rows)}`);
      }
      ended(EXIT.ok);
    });
}
