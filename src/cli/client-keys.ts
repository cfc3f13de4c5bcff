/** `clients keys`: the API keys by which clients prove who they are. */

import type { Command } from "commander";
import { ClientView, NewKeyView } from "./admin-views.ts";
import { type CliHost, EXIT } from "./host.ts";
import { show } from "./output.ts";
import { plain } from "./plain.ts";
import { type ApiOptions, adminApi, withApiOptions } from "./server-options.ts";

export function addClientKeysCommand(
  clients: Command,
  host: CliHost,
  ended: (exitCode: number) => void,
): void {
  const keys = clients
    .command("keys")
    .description("make and revoke the API keys of a client")
    .addHelpText(
      "after",
      `
Examples:
  task-runner clients keys create shop --label web
  task-runner clients keys revoke shop 5f0c1a9e`,
    );
  withApiOptions(keys.command("create"))
    .description("make a key and print it; it cannot be read again")
    .argument("<client>", "the client, made when it is not known")
    .option("--label <text>", "what the key is for, shown beside it")
    .addHelpText(
      "after",
      `
Standard output is the key and nothing else.

Examples:
  task-runner clients keys create shop --label web > shop.key
  TASK_RUNNER_API_KEY=$(task-runner clients keys create shop) task-runner enqueue https://example.com/hook --client shop`,
    )
    .action(async (id: string, options: ApiOptions & { label?: string }) => {
      const key = await adminApi(host, options).ask("POST", "/admin/clients/keys/create", NewKeyView, {
        client_id: id,
        ...(options.label === undefined ? {} : { label: options.label }),
      });
      show(host, options, key, () => `${plain(key.key)}\n`);
      if (!options.json) {
        host.stderr.write(`key ${plain(key.key_id)} of ${plain(id)}: keep it now, it is not shown again\n`);
      }
      ended(EXIT.ok);
    });
  withApiOptions(keys.command("revoke"))
    .description("make a key worthless at once")
    .argument("<client>", "the client")
    .argument("<key>", "the key's id, as `clients get` shows it")
    .addHelpText("after", "\nExamples:\n  task-runner clients keys revoke shop 5f0c1a9e")
    .action(async (id: string, keyId: string, options: ApiOptions) => {
      const client = await adminApi(host, options).ask("POST", "/admin/clients/keys/revoke", ClientView, {
        client_id: id,
        key_id: keyId,
      });
      show(
        host,
        options,
        client,
        ({ keys: left }) => `${plain(keyId)}  revoked, keys left: ${left.length}\n`,
      );
      ended(EXIT.ok);
    });
}
