/** The task service: everything that can be asked of tasks, whatever protocol the question came by. */

import type { Clock } from "../core/clock.ts";
import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { isTaskId } from "../core/id.ts";
import type {
  ChangeResult,
  ProducerStore,
  RateState,
  Reschedule,
  SettingsStore,
  TaskFilter,
  TaskPage,
} from "../core/store.ts";
import type { NewTask, Target, Task } from "../core/task.ts";
import type { TargetProblem } from "../core/transport.ts";
import { Admission } from "./admission.ts";
import { EnqueueGroup, GROUP_LIMITS, type GroupLimits } from "./enqueue-group.ts";
import type { EnqueueRequest, RescheduleRequest } from "./enqueue-request.ts";
import { type Accepted, Handover, type Sendings } from "./handover.ts";
import { buildTask, invalid, plannedFor, type RequestContext } from "./new-task.ts";
import { PullQueues } from "./pull-queues.ts";
import { NO_URL } from "./target.ts";
import { TargetPolicy } from "./target-policy.ts";

/** What the service asks of the transports. */
export interface TargetChecks {
  check(target: Target): readonly TargetProblem[];
}

export interface TaskServiceOptions {
  readonly store: ProducerStore & Pick<SettingsStore, "read">;
  readonly transports: TargetChecks;
  readonly clock: Pick<Clock, "now" | "monoMs">;
  /** Makes a task's id from the time in milliseconds since the epoch. */
  readonly newId: (nowMs: number) => string;
  /** The largest body of a task, in bytes. */
  readonly maxPayloadBytes: number;
  /**
   * `check`: the transport has the last word on a target. `ask-workers`: one whose host it forbids is let
   * through while a living worker says that it delivers to private addresses (that worker checks again).
   */
  readonly privateTargets: "check" | "ask-workers";
  readonly groupLimits?: GroupLimits;
  /** Nothing is traced without it. */
  readonly tracing?: Sendings | null;
}

/** What became of a batch. */
export interface AcceptedBatch {
  /** One per item, in order; an error where it was refused. */
  readonly results: readonly (Accepted | TaskRunnerError)[];
  /** How the client stands whose tasks these are; null where they are of several, or it has no limit. */
  readonly rate: RateState | null;
}

/** Accepts tasks and looks after them. Holds no state beyond what waits to be stored. */
export class TaskService {
  readonly #options: TaskServiceOptions;
  readonly #group: EnqueueGroup;
  readonly #handover: Handover;
  readonly #targets: TargetPolicy;
  readonly #pullQueues: PullQueues;

  constructor(options: TaskServiceOptions) {
    this.#options = options;
    this.#pullQueues = new PullQueues(options.store, options.clock);
    this.#group = new EnqueueGroup(options.store, options.groupLimits ?? GROUP_LIMITS, options.clock);
    this.#handover = new Handover(this.#group, new Admission(options.store), options.tracing ?? null);
    this.#targets = new TargetPolicy(options);
  }

  /** Throws `overloaded` while any task would be refused with it, so that a request need not be read for that. */
  throwWhenOverloaded(): void {
    const refusal = this.#group.overload(1, 0);
    if (refusal !== null) throw refusal;
  }

  /**
   * Keeps one task. Rejects with `validation_failed`, `payload_too_large`, `target_forbidden`, `overloaded`, what
   * its client or queue has against it (`rate_limited`, `client_disabled`, `forbidden`, `queue_disabled`,
   * `queue_not_found`), or as the store does; then nothing was kept.
   */
  async enqueue(request: EnqueueRequest, context: RequestContext): Promise<Accepted> {
    let task = this.#build(request, context);
    if (task instanceof Promise) task = await task;
    if (task instanceof TaskRunnerError) throw task;
    return this.#handover.one(task);
  }

  /**
   * Keeps many tasks, each admitted on its own. An item that was refused before it came here is passed in as its
   * error. Rejects only when the store could not take any of those that were fit to be kept.
   */
  async enqueueBatch(
    items: readonly (EnqueueRequest | TaskRunnerError)[],
    context: RequestContext,
  ): Promise<AcceptedBatch> {
    const built = await Promise.all(
      items.map((item, index) =>
        item instanceof TaskRunnerError ? item : this.#build(item, itemContext(context, index)),
      ),
    );
    const tasks = built.filter((task): task is NewTask => !(task instanceof TaskRunnerError));
    const { results, rates } = await this.#handover.many(tasks);
    const decided = results.values();
    const [client, ...others] = new Set(tasks.map(({ clientId }) => clientId));
    return {
      results: built.map((task) => (task instanceof TaskRunnerError ? task : nextOf(decided))),
      rate: client === undefined || others.length > 0 ? null : (rates.get(client) ?? null),
    };
  }

  /** Null when there is no such task, or no longer. */
  async get(id: string): Promise<Task | null> {
    return isTaskId(id) ? this.#options.store.get(id) : null;
  }

  list(filter: TaskFilter): Promise<TaskPage> {
    return this.#options.store.list(filter);
  }

  async cancel(id: string): Promise<ChangeResult> {
    return isTaskId(id) ? this.#options.store.cancel(id) : { kind: "not_found" };
  }

  /** Moves a waiting task to another time or priority. Rejects with `validation_failed`. */
  async reschedule(id: string, request: RescheduleRequest): Promise<ChangeResult> {
    const problems: FieldProblem[] = [];
    const planned = plannedFor(request, this.#options.clock.now(), problems);
    if (problems.length > 0) throw invalid(problems);
    if (!isTaskId(id)) return { kind: "not_found" };
    const change: Reschedule = {
      ...planned,
      ...(request.priority !== undefined && { priority: request.priority }),
    };
    return this.#options.store.reschedule(id, change);
  }

  /** Makes a waiting task due now. */
  async run(id: string): Promise<ChangeResult> {
    return isTaskId(id) ? this.#options.store.runNow(id) : { kind: "not_found" };
  }

  /** Starts a finished task over. */
  async replay(id: string): Promise<ChangeResult> {
    return isTaskId(id) ? this.#options.store.replay(id) : { kind: "not_found" };
  }

  /** Answers at once but for a target that only the workers can speak for: the usual way stays cheap. */
  #build(
    request: EnqueueRequest,
    context: RequestContext,
  ): NewTask | TaskRunnerError | Promise<NewTask | TaskRunnerError> {
    const { clock, newId, maxPayloadBytes } = this.#options;
    const nowMs = clock.now();
    const task = buildTask(newId(nowMs), request, context, nowMs, maxPayloadBytes);
    if (task instanceof TaskRunnerError) return task;
    // Nearly every task has a target and nothing else: it is spared what the others need.
    if (task.callbackUrl !== null || task.failureCallbackUrl !== null || task.target.url === NO_URL) {
      return this.#problemsOfAll(task).then((found) => unlessRefused(task, found));
    }
    const problems = this.#targets.problemsOf(task.target);
    if (problems instanceof Promise) return problems.then((found) => unlessRefused(task, found));
    return unlessRefused(task, problems);
  }

  /** What is wrong with a task's own target and with those of its reports. Rejects as the store does. */
  async #problemsOfAll(task: NewTask): Promise<readonly TargetProblem[]> {
    const { target, callbackUrl, failureCallbackUrl } = task;
    const found = await Promise.all([
      target.url === NO_URL ? this.#problemsWithoutUrl(task) : this.#targets.problemsOf(target),
      this.#problemsOfReport("callback_url", callbackUrl),
      this.#problemsOfReport("failure_callback_url", failureCallbackUrl),
    ]);
    return found.flat();
  }

  async #problemsWithoutUrl({ queue }: NewTask): Promise<readonly TargetProblem[]> {
    if (await this.#pullQueues.has(queue)) return [];
    const message = `is required: an absolute URL, e.g. https://example.com/hook (only a pull queue's tasks need none, and "${queue}" is none)`;
    return [{ path: "task.url", message, forbidden: false }];
  }

  async #problemsOfReport(path: string, url: string | null): Promise<readonly TargetProblem[]> {
    if (url === null) return [];
    const problems = await this.#targets.problemsOf({ url, method: "POST", headers: {}, body: null });
    return problems.map((problem) => ({ ...problem, path }));
  }
}

/** Each item of a batch has a key of its own, made so that repeating the batch finds the same tasks. */
function itemContext(context: RequestContext, index: number): RequestContext {
  if (context.idempotencyKey === null) return context;
  return { ...context, idempotencyKey: `${context.idempotencyKey}:${index}` };
}

function unlessRefused(task: NewTask, problems: readonly TargetProblem[]): NewTask | TaskRunnerError {
  return problems.length === 0 ? task : refusal(problems);
}

function refusal(problems: readonly TargetProblem[]): TaskRunnerError {
  const fields = problems.map(({ path, message }) => ({ path: requestPath(path), message }));
  // What is malformed is to be put right first, whatever else is forbidden.
  if (!problems.every((problem) => problem.forbidden)) return invalid(fields);
  return new TaskRunnerError(
    "target_forbidden",
    `The task's target is not allowed: ${fields.map(({ path, message }) => `${path} ${message}`).join("; ")}`,
    { fields },
  );
}

/** A transport knows a target's fields, not where in a request they stood. */
function requestPath(path: string): string {
  return path.startsWith("task.") || path.endsWith("callback_url") ? path : `task.${path}`;
}

function nextOf<T>(values: IterableIterator<T>): T {
  const next = values.next();
  if (next.done) throw new Error("fewer tasks were answered than were kept");
  return next.value;
}
