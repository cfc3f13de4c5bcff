/** What is promised of a claim: nothing that may not run, nothing out of its order, and nothing left that may. */

import assert from "node:assert/strict";
import { hasRules } from "../../src/core/queue.ts";
import type { Claim, ClaimedTask, ClaimRequest } from "../../src/core/store.ts";
import { isWaiting } from "../../src/core/task.ts";
import type { QueueModel } from "./model.ts";
import { hostCalled, keyOf, type ModelTask } from "./task.ts";

/** A store may look for another probe once a second, where it found none that may begin. */
const PROBE_AGAIN_MS = 1_000;

/** Whether tasks can be had by a claim: of a pull queue by its name only, and of others by none. */
function isAskedFor(model: QueueModel, { given }: ModelTask, { queue }: ClaimRequest): boolean {
  const isPull = model.limits.queue(given.queue).mode === "pull";
  return queue === undefined ? !isPull : isPull && given.queue === queue;
}

/** Takes the tasks that a claim has handed out over into the model, each of which must have been allowed to. */
export function acceptClaim(model: QueueModel, request: ClaimRequest, claim: Claim, nowMs: number): void {
  const isForNobody = request.queue !== undefined && model.limits.queue(request.queue).mode === "push";
  if (isForNobody) assert.deepEqual(claim.tasks, [], "a push queue's tasks were handed out by its name");
  else model.promote(nowMs);
  assert.ok(claim.tasks.length <= request.limit, `a claim of ${request.limit} got ${claim.tasks.length}`);
  for (const claimed of claim.tasks) {
    const task = model.tasks.get(claimed.id);
    assert.ok(task !== undefined, `task ${claimed.id} was handed out, and is none`);
    assertMayRun(model, request, claimed, task, nowMs);
    if (!claimed.isProbe) assertFirst(model, request, task, nowMs);
    assertWhole(model, request, claimed, task, nowMs);
    model.lease(task, claimed, request.worker, nowMs);
  }
}

function assertMayRun(
  model: QueueModel,
  request: ClaimRequest,
  claimed: ClaimedTask,
  task: ModelTask,
  nowMs: number,
): void {
  const { limits } = model;
  const { id, queue, clientId } = task.given;
  const why = `task ${id} of ${clientId} in ${queue} was handed out`;
  assert.ok(isWaiting(task.state), `${why}, and is ${task.state}`);
  assert.ok(task.dueMs <= nowMs, `${why} ${task.dueMs - nowMs} ms before its time`);
  assert.ok(isAskedFor(model, task, request), `${why} to one who did not ask for it`);
  assert.ok(limits.clientRoom(clientId) >= 1, `${why}, and its client had no room`);
  assert.ok(limits.slotsOf(queue) >= 1, `${why}, and its queue had no room`);
  assert.ok(limits.tokensOf(queue, nowMs).most >= 1, `${why} faster than its queue's rate`);
  const key = keyOf(task.given);
  if (key !== null) assertHasKey(model, key, task, nowMs);
  const host = hostCalled(task, limits.queue(queue));
  const hold = request.queue === undefined ? model.holds.get(host) : undefined;
  assert.equal(claimed.isProbe, hold !== undefined, `${why}: whether it is a probe of ${host}`);
  if (hold === undefined) return;
  assert.ok(hold.nextMs <= nowMs, `${why} as a probe ${hold.nextMs - nowMs} ms before its time`);
  hold.nextMs = nowMs + hold.forMs;
  hold.missed = new Map();
}

function assertHasKey(model: QueueModel, key: string, task: ModelTask, nowMs: number): void {
  const holder = model.keys.get(key) ?? null;
  if (holder === null) assertNextOfKey(model, key, task, nowMs);
  else assert.equal(task.given.id, holder, `task ${task.given.id} ran without its key ${key}`);
}

/** A task that gets a free key must be due, and no other must have been due before it. */
export function assertNextOfKey(model: QueueModel, key: string, task: ModelTask, nowMs: number): void {
  const what = `task ${task.given.id} got the key ${key}`;
  assert.equal(keyOf(task.given), key, `${what}, which is not its own`);
  assert.ok(isWaiting(task.state) && task.dueMs <= nowMs, `${what}, and does not wait for it`);
  if (task.isMoved) return;
  for (const other of model.due(nowMs)) {
    if (keyOf(other.given) !== key || other.isMoved) continue;
    assert.ok(!isBefore(other, task), `${what}, and ${other.given.id} was before it`);
  }
}

/** Whether a task must go before another of the same line. */
function isBefore(a: ModelTask, b: ModelTask): boolean {
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
  return a.place === "accepted" && b.place === "accepted" && a.order < b.order;
}

/** Of a lane, that is of one queue, priority and client, the tasks go in order of their due times. */
function assertFirst(model: QueueModel, request: ClaimRequest, task: ModelTask, nowMs: number): void {
  if (task.isLoose || task.place === "back" || task.given.orderingKey !== null) return;
  for (const other of model.due(nowMs)) {
    const isOfLane =
      other.given.queue === task.given.queue &&
      other.given.clientId === task.given.clientId &&
      other.priority === task.priority;
    if (!isOfLane || other.isLoose || other.given.orderingKey !== null) continue;
    if (request.queue === undefined && model.isHeldBack(other)) continue;
    assert.ok(!isBefore(other, task), `task ${task.given.id} was handed out before ${other.given.id}`);
  }
}

function assertWhole(
  model: QueueModel,
  request: ClaimRequest,
  claimed: ClaimedTask,
  task: ModelTask,
  nowMs: number,
): void {
  const { given } = task;
  const rules = model.limits.queue(given.queue);
  assert.ok(claimed.fence > task.fence, `the fence of task ${given.id} did not grow`);
  assert.deepEqual(claimed, {
    id: given.id,
    queue: given.queue,
    clientId: given.clientId,
    priority: task.priority,
    target: given.target,
    timeoutMs: given.timeoutMs,
    retry: given.retry,
    name: given.name,
    metadata: given.metadata,
    traceparent: given.traceparent,
    callbackUrl: given.callbackUrl,
    failureCallbackUrl: given.failureCallbackUrl,
    rules: hasRules(rules) ? rules : null,
    clientRules: null,
    scheduledAtMs: task.scheduledAtMs,
    dueMs: task.fence < task.dueMs ? task.dueMs : null,
    firstAttemptAtMs: task.firstAttemptAtMs,
    attempt: task.attempts + 1,
    crashes: task.crashes,
    fence: claimed.fence,
    leaseUntilMs: nowMs + request.leaseMs,
    isProbe: claimed.isProbe,
  });
}

/** Who could run now, but for what only waits for a time. */
interface Left {
  readonly free: readonly ModelTask[];
  /** Nothing but their queue's rate holds these back. */
  readonly paced: readonly ModelTask[];
  /** Nothing but their host does. */
  readonly held: readonly ModelTask[];
}

/** To be asked once it is known who holds each key. */
function leftOf(model: QueueModel, request: ClaimRequest, nowMs: number): Left {
  const { limits } = model;
  const left = { free: [] as ModelTask[], paced: [] as ModelTask[], held: [] as ModelTask[] };
  for (const task of model.due(nowMs)) {
    const { id, queue, clientId } = task.given;
    const key = keyOf(task.given);
    if (!isAskedFor(model, task, request)) continue;
    if (key !== null && model.keys.get(key) !== id) continue;
    if (limits.clientRoom(clientId) < 1 || limits.slotsOf(queue) < 1) continue;
    // A lane of a pull queue that has met its client's limit waits among the client's other lanes, and a slot that
    // comes free is kept for the one that has waited longest: where workers have to look at that one first, consumers
    // find the slot only after them.
    if (request.queue !== undefined && limits.isCapped(clientId)) continue;
    const isPaced = limits.tokensOf(queue, nowMs).least < 1;
    const isHeld = request.queue === undefined && model.isHeldBack(task);
    if (isPaced && !isHeld) left.paced.push(task);
    else if (isHeld && !isPaced) left.held.push(task);
    else if (!isPaced) left.free.push(task);
  }
  return left;
}

/**
 * A claim that does not say that there is more has left nothing that may run, and says no later a time than the first
 * at which something may.
 */
export function assertNothingLeft(
  model: QueueModel,
  request: ClaimRequest,
  { nextInMs }: Pick<Claim, "nextInMs">,
  nowMs: number,
): void {
  const isForNobody = request.queue !== undefined && model.limits.queue(request.queue).mode === "push";
  if (isForNobody) return;
  const left = leftOf(model, request, nowMs);
  const idsOf = (tasks: readonly ModelTask[]) => tasks.map(({ given }) => given.id);
  assert.deepEqual(idsOf(left.free), [], "a claim left what may run, and did not say so");
  const times = [
    ...model.unfinished
      .filter(({ state }) => state === "scheduled" || state === "retrying")
      .map(({ dueMs }) => dueMs - nowMs),
    ...left.paced.map(({ given }) => model.limits.untilToken(given.queue, nowMs).mostMs),
    ...left.held.map((task) => probeInMs(model, task, nowMs)),
  ];
  const soonestMs = Math.min(...times);
  if (soonestMs === Number.POSITIVE_INFINITY) return;
  assert.ok(
    nextInMs !== null && nextInMs <= soonestMs,
    `a claim says that there is nothing for ${nextInMs} ms, and there is in ${soonestMs} ms`,
  );
}

function probeInMs(model: QueueModel, task: ModelTask, nowMs: number): number {
  const hold = model.holds.get(hostCalled(task, model.limits.queue(task.given.queue)));
  return Math.max(PROBE_AGAIN_MS, (hold?.nextMs ?? nowMs) - nowMs);
}

/** After a worker's claim that has left nothing: a host whose time has come was probed, or soon will be. */
export function assertProbed(model: QueueModel, request: ClaimRequest, nowMs: number): void {
  if (request.queue !== undefined) return;
  const { held } = leftOf(model, request, nowMs);
  for (const [host, hold] of model.holds) {
    if (hold.nextMs > nowMs) continue;
    const missed = held.filter((task) => hostCalled(task, model.limits.queue(task.given.queue)) === host);
    hold.missed = new Map(missed.map(({ given }) => [given.id, hold.missed.get(given.id) ?? nowMs]));
    for (const [id, sinceMs] of hold.missed)
      assert.ok(nowMs - sinceMs < PROBE_AGAIN_MS, `task ${id} could have been the probe of ${host}`);
  }
}
