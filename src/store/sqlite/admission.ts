/** Who may come in: of each task that arrives, whether its client and its queue take it now. */

import { type Client, isRestricted } from "../../core/client.ts";
import { RATE_WINDOW_MS, type RateWindow, requestsIn, roomAfterMs } from "../../core/rate-window.ts";
import type { EnqueueResult, RateState } from "../../core/store.ts";
import type { NewTask } from "../../core/task.ts";
import type { RuleSet } from "./rules.ts";
import { type Windows, withRequests } from "./windows.ts";

/** A client of the call, as it stands so far. */
interface Standing {
  readonly client: Client;
  readonly revision: number | null;
  readonly tier: string;
  /** Requests a minute; null for no limit. */
  readonly limit: number | null;
  /** As it was before the call. */
  readonly window: RateWindow;
  /** Requests in it, and those of the call that were let in. */
  used: number;
  charged: number;
}

/** The admissions of one call: every client, queue and window is read once and written once. */
export class Admission {
  readonly #rules: RuleSet;
  readonly #windows: Windows;
  readonly #autoCreateQueues: boolean;
  readonly #nowMs: number;
  readonly #standings = new Map<string, Standing>();

  constructor(rules: RuleSet, windows: Windows, autoCreateQueues: boolean, nowMs: number) {
    this.#rules = rules;
    this.#windows = windows;
    this.#autoCreateQueues = autoCreateQueues;
    this.#nowMs = nowMs;
  }

  /** Why a task may not come in; null when it may, and then it is charged. */
  refusal(task: NewTask): EnqueueResult | null {
    const standing = this.#standing(task.clientId);
    const { client, revision, tier, limit } = standing;
    if (!client.enabled) return { kind: "refused", why: "client_disabled" };
    const queue = this.#rules.get("queue", task.queue);
    if (queue === null && !this.#autoCreateQueues) return { kind: "refused", why: "queue_not_found" };
    if (queue !== null && !queue.value.enabled) return { kind: "refused", why: "queue_disabled" };
    if (isRestricted(client) && task.clientRevision !== revision) return { kind: "unchecked" };
    if (limit === null) return null;
    if (standing.used >= limit) {
      const retryAfterMs = roomAfterMs(this.#windowOf(standing), limit, this.#nowMs);
      return { kind: "limited", tier, limit, retryAfterMs };
    }
    standing.used += 1;
    standing.charged += 1;
    return null;
  }

  /** Keeps what was charged; how each client of `tasks` that has a limit stands now. */
  finish(tasks: readonly NewTask[]): Map<string, RateState> {
    const rates = new Map<string, RateState>();
    for (const { clientId } of tasks) {
      if (rates.has(clientId)) continue;
      const standing = this.#standing(clientId);
      const { limit, used, charged } = standing;
      if (limit === null) continue;
      const window = this.#windowOf(standing);
      if (charged > 0) this.#windows.write(clientId, window);
      const last = window.at(-1);
      rates.set(clientId, {
        limit,
        remaining: Math.max(0, limit - used),
        resetMs: last === undefined ? 0 : last[1] + RATE_WINDOW_MS - this.#nowMs,
      });
    }
    return rates;
  }

  #windowOf({ window, charged }: Standing): RateWindow {
    return charged === 0 ? window : withRequests(window, charged, this.#nowMs);
  }

  #standing(id: string): Standing {
    const known = this.#standings.get(id);
    if (known !== undefined) return known;
    const client = this.#rules.client(id);
    const { tier, requestsPerMinute: limit } = this.#rules.limits(client);
    const window = limit === null ? [] : this.#windows.read(id, this.#nowMs);
    const standing: Standing = {
      client,
      revision: this.#rules.get("client", id)?.revision ?? null,
      tier,
      limit,
      window,
      used: requestsIn(window),
      charged: 0,
    };
    this.#standings.set(id, standing);
    return standing;
  }
}
