/** Hands in tasks at a bounded rate and repeats what was not answered, by the rules that callers are told. */

import { until } from "../support/redis.ts";
import type { Acknowledged, Plan } from "./history.ts";
import {
  METERED_PER_MINUTE,
  NARROW_AT_ONCE,
  nameOf,
  ORDERING_KEYS,
  PACED_BURST,
  PACED_PER_SEC,
  Planner,
  THIN_AT_ONCE,
  taskBody,
} from "./plans.ts";
import type { Program } from "./program.ts";
import { wait } from "./shell.ts";
import type { Target } from "./target.ts";

const TICK_MS = 20;
/** Tasks on their way at once, those that wait to be repeated included; past it no new ones are begun. */
const MOST_ON_THEIR_WAY = 600;
/** An API that takes longer has not answered. It promises 503 within three seconds. */
const HUNG_MS = 4_000;
/** An API that did not answer is left alone for so long, as a load balancer would. */
const SHUN_MS = 2_000;
/** Repeated for so long; then whether it is there stays unknown. */
const GIVE_UP_MS = 90_000;
const BATCH = 25;
const BATCH_EVERY_MS = 1_500;
const MIN_REST_MS = 100;
const REST_SPREAD_MS = 300;

/** What one request came to. */
type Reply =
  | { readonly kind: "accepted"; readonly id: string }
  | { readonly kind: "limited" }
  | { readonly kind: "again"; readonly afterMs: number }
  | { readonly kind: "odd"; readonly what: string };

export interface LoadOptions {
  readonly apis: readonly Program[];
  readonly target: Target;
  readonly random: () => number;
  readonly perSec: number;
}

export class Load {
  readonly acknowledged: Acknowledged[] = [];
  readonly unknown: Plan[] = [];
  readonly odd: string[] = [];
  limited = 0;
  longestAnswerMs = 0;
  readonly #options: LoadOptions;
  readonly #planner: Planner;
  readonly #shunnedUntilMs = new Map<Program, number>();
  readonly #underWay = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#planner = new Planner(options.random, options.perSec);
  }

  /** Sets the limits and begins. */
  async start(): Promise<void> {
    await until("the limits are set", 30_000, () => this.#setLimits());
    this.#track(this.#tick());
    this.#track(this.#batches());
    for (const key of ORDERING_KEYS) this.#track(this.#inOrder(key));
  }

  /** Begins no more tasks, and resolves when what was begun is answered or given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    while (this.#underWay.size > 0) await Promise.all([...this.#underWay]);
  }

  /** Acknowledgements of tasks that were asked for the first time after a moment. */
  firstAcknowledgedAfter(sinceMs: number): number | null {
    for (let at = this.acknowledged.length - 1, found: number | null = null; ; at--) {
      const one = this.acknowledged[at];
      if (one === undefined || one.ackedMs < sinceMs) return found;
      if (one.firstSentMs >= sinceMs) found = one.ackedMs;
    }
  }

  async #setLimits(): Promise<true> {
    const [api] = this.#options.apis;
    const post = async (path: string, body: object) => {
      const answer = await fetch(`http://${api?.host}:${api?.port}${path}`, request(body));
      if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    };
    await post("/admin/tiers/set", { tier: "free", requests_per_minute: null, max_concurrent: null });
    await post("/admin/clients/set", {
      client_id: "narrow",
      overrides: { max_concurrent: NARROW_AT_ONCE },
    });
    await post("/admin/clients/set", {
      client_id: "metered",
      overrides: { requests_per_minute: METERED_PER_MINUTE },
    });
    await post("/admin/queues/set", { queue: "thin", max_concurrent: THIN_AT_ONCE });
    await post("/admin/queues/set", {
      queue: "paced",
      max_dispatches_per_sec: PACED_PER_SEC,
      max_burst: PACED_BURST,
    });
    return true;
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  async #tick(): Promise<void> {
    let owed = 0;
    let lastMs = performance.now();
    while (!this.#stopped) {
      await wait(TICK_MS);
      const now = performance.now();
      // What could not be handed in is not made up for in one rush.
      owed = Math.min(owed + ((now - lastMs) * this.#options.perSec) / 1_000, this.#options.perSec / 4);
      lastMs = now;
      for (; owed >= 1 && this.#underWay.size < MOST_ON_THEIR_WAY; owed--) {
        this.#track(this.#handIn([this.#planner.next()], "one"));
      }
    }
  }

  async #batches(): Promise<void> {
    while (!this.#stopped) {
      await wait(BATCH_EVERY_MS);
      if (this.#stopped || this.#underWay.size >= MOST_ON_THEIR_WAY) continue;
      const plans = Array.from({ length: BATCH }, () => ({ ...this.#planner.of("batch"), named: true }));
      this.#track(this.#handIn(plans, "batch"));
    }
  }

  /** One task after another, each begun once the one before is known to be there. */
  async #inOrder(key: string): Promise<void> {
    for (let place = 0; !this.#stopped; place++) {
      const before = this.unknown.length;
      await this.#handIn([this.#planner.of("ordered", key, place)], "one");
      // What follows one of which it is not known whether it is there has no place in the order.
      if (this.unknown.slice(before).some((plan) => plan.key === key)) return;
      await wait(MIN_REST_MS + this.#options.random() * REST_SPREAD_MS);
    }
  }

  /** Sends until each is acknowledged or refused for good. */
  async #handIn(plans: readonly Plan[], how: "one" | "batch"): Promise<void> {
    const firstSentMs = Date.now();
    let left = plans;
    for (let tries = 1; left.length > 0; tries++) {
      if (Date.now() - firstSentMs > GIVE_UP_MS) {
        this.unknown.push(...left);
        return;
      }
      const sentMs = Date.now();
      const replies = await this.#send(left, how);
      const ackedMs = Date.now();
      const again: Plan[] = [];
      let afterMs = 0;
      for (const [index, plan] of left.entries()) {
        const reply = replies[index] ?? { kind: "odd", what: "a batch had too few results" };
        if (reply.kind === "accepted") {
          this.acknowledged.push({ plan, id: reply.id, firstSentMs, sentMs, ackedMs, tries });
        } else if (reply.kind === "again") {
          again.push(plan);
          afterMs = Math.max(afterMs, reply.afterMs);
        } else if (reply.kind === "limited" && plan.kind === "metered") this.limited++;
        else
          this.odd.push(
            reply.kind === "odd" ? reply.what : `${plan.kind} task ${plan.n} was refused by a limit`,
          );
      }
      left = again;
      if (left.length > 0) await wait(afterMs);
    }
  }

  async #send(plans: readonly Plan[], how: "one" | "batch"): Promise<readonly Reply[]> {
    const api = this.#door();
    const sentMs = performance.now();
    const bodies = plans.map((plan) => taskBody(plan, this.#options.target));
    const [plan] = plans;
    const init =
      how === "batch"
        ? request({ tasks: bodies })
        : request(bodies[0] ?? {}, plan === undefined || plan.named ? undefined : nameOf(plan));
    let answer: { status: number; retryAfterMs: number; body: Answered | null };
    try {
      const path = how === "batch" ? "/v1/enqueue/batch" : "/v1/enqueue";
      const response = await fetch(`http://${api.host}:${api.port}${path}`, init);
      // Bun reads null where there is no body.
      const body = (await response.json()) as Answered | null;
      const retryAfterMs = Number(response.headers.get("retry-after") ?? Number.NaN) * 1_000;
      answer = { status: response.status, retryAfterMs, body };
    } catch {
      this.#shunnedUntilMs.set(api, Date.now() + SHUN_MS);
      return plans.map(() => ({ kind: "again", afterMs: MIN_REST_MS }));
    }
    this.longestAnswerMs = Math.max(this.longestAnswerMs, performance.now() - sentMs);
    return how === "batch" && answer.status === 202
      ? (answer.body?.results ?? []).map((result) =>
          replyOf(result.status === "rejected" ? 0 : 202, 1_000, result),
        )
      : plans.map(() => replyOf(answer.status, answer.retryAfterMs, answer.body));
  }

  /** Any API that answered lately, else any at all. */
  #door(): Program {
    const now = Date.now();
    const all = this.#options.apis;
    const open = all.filter((api) => (this.#shunnedUntilMs.get(api) ?? 0) <= now);
    const among = open.length > 0 ? open : all;
    const chosen = among[Math.floor(Math.random() * among.length)];
    if (chosen === undefined) throw new Error("there is no API");
    return chosen;
  }
}

interface Answered {
  readonly status?: string | number;
  readonly task_id?: string;
  readonly code?: string;
  readonly results?: readonly Answered[];
}

/** `status` 0 stands for an item of a batch that was rejected. */
function replyOf(status: number, retryAfterMs: number, body: Answered | null): Reply {
  if (body === null) return { kind: "odd", what: `${status} without a body` };
  if ((status === 202 || status === 200) && body.task_id !== undefined) {
    return { kind: "accepted", id: body.task_id };
  }
  if (body.code === "rate_limited") return { kind: "limited" };
  const comesBack = ["store_unavailable", "durability_unavailable", "store_full", "overloaded"];
  if ((status === 503 || status === 0) && comesBack.includes(body.code ?? "") && retryAfterMs > 0) {
    return { kind: "again", afterMs: retryAfterMs };
  }
  return { kind: "odd", what: `${status} ${JSON.stringify(body)}` };
}

function request(body: object, key?: string): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...(key !== undefined && { "idempotency-key": key }) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(HUNG_MS),
  };
}
