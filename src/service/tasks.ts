/** The task service: everything that can be asked of tasks, whatever protocol the question came by. */

import type { Clock } from "../core/clock.ts";
import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { isTaskId } from "../core/id.ts";
import type {
  ChangeResult,
  Durability,
  EnqueueResult,
  ProducerStore,
  Reschedule,
  TaskFilter,
  TaskPage,
} from "../core/store.ts";
import type { NewTask, Target, Task } from "../core/task.ts";
import type { TargetProblem } from "../core/transport.ts";
import { EnqueueGroup, GROUP_LIMITS, type GroupLimits } from "./enqueue-group.ts";
import type { EnqueueRequest, RescheduleRequest } from "./enqueue-request.ts";
import { buildTask, invalid, plannedAtMs, type RequestContext } from "./new-task.ts";
import { PrivateTargets } from "./private-targets.ts";

/** What the service asks of the transports. */
export interface TargetChecks {
  check(target: Target): readonly TargetProblem[];
}

export interface TaskServiceOptions {
  readonly store: ProducerStore;
  readonly transports: TargetChecks;
  readonly clock: Pick<Clock, "now">;
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
}

/** A host that nothing can have against it; it is never called. */
const PUBLIC_HOST = "example.com";

/** A task that was kept, or found to be there already. */
export interface Accepted {
  readonly queue: string;
  readonly result: EnqueueResult;
  readonly durability: Durability;
}

/** Accepts tasks and looks after them. Holds no state beyond what waits to be stored. */
export class TaskService {
  readonly #options: TaskServiceOptions;
  readonly #group: EnqueueGroup;
  readonly #privateTargets: PrivateTargets;

  constructor(options: TaskServiceOptions) {
    this.#options = options;
    this.#group = new EnqueueGroup(options.store, options.groupLimits ?? GROUP_LIMITS);
    this.#privateTargets = new PrivateTargets(options.store, options.clock);
  }

  /**
   * Keeps one task. Rejects with `validation_failed`, `payload_too_large`, `target_forbidden` or
   * `overloaded`, or as the store does; then nothing was kept.
   */
  async enqueue(request: EnqueueRequest, context: RequestContext): Promise<Accepted> {
    let task = this.#build(request, context);
    if (task instanceof Promise) task = await task;
    if (task instanceof TaskRunnerError) throw task;
    const { results, durability } = await this.#group.add([task]);
    return { queue: task.queue, result: resultAt(results, 0), durability };
  }

  /**
   * Keeps many tasks, each admitted on its own: one result per item, in order, an error where it was
   * refused. An item that was refused before it came here is passed in as its error. Rejects only when
   * the store kept none of those that were fit to be kept.
   */
  async enqueueBatch(
    items: readonly (EnqueueRequest | TaskRunnerError)[],
    context: RequestContext,
  ): Promise<readonly (Accepted | TaskRunnerError)[]> {
    const built = await Promise.all(
      items.map((item, index) =>
        item instanceof TaskRunnerError ? item : this.#build(item, itemContext(context, index)),
      ),
    );
    const tasks = built.filter((task): task is NewTask => !(task instanceof TaskRunnerError));
    const kept = (await this.#keep(tasks)).values();
    return built.map((task) => (task instanceof TaskRunnerError ? task : nextOf(kept)));
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
    const scheduledAtMs = plannedAtMs(request, this.#options.clock.now(), problems);
    if (problems.length > 0) throw invalid(problems);
    if (!isTaskId(id)) return { kind: "not_found" };
    const change: Reschedule = {
      ...(scheduledAtMs !== null && { scheduledAtMs }),
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
    const { clock, newId, maxPayloadBytes, transports } = this.#options;
    const nowMs = clock.now();
    const task = buildTask(newId(nowMs), request, context, nowMs, maxPayloadBytes);
    if (task instanceof TaskRunnerError) return task;
    const problems = transports.check(task.target);
    if (problems.length === 0) return task;
    const refused = refusal(problems);
    if (this.#options.privateTargets === "check" || !this.#hostIsAtFault(task.target)) return refused;
    return this.#privateTargets.allowed().then((allowed) => (allowed ? task : refused));
  }

  /** Whether a refused target would be taken if only its host were a public one. */
  #hostIsAtFault(target: Target): boolean {
    const url = URL.parse(target.url);
    if (url === null) return false;
    url.hostname = PUBLIC_HOST;
    return this.#options.transports.check({ ...target, url: url.href }).length === 0;
  }

  /** One answer per task, in order; an error for those in a call of the store that failed. */
  async #keep(tasks: readonly NewTask[]): Promise<readonly (Accepted | TaskRunnerError)[]> {
    const chunks = this.#group.chunked(tasks);
    const answers = await Promise.allSettled(chunks.map((chunk) => this.#group.add(chunk)));
    const failed = answers.filter((answer) => answer.status === "rejected");
    const unexpected = failed.find(({ reason }) => !(reason instanceof TaskRunnerError));
    if (unexpected !== undefined) throw unexpected.reason;
    const first = failed[0];
    if (first !== undefined && failed.length === chunks.length) throw first.reason;
    return answers.flatMap((answer, index): readonly (Accepted | TaskRunnerError)[] => {
      const chunk = chunks[index] ?? [];
      if (answer.status === "rejected") return chunk.map(() => answer.reason as TaskRunnerError);
      const { results, durability } = answer.value;
      return chunk.map(({ queue }, at) => ({ queue, result: resultAt(results, at), durability }));
    });
  }
}

/** Each item of a batch has a key of its own, made so that repeating the batch finds the same tasks. */
function itemContext(context: RequestContext, index: number): RequestContext {
  if (context.idempotencyKey === null) return context;
  return { ...context, idempotencyKey: `${context.idempotencyKey}:${index}` };
}

function refusal(problems: readonly TargetProblem[]): TaskRunnerError {
  const fields = problems.map(({ path, message }) => ({ path: targetPath(path), message }));
  // What is malformed is to be put right first, whatever else is forbidden.
  if (!problems.every((problem) => problem.forbidden)) return invalid(fields);
  return new TaskRunnerError(
    "target_forbidden",
    `The task's target is not allowed: ${fields.map(({ path, message }) => `${path} ${message}`).join("; ")}`,
    { fields },
  );
}

/** A transport knows a target's fields, not where in a request they stood. */
function targetPath(path: string): string {
  return path.startsWith("task.") ? path : `task.${path}`;
}

function resultAt(results: readonly EnqueueResult[], index: number): EnqueueResult {
  const result = results[index];
  if (result === undefined) throw new Error("the store gave fewer results than it was handed tasks");
  return result;
}

function nextOf<T>(values: IterableIterator<T>): T {
  const next = values.next();
  if (next.done) throw new Error("fewer tasks were answered than were kept");
  return next.value;
}
