/** `clients`: who hands tasks in, and how much of the runner each of them may use. */

import { type Command, Option } from "commander";
import { ClientPageView, ClientView, DoneView } from "./admin-views.ts";
import type { ApiClient } from "./api-client.ts";
import { addClientKeysCommand } from "./client-keys.ts";
import { CLIENT_COLUMNS, clientDetails, clientRow } from "./client-text.ts";
import { type CliHost, EXIT } from "./host.ts";
import { amount, another, given, type NONE, noneAsNull, orNone } from "./input.ts";
import { show, table } from "./output.ts";
import { type PageOptions, pageQuery, tellMore, withPageOptions } from "./paging.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, needConsent, withApiOptions, withConsent } from "./server-options.ts";
import { addSecretsCommand } from "./signing-secrets.ts";

/** A limit of the client's own, or that of its tier again. */
type OwnLimit = number | typeof NONE | "tier";

interface SetOptions extends ApiOptions {
  readonly tier?: string;
  readonly enable?: boolean;
  readonly disable?: boolean;
  readonly requestsPerMinute?: OwnLimit;
  readonly maxConcurrent?: OwnLimit;
  readonly allowQueue?: readonly string[];
  readonly allowAllQueues?: boolean;
  readonly allowHost?: readonly string[];
  readonly allowAllHosts?: boolean;
}

export function addClientsCommand(program: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const clients = program
    .command("clients")
    .description("look at who hands tasks in, and set what each may use")
    .addHelpText(
      "after",
      `
Examples:
  task-runner clients list
  task-runner clients set shop --tier premium
  task-runner clients keys create shop --label web`,
    );
  withPageOptions(withApiOptions(clients.command("list")))
    .description("list clients, by id, with what they use now")
    .addHelpText("after", "\nExamples:\n  task-runner clients list\n  task-runner clients list --json")
    .action(async (options: ApiOptions & PageOptions) => {
      const page = await adminApi(host, options).ask(
        "GET",
        `/admin/clients?${pageQuery(options)}`,
        ClientPageView,
      );
      show(host, options, page, ({ clients: rows }) => table(host, CLIENT_COLUMNS, rows.map(clientRow)));
      if (!options.json) tellMore(host, page.next_cursor);
      ended(EXIT.ok);
    });
  withApiOptions(clients.command("get"))
    .description("show one client: its limits, lists, keys, secrets and what it uses now")
    .argument("<client>", "the client")
    .addHelpText("after", "\nExamples:\n  task-runner clients get shop")
    .action(async (id: string, options: ApiOptions) => {
      const client = await adminApi(host, options).ask("GET", pathOf(id), ClientView);
      show(host, options, client, () => clientDetails(host, client));
      ended(EXIT.ok);
    });
  addSet(clients, host, ended);
  withConsent(withApiOptions(clients.command("delete")))
    .description("forget a client's settings and keys; its next task makes it anew")
    .argument("<client>", "the client")
    .addHelpText("after", "\nExamples:\n  task-runner clients delete shop --yes")
    .action(async (id: string, options: ApiOptions & { yes?: boolean }) => {
      needConsent(options, `the settings and keys of the client ${id}`);
      const answer = await adminApi(host, options).ask("POST", "/admin/clients/delete", DoneView, {
        client_id: id,
      });
      show(host, options, answer, ({ status }) => `${plain(id)}  ${plain(status)}\n`);
      ended(EXIT.ok);
    });
  addClientKeysCommand(clients, host, ended);
  addSecretsCommand(clients, "clients", host, ended);
}

function addSet(clients: Command, host: CliHost, ended: (exitCode: number) => void): void {
  const ownLimit = (text: string) => (text === "tier" ? text : orNone(amount)(text));
  withApiOptions(clients.command("set"))
    .description("make a client, or change one; what is not named stays as it is")
    .argument("<client>", "the client")
    .option("--tier <tier>", "the tier whose limits it has")
    .addOption(new Option("--enable", "take its tasks and run them").conflicts("disable"))
    .option("--disable", "refuse its new tasks and hold its waiting ones")
    .addOption(
      new Option(
        "--requests-per-minute <n>",
        "a limit of its own: tasks accepted within any sixty seconds; none for no limit, tier for its tier's",
      ).argParser(ownLimit),
    )
    .addOption(
      new Option(
        "--max-concurrent <n>",
        "a limit of its own: tasks running at once; none for no limit, tier for its tier's",
      ).argParser(ownLimit),
    )
    .addOption(
      new Option("--allow-queue <queue>", "the queues it may use; repeatable")
        .argParser(another)
        .conflicts("allowAllQueues"),
    )
    .option("--allow-all-queues", "let it use every queue")
    .addOption(
      new Option("--allow-host <host>", "the hosts it may have called: name, *.name or address; repeatable")
        .argParser(another)
        .conflicts("allowAllHosts"),
    )
    .option("--allow-all-hosts", "let it have every host called")
    .addHelpText(
      "after",
      `
Examples:
  task-runner clients set shop --tier premium
  task-runner clients set shop --requests-per-minute 2000 --max-concurrent none
  task-runner clients set shop --requests-per-minute tier
  task-runner clients set shop --allow-queue mail --allow-queue orders --allow-host '*.example.com'
  task-runner clients set shop --disable`,
    )
    .action(async (id: string, options: SetOptions) => {
      const api = adminApi(host, options);
      const client = await api.ask(
        "POST",
        "/admin/clients/set",
        ClientView,
        await changeOf(api, id, options),
      );
      show(host, options, client, () => clientDetails(host, client));
      ended(EXIT.ok);
    });
}

async function changeOf(api: ApiClient, id: string, options: SetOptions): Promise<unknown> {
  return {
    client_id: id,
    ...given({
      tier: options.tier,
      enabled: options.enable || options.disable ? options.enable === true : undefined,
      overrides: await overridesOf(api, id, options),
      allowed_queues: options.allowAllQueues ? null : options.allowQueue,
      allowed_hosts: options.allowAllHosts ? null : options.allowHost,
    }),
  };
}

/** The server replaces a client's own limits as a whole: the one that is not named has to be told again. */
async function overridesOf(api: ApiClient, id: string, options: SetOptions) {
  const named = given({
    requests_per_minute: options.requestsPerMinute,
    max_concurrent: options.maxConcurrent,
  });
  if (Object.keys(named).length === 0) return undefined;
  const now = await api.find(pathOf(id), ClientView);
  const all: Record<string, unknown> = { ...now?.overrides, ...noneAsNull(named) };
  return Object.fromEntries(Object.entries(all).filter(([, limit]) => limit !== "tier"));
}

function pathOf(id: string): string {
  return `/admin/clients/get?${new URLSearchParams({ client_id: id })}`;
}
