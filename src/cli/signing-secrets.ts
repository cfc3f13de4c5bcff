/** `clients secrets` and `queues secrets`: what deliveries are signed with, so that their targets can trust them. */

import type { Command } from "commander";
import { ClientView, NewSecretView, QueueView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { show, table } from "./output.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, withApiOptions } from "./server-options.ts";

/** Whose secrets they are. */
export type SecretOwners = "clients" | "queues";

const OWNERS = {
  clients: { field: "client_id", argument: "client", example: "shop", view: ClientView },
  queues: { field: "queue", argument: "queue", example: "mail", view: QueueView },
} as const;

export function addSecretsCommand(
  parent: Command,
  owners: SecretOwners,
  host: CliHost,
  ended: (exitCode: number) => void,
): void {
  const { field, argument, example, view } = OWNERS[owners];
  const secrets = parent
    .command("secrets")
    .description(`make and revoke the secrets that deliveries of a ${argument} are signed with`)
    .addHelpText(
      "after",
      `
At most two are in force, and every delivery is signed with each: make the new one, give it to whoever receives,
then revoke the old one. ${owners === "queues" ? "A queue's secrets stand in the place of its clients'." : "A queue's own secrets stand in the place of its clients'."}

Examples:
  task-runner ${owners} secrets create ${example}
  task-runner ${owners} secrets revoke ${example} 5f0c1a9e`,
    );
  withApiOptions(secrets.command("create"))
    .description("make a secret and print it; it cannot be read again")
    .argument(`<${argument}>`, `the ${argument}, made when it is not known`)
    .addHelpText(
      "after",
      `
Standard output is the secret and nothing else. The server needs SECRETS_KEY for it.

Examples:
  task-runner ${owners} secrets create ${example} > webhook.secret`,
    )
    .action(async (id: string, options: ApiOptions) => {
      const path = `/admin/${owners}/secrets/create`;
      const created = await adminApi(host, options).ask("POST", path, NewSecretView, { [field]: id });
      show(host, options, created, () => `${plain(created.secret)}\n`);
      if (!options.json) {
        host.stderr.write(
          `secret ${plain(created.secret_id)} of ${plain(id)}: keep it now, it is not shown again\n`,
        );
      }
      ended(EXIT.ok);
    });
  withApiOptions(secrets.command("revoke"))
    .description("sign with a secret no more")
    .argument(`<${argument}>`, `the ${argument}`)
    .argument("<secret>", `the secret's id, as \`${owners} get\` shows it`)
    .addHelpText("after", `\nExamples:\n  task-runner ${owners} secrets revoke ${example} 5f0c1a9e`)
    .action(async (id: string, secretId: string, options: ApiOptions) => {
      const path = `/admin/${owners}/secrets/revoke`;
      const owner = await adminApi(host, options).ask("POST", path, view, {
        [field]: id,
        secret_id: secretId,
      });
      show(
        host,
        options,
        owner,
        ({ signing }) => `${plain(secretId)}  revoked, secrets left: ${signing.length}\n`,
      );
      ended(EXIT.ok);
    });
}

/** The signing secrets of a client or a queue, below the rest of it; nothing where there are none. */
export function secretTable(host: CliHost, signing: ClientView["signing"]): string {
  const rows = signing.map(({ secret_id, created_at }) => [plain(secret_id), plain(created_at)]);
  return rows.length === 0 ? "" : `\n${table(host, ["SECRET", "CREATED"], rows)}`;
}
