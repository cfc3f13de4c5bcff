/** Starting over and removing many dead tasks: call after call, until none is left or enough are done. */

import type { Static } from "@sinclair/typebox";
import { RemovedView, ReplayedView } from "./admin-views.ts";
import type { ApiClient } from "./api-client.ts";
import type { CliHost } from "./host.ts";
import { given } from "./input.ts";
import { progressLine } from "./progress.ts";
import type { ApiOptions } from "./server-options.ts";

export interface BulkOptions extends ApiOptions {
  readonly queue?: string;
  readonly client?: string;
  readonly from?: string;
  readonly to?: string;
  readonly rate?: number;
  readonly limit?: number;
}

/** Tasks of one call: few enough that it is answered soon and that progress is seen. */
const TASKS_A_CALL = 1_000;

export async function replayDead(
  host: CliHost,
  api: ApiClient,
  ids: readonly string[],
  options: BulkOptions,
): Promise<{ readonly replayed: number }> {
  const request = { ...requestOf(ids, options), ...given({ rate_per_sec: options.rate }) };
  const replayed = await inSteps(host, "replayed", options.limit, async (step) => {
    const answer: Static<typeof ReplayedView> = await api.ask("POST", "/admin/dead/replay", ReplayedView, {
      ...request,
      ...step,
    });
    return { done: answer.replayed, nextCursor: answer.next_cursor };
  });
  return { replayed };
}

export async function purgeDead(
  host: CliHost,
  api: ApiClient,
  ids: readonly string[],
  options: BulkOptions,
): Promise<{ readonly removed: number }> {
  const request = requestOf(ids, options);
  const removed = await inSteps(host, "removed", options.limit, async (step) => {
    const answer: Static<typeof RemovedView> = await api.ask("POST", "/admin/dead/purge", RemovedView, {
      ...request,
      ...step,
    });
    return { done: answer.removed, nextCursor: answer.next_cursor };
  });
  return { removed };
}

interface Step {
  readonly limit: number;
  readonly cursor?: string;
}

interface StepAnswer {
  readonly done: number;
  readonly nextCursor: string | null | undefined;
}

/** Repeats a call until nothing follows or `limit` are done; resolves to how many were. */
async function inSteps(
  host: CliHost,
  done: string,
  limit: number | undefined,
  call: (step: Step) => Promise<StepAnswer>,
): Promise<number> {
  const most = limit ?? Number.POSITIVE_INFINITY;
  const progress = progressLine(host);
  let total = 0;
  let cursor: string | undefined;
  try {
    do {
      const answer = await call({
        limit: Math.min(TASKS_A_CALL, most - total),
        ...given({ cursor }),
      });
      total += answer.done;
      cursor = answer.nextCursor ?? undefined;
      progress.show(`${done} ${total}`);
    } while (cursor !== undefined && total < most);
    return total;
  } catch (error) {
    // What was done stays done: whoever repeats the command wants to know how much that is.
    progress.clear();
    if (total > 0) host.stderr.write(`${done} ${total} before it failed\n`);
    throw error;
  } finally {
    progress.clear();
  }
}

function requestOf(ids: readonly string[], { queue, client, from, to }: BulkOptions) {
  const filter = given({ client_id: client, from, to, ids: ids.length === 0 ? undefined : ids });
  return given({ queue, filter: Object.keys(filter).length === 0 ? undefined : filter });
}
