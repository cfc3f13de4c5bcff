/** `tiers`: the limits that clients share by name. */

import { type Command, Option } from "commander";
import { DoneView, TierListView, TierView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { amount, type NONE, noneAsNull, orNone } from "./input.ts";
import { limitText, show, table } from "./output.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, needConsent, withApiOptions, withConsent } from "./server-options.ts";

interface SetOptions extends ApiOptions {
  readonly requestsPerMinute: number | typeof NONE;
  readonly maxConcurrent: number | typeof NONE;
}

const COLUMNS = ["TIER", "REQUESTS A MINUTE", "RUNNING AT ONCE", ""];

export function addTiersCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const tiers = program
    .command("tiers")
    .description("look at the limits that clients share by name, and change them")
    .addHelpText(
      "after",
      `
Examples:
  task-runner tiers list
  task-runner tiers set partner --requests-per-minute 300 --max-concurrent 10
  task-runner tiers delete partner --yes`,
    );
  const rowOf = (tier: typeof TierView.static) => [
    plain(tier.tier),
    limitText(tier.requests_per_minute),
    limitText(tier.max_concurrent),
    tier.built_in ? "built in" : "",
  ];
  withApiOptions(tiers.command("list"))
    .description("list all tiers")
    .addHelpText("after", "\nExamples:\n  task-runner tiers list\n  task-runner tiers list --json")
    .action(async (options: ApiOptions) => {
      const answer = await adminApi(host, options).ask("GET", "/admin/tiers", TierListView);
      show(host, options, answer, () => table(host, COLUMNS, answer.tiers.map(rowOf)));
      ended(EXIT.ok);
    });
  withApiOptions(tiers.command("set"))
    .description("make a tier, or change the limits of one; they hold for all its clients at once")
    .argument("<tier>", "the tier")
    .addOption(
      new Option("--requests-per-minute <n>", "tasks accepted within any sixty seconds, or none for no limit")
        .argParser(orNone(amount))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--max-concurrent <n>", "tasks running at once, or none for no limit")
        .argParser(orNone(amount))
        .makeOptionMandatory(),
    )
    .addHelpText(
      "after",
      `
Examples:
  task-runner tiers set free --requests-per-minute 60 --max-concurrent 2
  task-runner tiers set internal --requests-per-minute none --max-concurrent none`,
    )
    .action(async (tier: string, options: SetOptions) => {
      const now = await adminApi(host, options).ask("POST", "/admin/tiers/set", TierView, {
        tier,
        ...noneAsNull({
          requests_per_minute: options.requestsPerMinute,
          max_concurrent: options.maxConcurrent,
        }),
      });
      show(host, options, now, () => table(host, COLUMNS, [rowOf(now)]));
      ended(EXIT.ok);
    });
  withConsent(withApiOptions(tiers.command("delete")))
    .description("remove a tier; its clients then have the default tier's limits")
    .argument("<tier>", "the tier")
    .addHelpText("after", "\nExamples:\n  task-runner tiers delete partner --yes")
    .action(async (tier: string, options: ApiOptions & { yes?: boolean }) => {
      needConsent(options, `the tier ${tier}`);
      const answer = await adminApi(host, options).ask("POST", "/admin/tiers/delete", DoneView, { tier });
      show(host, options, answer, () => `${plain(tier)}  ${plain(answer.status)}\n`);
      ended(EXIT.ok);
    });
}
