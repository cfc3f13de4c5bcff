/** `fsck`: looks a store through for what must never be in it, beside those who work on it, and mends what is safe. */

import { type Command, Option } from "commander";
import { sleep } from "../core/clock.ts";
import { messageOf, TaskRunnerError } from "../core/errors.ts";
import { type InspectionReport, inspectAll, VIOLATIONS, type ViolationKind } from "../core/inspection.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { printJson, styled, table } from "./output.ts";
import { plain } from "./plain.ts";
import { progressLine } from "./progress.ts";
import { envFileOption, loadSettings, refuseProblems } from "./settings.ts";

interface FsckOptions {
  readonly store?: string;
  readonly envFile?: string;
  readonly repair?: boolean;
  readonly json?: boolean;
}

/** Small, so that nobody else waits for a step. */
const RECORDS_A_STEP = 250;
/** Violations shown one by one; JSON has more of them. */
const MAX_SHOWN = 100;

export function addFsckCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  program
    .command("fsck")
    .description(
      "look the store through for what is broken, while others work on it; and mend it with --repair",
    )
    .addOption(
      new Option("--store <url>", "where tasks are kept: sqlite:PATH or redis://host:port/db (STORE_URL)"),
    )
    .addOption(envFileOption())
    .option("--repair", "mend what can be mended without a doubt, and say what is left")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
It talks to the store itself, by the settings that the roles have (STORE_URL, KEY_PREFIX …), and
goes through it in small steps. What is being changed by others at that moment is never taken for damage.
The exit status is 0 when nothing is broken, 1 when something is (with --repair: and is left so), 2 when it was
called wrongly.

Examples:
  task-runner fsck                                  look, by the environment's settings
  task-runner fsck --store sqlite:data/task-runner.db
  task-runner fsck --repair --json                  mend, and tell a machine of it`,
    )
    .action(async (options: FsckOptions) => {
      ended(await fsck(host, options));
    });
}

async function fsck(host: CliHost, options: FsckOptions): Promise<number> {
  const loaded = loadSettings(host, options);
  refuseProblems(loaded);
  const { name, place, store } = await orFailure(() => host.openStore(loaded.config));
  const progress = progressLine(host);
  let report: InspectionReport;
  const repair = options.repair === true;
  try {
    report = await orFailure(() =>
      inspectAll(
        store,
        { limit: RECORDS_A_STEP, repair },
        paced(host, (text) => progress.show(text)),
      ),
    );
  } finally {
    progress.clear();
    await store.close();
  }
  const left = Object.values(report.totals).reduce((sum, { found, mended }) => sum + found - mended, 0);
  if (options.json) {
    printJson(host, {
      store: name,
      place,
      sound: left === 0,
      looked: report.looked,
      skipped: report.skipped,
      totals: report.totals,
      violations: report.violations,
    });
  } else {
    host.stdout.write(textOf(host, report, `${name} ${plain(place)}`, repair));
  }
  return left === 0 ? EXIT.ok : EXIT.failed;
}

/** Waits after each step as long as it took: the store is others' at least half of the time. */
function paced(host: CliHost, show: (text: string) => void): (looked: number) => Promise<void> {
  let steppedAtMs = host.clock.now();
  return async (looked) => {
    show(`${looked} records`);
    await sleep(host.clock, Math.max(0, host.clock.now() - steppedAtMs));
    steppedAtMs = host.clock.now();
  };
}

function textOf(
  host: CliHost,
  { violations, totals, looked, skipped }: InspectionReport,
  place: string,
  repair: boolean,
): string {
  const lines = [`looked at ${looked} records of ${place}`];
  if (skipped > 0) {
    lines.push(
      `${skipped} things were left out: they are too large for one step, or changed whenever they were counted`,
    );
  }
  const kinds = Object.entries(totals) as [ViolationKind, { found: number; mended: number }][];
  if (kinds.length === 0)
    return `${[...lines, styled(host, host.stdout, "green", "nothing is broken")].join("\n")}\n`;
  const shown = violations.slice(0, MAX_SHOWN).map(({ kind, subject, detail, mended }) => {
    const rows = [kind, plain(subject), plain(detail)];
    return repair ? [...rows, mended ? "mended" : "left"] : rows;
  });
  const heads = ["BROKEN", "WHERE", "WHAT"];
  const found = kinds.map(([kind, total]) => {
    const counts = repair ? [String(total.found), String(total.mended)] : [String(total.found)];
    return [kind, ...counts, VIOLATIONS[kind]];
  });
  const totalHeads = repair ? ["BROKEN", "FOUND", "MENDED", "MEANING"] : ["BROKEN", "FOUND", "MEANING"];
  const all = Object.values(totals).reduce((sum, total) => sum + total.found, 0);
  const rest = all > shown.length ? `… and ${all - shown.length} more\n` : "";
  return `${table(host, repair ? [...heads, ""] : heads, shown)}${rest}\n${table(host, totalHeads, found)}\n${lines.join("\n")}\n`;
}

/** A cause that is known is told in its one line; anything else is a bug, whose stack is wanted. */
async function orFailure<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof TaskRunnerError)) throw error;
    throw new CommandFailure(EXIT.failed, `error: ${messageOf(error)}`);
  }
}
