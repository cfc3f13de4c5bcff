/** The rules of a queue that can only be judged as a whole, or by asking: its retries, and what it calls instead. */

import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { REPORTS_QUEUE } from "../core/follow-ups.ts";
import type { DeadTarget, Queue, TargetOverride } from "../core/queue.ts";
import { defaultRetryPolicy } from "../core/retry.ts";
import type { Target } from "../core/task.ts";
import type { TargetProblem } from "../core/transport.ts";
import { invalid } from "./new-task.ts";
import { plainRules, retryOf } from "./queue-json.ts";
import type { QueueSetRequest, RulesJson } from "./queue-settings.ts";
import { buildTarget } from "./target.ts";
import type { TargetPolicy } from "./target-policy.ts";

/** Stands for the tasks' own URL where only the method or the headers are replaced. */
const ANY_URL = "https://example.com/";
/** How many retries a worker allows does not matter here: only the default backoffs are looked at. */
const DEFAULT_RETRY = defaultRetryPolicy(0);

/** What a request changes of a queue. Rejects with `validation_failed` or `target_forbidden`, or as the store does. */
export async function queueChange(
  targets: Pick<TargetPolicy, "problemsOf">,
  request: QueueSetRequest,
): Promise<Partial<Queue>> {
  const problems: FieldProblem[] = [];
  const { queue, retry, target: given, dead_target: deadTarget } = request;
  if (retry !== undefined) checkRetry(retry, problems);
  const target = given === undefined || given === null ? null : override(given, problems);
  const dead =
    deadTarget === undefined || deadTarget === null ? null : deadTargetOf(queue, deadTarget, problems);
  if (queue === REPORTS_QUEUE && request.mode === "pull") {
    problems.push({
      path: "mode",
      message: `must be push: the reports in "${REPORTS_QUEUE}" are sent by workers`,
    });
  }
  if (problems.length > 0) throw invalid(problems);
  if (target !== null) {
    await check(targets, "target", { url: ANY_URL, method: "POST", headers: {}, body: null, ...target });
  }
  if (dead?.kind === "callback") {
    await check(targets, "dead_target", { url: dead.url, method: "POST", headers: {}, body: null });
  }
  return {
    ...plainRules(request),
    ...(retry !== undefined && { retry: retryOf(retry) }),
    ...(given !== undefined && { target }),
    ...(deadTarget !== undefined && { deadTarget: dead }),
  };
}

function checkRetry(retry: RulesJson["retry"], problems: FieldProblem[]): void {
  const minSec = retry.min_backoff_sec ?? DEFAULT_RETRY.minBackoffMs / 1_000;
  const maxSec = retry.max_backoff_sec ?? DEFAULT_RETRY.maxBackoffMs / 1_000;
  if (minSec <= maxSec) return;
  const field = retry.min_backoff_sec === undefined ? "max_backoff_sec" : "min_backoff_sec";
  problems.push({
    path: `retry.${field}`,
    message: `min_backoff_sec (${minSec}) must be at most max_backoff_sec (${maxSec})`,
  });
}

/** What replaces something, by the rules of a task's own target; null for one that replaces nothing. */
function override(
  { url, method, headers }: NonNullable<RulesJson["target"]>,
  problems: FieldProblem[],
): TargetOverride | null {
  const built = builtTarget(
    {
      url: url ?? ANY_URL,
      ...(method !== undefined && { method }),
      ...(headers !== undefined && { headers }),
    },
    "target",
    problems,
  );
  const kept = {
    ...(url !== undefined && { url: built.url }),
    ...(method !== undefined && { method: built.method }),
    ...(Object.keys(built.headers).length > 0 && { headers: built.headers }),
  };
  return Object.keys(kept).length === 0 ? null : kept;
}

function deadTargetOf(
  of: string,
  { queue, url }: NonNullable<RulesJson["dead_target"]>,
  problems: FieldProblem[],
): DeadTarget {
  if (queue === of) problems.push({ path: "dead_target.queue", message: "must be another queue" });
  if (queue !== undefined) return { kind: "queue", queue };
  return { kind: "callback", url: builtTarget({ url: url ?? "" }, "dead_target", problems).url };
}

function builtTarget(
  request: Parameters<typeof buildTarget>[0],
  field: string,
  problems: FieldProblem[],
): Target {
  const found: FieldProblem[] = [];
  const target = buildTarget(request, found);
  problems.push(...found.map(({ path, message }) => ({ path: pathIn(field, path), message })));
  return target;
}

async function check(
  targets: Pick<TargetPolicy, "problemsOf">,
  field: string,
  target: Target,
): Promise<void> {
  const problems: readonly TargetProblem[] = await targets.problemsOf(target);
  if (problems.length === 0) return;
  const fields = problems.map(({ path, message }) => ({ path: pathIn(field, path), message }));
  if (!problems.every(({ forbidden }) => forbidden)) throw invalid(fields);
  throw new TaskRunnerError(
    "target_forbidden",
    `The queue's target is not allowed: ${fields.map(({ path, message }) => `${path} ${message}`).join("; ")}`,
    { fields },
  );
}

/** `task.url` is what the rest of the house calls a target's field; here it stands in another one. */
function pathIn(field: string, path: string): string {
  return `${field}.${path.replace(/^task\./, "")}`;
}
