/** A client as a person reads it. */

import type { ClientView } from "./admin-views.ts";
import type { CliHost } from "./host.ts";
import { factLines, limitText, table, usedText } from "./output.ts";
import { plain } from "./plain.ts";
import { secretTable } from "./signing-secrets.ts";

export const CLIENT_COLUMNS = ["CLIENT", "TIER", "ENABLED", "LAST MINUTE", "RUNNING", "KEYS"];

/** The row of a client in a listing; the head is {@link CLIENT_COLUMNS}. */
export function clientRow(client: ClientView): string[] {
  return [
    plain(client.client_id),
    plain(client.tier),
    client.enabled ? "yes" : "no",
    usedText(client.requests_last_minute, client.limits.requests_per_minute),
    usedText(client.running, client.limits.max_concurrent),
    String(client.keys.length),
  ];
}

/** Everything there is to say of one client, for a person. */
export function clientDetails(host: CliHost, client: ClientView): string {
  const { requests_per_minute: requests, max_concurrent: concurrent } = client.limits;
  const own = (name: keyof ClientView["limits"]) =>
    client.overrides[name] === undefined ? "" : ", its own limit";
  const listed = (names: readonly string[] | null | undefined) => plain(names?.join(", ") ?? "all");
  const facts = factLines(host, [
    ["client", plain(client.client_id)],
    ["tier", plain(client.tier)],
    ["enabled", client.enabled ? "yes" : "no: new tasks are refused, waiting ones held"],
    ["requests a minute", limitText(requests) + own("requests_per_minute")],
    ["running at once", limitText(concurrent) + own("max_concurrent")],
    ["last minute", usedText(client.requests_last_minute, requests)],
    ["running", usedText(client.running, concurrent)],
    ["queues", listed(client.allowed_queues)],
    ["hosts", listed(client.allowed_hosts)],
    ["created", plain(client.created_at)],
  ]);
  const keys = client.keys.map(({ key_id, label, created_at }) => [
    plain(key_id),
    plain(label ?? "-"),
    plain(created_at),
  ]);
  const keyTable = keys.length === 0 ? "" : `\n${table(host, ["KEY", "LABEL", "CREATED"], keys)}`;
  return facts + keyTable + secretTable(host, client.signing);
}
