/** Hands tasks to the store and reads its decision on each: kept, there already, or refused for a reason to be told. */

import { TaskRunnerError } from "../core/errors.ts";
import type { Durability, EnqueueAnswer, EnqueueResult, RateState } from "../core/store.ts";
import type { NewTask } from "../core/task.ts";
import type { Admission } from "./admission.ts";
import type { EnqueueGroup } from "./enqueue-group.ts";

/** A task that was kept, or found to be there already. */
export interface Accepted {
  readonly queue: string;
  readonly result: Extract<EnqueueResult, { readonly kind: "created" | "duplicate" }>;
  readonly durability: Durability;
  /** How its client stands; null for one without a limit. */
  readonly rate: RateState | null;
}

export interface Decisions {
  /** One per task, in order. */
  readonly results: readonly (Accepted | TaskRunnerError)[];
  /** How each client with a limit stands now, by its id. */
  readonly rates: ReadonlyMap<string, RateState>;
}

/** What is told of tasks that are handed over, to whoever traces them. */
export interface Sendings {
  /** Begins with one; its `task` is the one to keep. */
  send(task: NewTask): {
    readonly task: NewTask;
    kept(duplicateOf: string | null): void;
    refused(error: unknown): void;
  };
}

/** A task whose lists change faster than it can be held against them is given back after so many checks. */
const MAX_CHECKS = 3;

/** What a store is asked and answered on the way of tasks into it. */
export class Handover {
  readonly #group: EnqueueGroup;
  readonly #admission: Admission;
  readonly #sendings: Sendings | null;

  /** `sendings` null: nothing is traced. */
  constructor(group: EnqueueGroup, admission: Admission, sendings: Sendings | null = null) {
    this.#group = group;
    this.#admission = admission;
    this.#sendings = sendings;
  }

  /** Rejects with why the task was not kept. */
  one(task: NewTask): Promise<Accepted> {
    return this.#sendings === null ? this.#one(task) : this.#oneTraced(task, this.#sendings);
  }

  async #oneTraced(task: NewTask, sendings: Sendings): Promise<Accepted> {
    const sending = sendings.send(task);
    try {
      const accepted = await this.#one(sending.task);
      sending.kept(duplicateOf(accepted));
      return accepted;
    } catch (thrown) {
      sending.refused(thrown);
      throw thrown;
    }
  }

  async #one(task: NewTask): Promise<Accepted> {
    if (this.#admission.concerns(task.clientId)) return this.#oneChecked(task, false);
    const answer = await this.#group.add([task]);
    const decided = decisionOn(task, resultAt(answer, 0), answer);
    if (decided === null) return this.#oneChecked(task, true);
    if (decided instanceof TaskRunnerError) throw decided;
    return decided;
  }

  /**
   * Decides on each by itself. Rejects only when the store could take none of them; an error of the store that met
   * some is theirs.
   */
  many(tasks: readonly NewTask[]): Promise<Decisions> {
    return this.#sendings === null ? this.#many(tasks, false) : this.#manyTraced(tasks, this.#sendings);
  }

  async #manyTraced(tasks: readonly NewTask[], sendings: Sendings): Promise<Decisions> {
    const sent = tasks.map((task) => sendings.send(task));
    try {
      const decisions = await this.#many(
        sent.map(({ task }) => task),
        false,
      );
      for (const [index, sending] of sent.entries()) {
        const decided = decisions.results[index] ?? CHANGING;
        if (decided instanceof TaskRunnerError) sending.refused(decided);
        else sending.kept(duplicateOf(decided));
      }
      return decisions;
    } catch (thrown) {
      for (const sending of sent) sending.refused(thrown);
      throw thrown;
    }
  }

  /** With `anew` it begins by reading the lists of the tasks' clients. */
  async #many(tasks: readonly NewTask[], anew: boolean): Promise<Decisions> {
    const results: (Accepted | TaskRunnerError)[] = tasks.map(() => CHANGING);
    const rates = new Map<string, RateState>();
    let left: readonly Numbered[] = tasks.map((task, at) => ({ task, at }));
    const firstCheck = anew ? 1 : 0;
    for (let checks = firstCheck; left.length > 0 && checks <= MAX_CHECKS; checks++) {
      const isFirst = checks === firstCheck;
      const fit: Numbered[] = [];
      const checked = await this.#checked(left, checks > 0, isFirst);
      for (const [index, { at }] of left.entries()) {
        const task = checked[index] ?? CHANGING;
        if (task instanceof TaskRunnerError) results[at] = task;
        else fit.push({ task, at });
      }
      left = await this.#handIn(fit, results, rates, isFirst);
    }
    return { results, rates };
  }

  /** Once some may be kept, an error of the store is told of those that are left alone. */
  async #checked(left: readonly Numbered[], anew: boolean, mayReject: boolean) {
    const tasks = left.map(({ task }) => task);
    try {
      return await this.#admission.check(tasks, anew);
    } catch (thrown) {
      if (mayReject || !(thrown instanceof TaskRunnerError)) throw thrown;
      return tasks.map(() => thrown);
    }
  }

  async #oneChecked(task: NewTask, anew: boolean): Promise<Accepted> {
    const { results } = await this.#many([task], anew);
    const [decided = CHANGING] = results;
    if (decided instanceof TaskRunnerError) throw decided;
    return decided;
  }

  /** Puts the decisions into `results` and `rates`; returns those that have to be checked first. */
  async #handIn(
    numbered: readonly Numbered[],
    results: (Accepted | TaskRunnerError)[],
    rates: Map<string, RateState>,
    mayReject: boolean,
  ): Promise<readonly Numbered[]> {
    const chunks = this.#group.chunked(numbered.map(({ task }) => task));
    const answers = await Promise.allSettled(chunks.map((chunk) => this.#group.add(chunk)));
    throwUnlessPartial(answers, mayReject);
    const unchecked: Numbered[] = [];
    const next = numbered.values();
    for (const [index, answer] of answers.entries()) {
      for (const at of (chunks[index] ?? []).keys()) {
        const one = nextOf(next);
        const decided =
          answer.status === "rejected"
            ? (answer.reason as TaskRunnerError)
            : decisionOn(one.task, resultAt(answer.value, at), answer.value);
        if (decided === null) unchecked.push(one);
        else results[one.at] = decided;
      }
      // They are calls in this order, so that the last one knows best.
      if (answer.status === "fulfilled") for (const [id, rate] of answer.value.rates) rates.set(id, rate);
    }
    return unchecked;
  }
}

/** The task that was there already; null where there was none. */
function duplicateOf({ result }: Accepted): string | null {
  return result.kind === "duplicate" ? result.id : null;
}

interface Numbered {
  readonly task: NewTask;
  /** Its place among all. */
  readonly at: number;
}

const CHANGING = new TaskRunnerError(
  "overloaded",
  "The lists of what the client may use are being changed; try again shortly.",
  { retryAfterSec: 1 },
);

/** A programmer's error is thrown, and what all calls failed with. */
function throwUnlessPartial(answers: readonly PromiseSettledResult<unknown>[], mayReject: boolean): void {
  const failed = answers.filter((answer) => answer.status === "rejected");
  const unexpected = failed.find(({ reason }) => !(reason instanceof TaskRunnerError));
  if (unexpected !== undefined) throw unexpected.reason;
  const [first] = failed;
  if (mayReject && first !== undefined && failed.length === answers.length) throw first.reason;
}

/** Null for a task that has to be held against its client's lists first. */
function decisionOn(
  { clientId, queue }: NewTask,
  result: EnqueueResult,
  { durability, rates }: EnqueueAnswer,
): Accepted | TaskRunnerError | null {
  switch (result.kind) {
    case "created":
    case "duplicate":
      return { queue, result, durability, rate: rates.get(clientId) ?? null };
    case "limited":
      return rateLimited(clientId, result, rates.get(clientId));
    case "refused":
      return refusal(result.why, clientId, queue);
    case "unchecked":
      return null;
  }
}

function rateLimited(
  clientId: string,
  { tier, limit, retryAfterMs }: Extract<EnqueueResult, { readonly kind: "limited" }>,
  rate: RateState = { limit, remaining: 0, resetMs: retryAfterMs },
): TaskRunnerError {
  const retryAfterSec = Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return new TaskRunnerError(
    "rate_limited",
    `Client "${clientId}" of tier "${tier}" may hand in ${limit} tasks in any minute and has done so; there is room ` +
      `again in ${retryAfterSec} s. To raise the limit, give it another tier or a limit of its own with ` +
      "POST /admin/clients/set.",
    { retryAfterSec, rate },
  );
}

function refusal(
  why: Extract<EnqueueResult, { readonly kind: "refused" }>["why"],
  clientId: string,
  queue: string,
): TaskRunnerError {
  switch (why) {
    case "client_disabled":
      return new TaskRunnerError(
        why,
        `Client "${clientId}" is disabled. POST /admin/clients/set with "enabled": true lets it go on.`,
      );
    case "queue_disabled":
      return new TaskRunnerError(
        why,
        `Queue "${queue}" is disabled. POST /admin/queues/set with "enabled": true opens it again.`,
      );
    case "queue_not_found":
      return new TaskRunnerError(
        why,
        `There is no queue "${queue}", and tasks make none here (QUEUE_AUTO_CREATE=false): POST /admin/queues/set makes it.`,
      );
  }
}

function resultAt({ results }: EnqueueAnswer, index: number): EnqueueResult {
  const result = results[index];
  if (result === undefined) throw new Error("the store gave fewer results than it was handed tasks");
  return result;
}

function nextOf<T>(values: IterableIterator<T>): T {
  const next = values.next();
  if (next.done) throw new Error("more tasks were answered than were handed in");
  return next.value;
}
