/** Options of the commands that talk to a running server. */

import { type Command, Option } from "commander";
import { ApiClient } from "./api-client.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { baseUrl } from "./input.ts";
import { adminKeyOf } from "./settings.ts";

export interface ApiOptions {
  readonly api: string;
  readonly adminKey?: string;
  readonly json?: boolean;
}

/** Options of the commands that a client may use as well as an administrator. */
export interface ClientOptions extends ApiOptions {
  readonly apiKey?: string;
}

export function withApiOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--api <url>", "the server to talk to").argParser(baseUrl).default("http://127.0.0.1:8080"),
    )
    .option("--admin-key <key>", "the server's admin key (ADMIN_API_KEY, ADMIN_API_KEY_FILE)")
    .option("--json", "print JSON");
}

export function withClientOptions(command: Command): Command {
  return withApiOptions(command).option("--api-key <key>", "a client's own API key (TASK_RUNNER_API_KEY)");
}

/** The server, asked as its administrator. */
export function adminApi(host: CliHost, { api, adminKey }: ApiOptions): ApiClient {
  return new ApiClient(api, { admin: sendable(adminKeyOf(host, adminKey), "admin") });
}

/** The server, asked with whichever keys there are; where it gets both it goes by the admin key. */
export function clientApi(host: CliHost, { api, adminKey, apiKey }: ClientOptions): ApiClient {
  // A key that was named stands above one of the environment, of whichever kind that is.
  const admin = apiKey !== undefined && adminKey === undefined ? undefined : adminKeyOf(host, adminKey);
  // An empty value is an unset one, as for every name of the environment.
  const client = apiKey ?? (host.env.TASK_RUNNER_API_KEY || undefined);
  return new ApiClient(api, { admin: sendable(admin, "admin"), client: sendable(client, "API") });
}

/** Refuses a key that no header carries, before whoever sends it tells of it in full. */
function sendable(key: string | undefined, kind: string): string | undefined {
  if (key === undefined || /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(key)) return key;
  throw new CommandFailure(
    EXIT.usage,
    `error: the ${kind} key is not one line of printable ASCII characters`,
  );
}

/** Adds the consent that a command asks for before it removes something. */
export function withConsent(command: Command): Command {
  return command.option("--yes", "do it: what is removed does not come back");
}

/** Ends the command with exit status 2 unless --yes was given; `what` completes "this removes …". */
export function needConsent({ yes }: { readonly yes?: boolean }, what: string): void {
  if (yes) return;
  throw new CommandFailure(EXIT.usage, `error: this removes ${what}: repeat it with --yes to do it`);
}
