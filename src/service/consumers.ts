/** Who may lease from which queue, and under which name: a pull queue holds the tasks of all clients, so it is not open to each. */

import { TaskRunnerError } from "../core/errors.ts";
import type { SettingsStore } from "../core/store.ts";

/** Who leases: the client whose key he holds, or null for one to whom every queue is open. */
export type ConsumerOf = string | null;

/** Begins the names under which consumers hold leases. No worker's does: a host name has no colon. */
const CONSUMER = "pull:";

/** The name for a consumer's leases and attempts. Clients' are named after the client: none can take another's. */
export function consumerName(by: ConsumerOf, given: string | undefined): string {
  if (by === null) return `${CONSUMER}${given ?? "consumer"}`;
  return given === undefined ? `${CONSUMER}${by}` : `${CONSUMER}${by}/${given}`;
}

/** Whether a lease of this holder is a consumer's, not a worker's. */
export function isConsumer(holder: string): boolean {
  return holder.startsWith(CONSUMER);
}

/** Which queues are open to a consumer: all, or those that his client's list names. Rejects as the store does. */
export async function openQueues(
  store: Pick<SettingsStore, "read">,
  by: ConsumerOf,
): Promise<(queue: string) => boolean> {
  if (by === null) return () => true;
  const allowed = (await store.read("client", by))?.value.allowedQueues ?? [];
  return (queue) => allowed.includes(queue);
}

/**
 * Resolves when the consumer may lease from the queue now. Rejects with `forbidden`, `client_disabled`,
 * `queue_not_found`, `conflict` for a queue that workers take from, or as the store does.
 */
export async function admitConsumer(
  store: Pick<SettingsStore, "read">,
  by: ConsumerOf,
  queue: string,
): Promise<void> {
  const [client, kept] = await Promise.all([
    by === null ? null : store.read("client", by),
    store.read("queue", queue),
  ]);
  if (by !== null && !client?.value.allowedQueues?.includes(queue)) {
    throw new TaskRunnerError(
      "forbidden",
      `Client "${by}" may not lease from "${queue}": its allowed_queues have to name the queue, for it holds the tasks of others too.`,
    );
  }
  if (client?.value.enabled === false) {
    throw new TaskRunnerError(
      "client_disabled",
      `Client "${by}" is disabled. POST /admin/clients/set with "enabled": true lets it go on.`,
    );
  }
  if (kept === null) {
    throw new TaskRunnerError(
      "queue_not_found",
      `There is no queue ${JSON.stringify(queue)}. POST /admin/queues/set with "mode": "pull" makes it.`,
    );
  }
  if (kept.value.mode !== "pull") {
    throw new TaskRunnerError(
      "conflict",
      `Workers take the tasks of "${queue}". POST /admin/queues/set with "mode": "pull" leaves them to consumers.`,
    );
  }
}
