/** What enqueue.lua answers, as the store tells it. */

import type { EnqueueAnswer, EnqueueResult, RateState } from "../../core/store.ts";
import type { NewTask } from "../../core/task.ts";

const REFUSALS = { cd: "client_disabled", qd: "queue_disabled", qn: "queue_not_found" } as const;
const ID_CHARS = 26;
/** Strings for each client with a limit: id, tier, limit, what is left, milliseconds until all is there again. */
const RATE_FIELDS = 5;

/** Takes a reply apart: the time, one string a task, then the clients with a limit. */
export function answerOf(
  tasks: readonly NewTask[],
  reply: readonly string[],
): Omit<EnqueueAnswer, "durability"> {
  const nowMs = Number(reply[0]);
  const rates = new Map<string, RateState>();
  const tiers = new Map<string, string>();
  for (let at = tasks.length + 1; at + RATE_FIELDS <= reply.length; at += RATE_FIELDS) {
    const [client = "", tier = "", limit, remaining, resetMs] = reply.slice(at, at + RATE_FIELDS);
    rates.set(client, { limit: Number(limit), remaining: Number(remaining), resetMs: Number(resetMs) });
    tiers.set(client, tier);
  }
  const results = tasks.map((task, index): EnqueueResult => {
    const answer = reply[index + 1] ?? "";
    if (answer === "r" || answer === "s") {
      return {
        kind: "created",
        id: task.id,
        state: answer === "s" ? "scheduled" : "ready",
        scheduledAtMs: task.scheduledAtMs ?? nowMs + (task.delayMs ?? 0),
      };
    }
    if (answer.length === ID_CHARS) return { kind: "duplicate", id: answer };
    if (answer.startsWith("l")) {
      return {
        kind: "limited",
        tier: tiers.get(task.clientId) ?? "",
        limit: rates.get(task.clientId)?.limit ?? 0,
        retryAfterMs: Number(answer.slice(1)),
      };
    }
    if (answer === "u") return { kind: "unchecked" };
    return { kind: "refused", why: REFUSALS[answer as keyof typeof REFUSALS] };
  });
  return { results, rates };
}
