/** Options of the commands that talk to a running server. */

import { type Command, Option } from "commander";
import { baseUrl } from "./input.ts";

export interface ApiOptions {
  readonly api: string;
  readonly adminKey?: string;
  readonly json?: boolean;
}

export function withApiOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--api <url>", "the server to talk to").argParser(baseUrl).default("http://127.0.0.1:8080"),
    )
    .option("--admin-key <key>", "the server's admin key (ADMIN_API_KEY, ADMIN_API_KEY_FILE)")
    .option("--json", "print JSON");
}
