/** What the API does: tasks handed in, sent again, cancelled, moved, started over and removed. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChangeResult, RateState } from "../../../src/core/store.ts";
import { isFinal, isWaiting, type NewTask } from "../../../src/core/task.ts";
import { newTarget, newTask } from "../../support/tasks.ts";
import { seen } from "../look.ts";
import type { QueueModel } from "../model.ts";
import { type ModelTask, scopesOf } from "../task.ts";
import { client, delayMs, host, pick, picked, priority, queue, via } from "../values.ts";
import { type Chosen, type Scene, type Step, step } from "./step.ts";

/** Past so many unfinished tasks no more are made: what a claim promises is promised of a few at once. */
const MAX_UNFINISHED = 60;

/** A task, but for what only the run knows: its id, the time and its client's revision. */
export interface Wanted {
  readonly queue: string;
  readonly client: string;
  readonly priority: NewTask["priority"];
  /** Null for at once; less than nought for a time that is past. */
  readonly inMs: number | null;
  readonly name: string | null;
  readonly idempotencyKey: string | null;
  readonly key: string | null;
  readonly retentionMs: number | null;
  readonly host: string;
}

export const wanted: fc.Arbitrary<Wanted> = fc.record({
  queue,
  client,
  priority,
  inMs: fc.constantFrom(null, null, null, null, -5_000, 1, 700, 5_000, 25_000, 70_000),
  name: fc.constantFrom(null, null, null, null, "n1", "n2"),
  idempotencyKey: fc.constantFrom(null, null, null, null, null, "i1"),
  key: fc.constantFrom(null, null, null, "k1", "k2"),
  retentionMs: fc.constantFrom(null, null, null, 0, 20_000),
  host,
});

export function taskOf(want: Wanted, clientRevision: number | null, { world, nowMs }: Scene): NewTask {
  return newTask({
    id: world.newId(),
    queue: want.queue,
    clientId: want.client,
    clientRevision,
    priority: want.priority,
    target: newTarget({ url: `${want.host}/hook` }),
    scheduledAtMs: want.inMs === null ? null : nowMs + want.inMs,
    name: want.name,
    idempotencyKey: want.idempotencyKey,
    orderingKey: want.key,
    retentionMs: want.retentionMs,
  });
}

interface Enqueue extends Chosen {
  /** `isChecked`: held against its client's lists as they are now. */
  readonly tasks: readonly (Wanted & { readonly isChecked: boolean })[];
}

const enqueue = step<Enqueue>(
  "enqueue",
  async ({ tasks: wants }, scene) => {
    const { model, store, nowMs } = scene;
    const tasks: NewTask[] = [];
    for (const want of wants) {
      const revision = want.isChecked ? (await store.read("client", want.client))?.revision : undefined;
      tasks.push(taskOf(want, revision ?? null, scene));
    }
    const answer = await store.enqueue(tasks);
    const expected = tasks.map((task) => model.enqueue(task, task.clientRevision !== null, nowMs));
    assert.deepEqual(answer.results, expected, "what became of each task");
    assert.deepEqual(answer.rates, ratesOf(model, tasks, nowMs), "how the clients stand");
  },
  (_, model) => model.unfinished.length < MAX_UNFINISHED,
);

function ratesOf(model: QueueModel, tasks: readonly NewTask[], nowMs: number): Map<string, RateState> {
  const rates = new Map<string, RateState>();
  for (const { clientId } of tasks) {
    const rate = model.limits.rateOf(clientId, nowMs);
    if (rate !== null) rates.set(clientId, rate);
  }
  return rates;
}

interface OfTask extends Chosen {
  /** Of all tasks there are; past them one that is none. */
  readonly pick: number;
}

/**
 * The task that is meant by a step: mostly one of those it is made for, now and then any other, or one that is none,
 * which is undefined.
 */
function taskMeant(
  { pick: at }: Pick<OfTask, "pick">,
  model: QueueModel,
  isFit: (task: ModelTask) => boolean,
): ModelTask | undefined {
  if (at === 99) return undefined;
  const tasks = [...model.tasks.values()];
  const fit = tasks.filter(isFit);
  return fit.length === 0 || at % 4 === 0 ? picked(tasks, at) : picked(fit, at);
}

const isAny = () => true;
const isLive = ({ state }: ModelTask) => !isFinal(state);
const isWaitingNow = ({ state }: ModelTask) => isWaiting(state);
const isOver = ({ state, lease }: ModelTask) => isFinal(state) && lease === null;

/** A task that is there is sent again, as by one who has not got the answer: it is told again, and nobody is charged. */
const resend = step<OfTask>(
  "resend",
  async (chosen, { model, store }) => {
    const task = taskMeant(chosen, model, isAny);
    if (task === undefined) return;
    const { results } = await store.enqueue([task.given]);
    assert.deepEqual(
      results.map(({ kind, ...rest }) => [kind, "id" in rest ? rest.id : null]),
      [["created", task.given.id]],
    );
  },
  (chosen, model) => {
    const task = taskMeant(chosen, model, isAny);
    if (task === undefined) return false;
    const { id, clientId, queue: name } = task.given;
    const isOwn = scopesOf(task.given).every((scope) => model.names.get(scope)?.id === id);
    return isOwn && model.limits.clients.has(clientId) && model.limits.queues.has(name);
  },
);

const UNKNOWN_ID = "01KE0000000000000000000000";

/** A change to one task: `may` tells the state that forbids it, or null. */
async function change(
  task: ModelTask | undefined,
  { model, nowMs }: Scene,
  ask: (id: string) => Promise<ChangeResult>,
  forbidden: (task: ModelTask) => string | null,
  apply: (task: ModelTask, model: QueueModel) => void,
): Promise<void> {
  const answer = await ask(task?.given.id ?? UNKNOWN_ID);
  if (task === undefined) {
    assert.deepEqual(answer, { kind: "not_found" });
    return;
  }
  const why = forbidden(task);
  if (why !== null) {
    const isDue = isWaiting(task.state) && task.dueMs <= nowMs;
    const state = isDue && answer.kind === "conflict" && answer.state === "ready" ? "ready" : why;
    assert.deepEqual(answer, { kind: "conflict", state });
    return;
  }
  apply(task, model);
  assert.ok(answer.kind === "changed", `a change to task ${task.given.id} is a ${answer.kind}`);
  assert.deepEqual(answer.task, seen(task, answer.task, nowMs), "the changed task");
}

const unlessWaiting = ({ state }: ModelTask) => (isWaiting(state) ? null : state);

const cancel = step<OfTask>("cancel", (chosen, scene) =>
  change(
    taskMeant(chosen, scene.model, isLive),
    scene,
    (id) => scene.store.cancel(id),
    ({ state }) => (isFinal(state) ? state : null),
    (task, model) => model.cancel(task, scene.nowMs),
  ),
);

interface Move extends OfTask {
  readonly inMs: number | null;
  readonly priority: NewTask["priority"] | null;
}

const reschedule = step<Move>("reschedule", (chosen, scene) => {
  const asked = {
    ...(chosen.inMs === null ? {} : { scheduledAtMs: scene.nowMs + chosen.inMs }),
    ...(chosen.priority === null ? {} : { priority: chosen.priority }),
  };
  return change(
    taskMeant(chosen, scene.model, isWaitingNow),
    scene,
    (id) => scene.store.reschedule(id, asked),
    unlessWaiting,
    (task, model) => model.reschedule(task, asked, scene.nowMs),
  );
});

const runNow = step<OfTask>("runNow", (chosen, scene) =>
  change(
    taskMeant(chosen, scene.model, isWaitingNow),
    scene,
    (id) => scene.store.runNow(id),
    unlessWaiting,
    (task, model) => {
      if (task.state !== "ready") model.reschedule(task, { scheduledAtMs: scene.nowMs }, scene.nowMs);
    },
  ),
);

/** The state of a task for whoever would start it over: a cancelled one is not over before its lease is. */
const stateNow = ({ state, lease }: ModelTask) => (lease === null ? state : "running");

const replay = step<OfTask>("replay", (chosen, scene) =>
  change(
    taskMeant(chosen, scene.model, isOver),
    scene,
    (id) => scene.store.replay(id),
    (task) => (isFinal(stateNow(task)) ? null : stateNow(task)),
    (task, model) => model.startOver(task, 0, scene.nowMs),
  ),
);

interface ReplayMany extends Chosen {
  readonly tasks: readonly { readonly pick: number; readonly inMs: number }[];
}

const replayMany = step<ReplayMany>("replayMany", async ({ tasks }, scene) => {
  const { model, store, nowMs } = scene;
  const meant = tasks.map(({ pick: at, inMs }) => ({
    task: taskMeant({ pick: at }, model, isOver),
    notBeforeMs: nowMs + inMs,
  }));
  const answer = await store.replayMany(
    meant.map(({ task, notBeforeMs }) => ({ id: task?.given.id ?? UNKNOWN_ID, notBeforeMs })),
  );
  const expected = meant.map(({ task, notBeforeMs }, at) => {
    if (task === undefined) return null;
    const state = stateNow(task);
    if (isFinal(state)) model.startOver(task, notBeforeMs, nowMs);
    else if (isWaiting(state) && task.dueMs <= nowMs && answer[at] === "ready") return "ready";
    return state;
  });
  assert.deepEqual(answer, expected, "the states of those to be started over");
});

interface Forget extends Chosen {
  readonly picks: readonly number[];
}

const forget = step<Forget>("forget", async ({ picks }, { model, store }) => {
  const tasks = picks.map((at) => taskMeant({ pick: at }, model, isOver));
  const forgotten = await store.forget(tasks.map((task) => task?.given.id ?? UNKNOWN_ID));
  let expected = 0;
  for (const task of new Set(tasks)) {
    if (task === undefined || !isFinal(stateNow(task))) continue;
    model.drop(task);
    expected += 1;
  }
  assert.equal(forgotten, expected, "how many were forgotten");
});

/** The same as steps, by their names. */
export const produce = { enqueue, resend, cancel, reschedule, runNow, replay, replayMany, forget };

const ofTask = fc.record({ via, pick });

export const producing = {
  enqueue: fc
    .record({
      via,
      tasks: fc.array(
        fc
          .record({ want: wanted, isChecked: fc.boolean() })
          .map(({ want, isChecked }) => ({ ...want, isChecked })),
        { minLength: 1, maxLength: 6 },
      ),
    })
    .map(enqueue),
  resend: ofTask.map(resend),
  cancel: ofTask.map(cancel),
  reschedule: fc
    .record({
      via,
      pick,
      inMs: fc.option(fc.oneof(delayMs, fc.constant(-3_000)), { nil: null }),
      priority: fc.option(priority, { nil: null }),
    })
    .map(reschedule),
  runNow: ofTask.map(runNow),
  replay: ofTask.map(replay),
  replayMany: fc
    .record({ via, tasks: fc.array(fc.record({ pick, inMs: delayMs }), { minLength: 1, maxLength: 6 }) })
    .map(replayMany),
  forget: fc.record({ via, picks: fc.array(pick, { minLength: 1, maxLength: 5 }) }).map(forget),
} satisfies Record<string, fc.Arbitrary<Step>>;
