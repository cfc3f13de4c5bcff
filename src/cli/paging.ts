/** Listings that come in pages. */

import { type Command, Option } from "commander";
import { MAX_PAGE } from "../core/store.ts";
import type { CliHost } from "./host.ts";
import { wholeNumber } from "./input.ts";
import { plain } from "./plain.ts";

export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string;
}

export function withPageOptions(command: Command): Command {
  return command
    .addOption(new Option("--limit <n>", "at most this many").argParser(wholeNumber(1, MAX_PAGE)).default(50))
    .option("--cursor <cursor>", "continue where a list before ended");
}

export function pageQuery({ limit, cursor }: PageOptions): URLSearchParams {
  return new URLSearchParams({ limit: String(limit), ...(cursor === undefined ? {} : { cursor }) });
}

/** Says on stderr how to go on, where a page is not the last. */
export function tellMore(host: CliHost, nextCursor: string | null | undefined): void {
  if (nextCursor) host.stderr.write(`more with: --cursor ${plain(nextCursor)}\n`);
}
