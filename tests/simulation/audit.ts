/** Holds the whole store against the model: every task, every count, and what the store finds wrong with itself. */

import { inspectAll } from "../../src/core/inspection.ts";
import { MAX_PAGE, type TaskStore } from "../../src/core/store.ts";
import { TASK_STATES, type Task, type TaskState } from "../../src/core/task.ts";
import type { Shadow } from "./shadow.ts";
import type { ShadowTask } from "./shadow-task.ts";

/** What is wrong, all of it; nothing when the store is as the model has it. */
export async function auditOf(
  store: TaskStore,
  shadow: Shadow,
  names: { clients: readonly string[]; queues: readonly string[] },
): Promise<readonly string[]> {
  const problems: string[] = [];
  const { tasks } = await store.list({ limit: MAX_PAGE });
  const found = new Map(tasks.map((task) => [task.id, task]));
  for (const [id, expected] of shadow.tasks) {
    const task = found.get(id);
    if (task === undefined) problems.push(`${id} is lost: it should be ${expected.state}`);
    else problems.push(...differences(task, expected));
  }
  for (const { id, state } of tasks)
    if (!shadow.tasks.has(id)) problems.push(`${id} is ${state} and should be gone`);
  problems.push(...(await countProblems(store, tasks)));
  const clients = await store.clientUse(names.clients);
  for (const [at, id] of names.clients.entries()) {
    const running = shadow.limits.running("client", id);
    if (clients[at]?.running !== running)
      problems.push(`client ${id} is said to run ${clients[at]?.running} of ${running}`);
  }
  const queues = await store.queueUse(names.queues);
  for (const [at, id] of names.queues.entries()) {
    const running = shadow.limits.running("queue", id);
    if (queues[at]?.running !== running)
      problems.push(`queue ${id} is said to run ${queues[at]?.running} of ${running}`);
  }
  const { violations } = await inspectAll(store);
  for (const { kind, subject, detail } of violations)
    problems.push(`inspection: ${kind} ${subject}: ${detail}`);
  return problems;
}

/** The state as callers see it. */
function shownState({ state }: ShadowTask): TaskState {
  return state === "held" ? "ready" : state;
}

function differences(task: Task, expected: ShadowTask): string[] {
  const pairs: Readonly<Record<string, readonly [unknown, unknown]>> = {
    state: [task.state, shownState(expected)],
    queue: [task.queue, expected.spec.queue],
    client: [task.clientId, expected.spec.clientId],
    priority: [task.priority, expected.priority],
    url: [task.target.url, expected.spec.target.url],
    body: [task.target.body, expected.spec.target.body],
    name: [task.name, expected.spec.name],
    "ordering key": [task.orderingKey, expected.spec.orderingKey],
    callback: [task.callbackUrl, expected.spec.callbackUrl],
    due: [task.dueMs, expected.dueMs],
    attempts: [task.attempts, expected.attempts],
    crashes: [task.crashes, expected.crashes],
    releases: [task.releases, expected.releases],
    fence: [task.fence, expected.fence],
    "first attempt": [task.firstAttemptAtMs, expected.firstAttemptAtMs],
    lease: [task.lease?.untilMs ?? null, expected.lease?.untilMs ?? null],
    worker: [task.lease?.worker ?? null, expected.lease?.worker ?? null],
  };
  return Object.entries(pairs).flatMap(([what, [is, should]]) =>
    is === should ? [] : [`${task.id}: ${what} is ${String(is)} and should be ${String(should)}`],
  );
}

async function countProblems(store: TaskStore, tasks: readonly Task[]): Promise<string[]> {
  const told = new Map<string, number>();
  for (const { queue, priority, states } of await store.counts())
    for (const state of TASK_STATES)
      if (states[state] !== 0) told.set(`${queue} ${priority} ${state}`, states[state]);
  const counted = new Map<string, number>();
  for (const { queue, priority, state } of tasks) {
    const name = `${queue} ${priority} ${state}`;
    counted.set(name, (counted.get(name) ?? 0) + 1);
  }
  return [...new Set([...told.keys(), ...counted.keys()])].flatMap((name) =>
    told.get(name) === counted.get(name)
      ? []
      : [`${told.get(name) ?? 0} tasks are counted as ${name}, and there are ${counted.get(name) ?? 0}`],
  );
}
