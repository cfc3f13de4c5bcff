/** Checks that every acknowledged task was delivered and ended as it was meant to, and that none is there twice. */

import type { History, ListedTask } from "../history.ts";
import { faultsNear, switchedNear } from "./faults-near.ts";
import { callsByTask } from "./tasks-of.ts";

export interface Delivered {
  readonly delivered: number;
  /** Acknowledged, and never called or gone. */
  readonly lost: readonly string[];
  /** Whatever else must not be. */
  readonly wrong: readonly string[];
}

/** The number of worker deaths after which a task may be given up. */
const DEADLY_CRASHES = 5;

export function checkDelivered(history: History): Delivered {
  const { acknowledged, unknown, listed, faults } = history;
  const byTask = callsByTask(history.calls);
  const ends = new Map(listed.map((task) => [task.id, task]));
  const lost: string[] = [];
  const wrong: string[] = [];
  // A store that is full lets go of what has ended before its time.
  const mayBeGone = faults.some(({ harms }) => harms.includes("memory"));
  for (const { id, plan } of acknowledged) {
    const own = byTask.get(id);
    const end = ends.get(id);
    const wasGood = own?.some((call) => call.end === "ok") ?? false;
    const isDoomed = plan.kind === "doomed";
    if (own === undefined)
      lost.push(`${plan.kind} task ${id} was never called (${end?.state ?? "not listed"})`);
    else if (end === undefined) {
      if (!mayBeGone || !(wasGood || isDoomed)) lost.push(`${plan.kind} task ${id} is not listed`);
    } else if (end.state !== (isDoomed ? "dead" : "succeeded") && !wasGivenUp(end)) {
      wrong.push(`${plan.kind} task ${id} ended as ${end.state}`);
    } else if (end.state === "succeeded" && !wasGood) {
      wrong.push(`${plan.kind} task ${id} is told to have succeeded and never did`);
    }
  }
  wrong.push(...keptTwice(history));
  const promised = new Set(acknowledged.map(({ id }) => id));
  const unsure = new Set(unknown.map(({ n }) => n));
  for (const [id, calls] of byTask) {
    const [first] = calls;
    if (first === undefined || promised.has(id) || ends.has(id) || unsure.has(first.n)) continue;
    // A frozen API takes in, when it goes on, what its caller has given up by then.
    if (mayBeGone && calls.some((call) => call.end === "ok")) continue;
    const isNear = faultsNear(history, first.arrivedMs, first.arrivedMs, ["primary"]).length > 0;
    if (!isNear && !switchedNear(history, first.arrivedMs, first.arrivedMs)) {
      wrong.push(`task ${id} was called, acknowledged to nobody, and is gone`);
    }
  }
  return { delivered: acknowledged.length - lost.length, lost, wrong };
}

function wasGivenUp({ state, crashes }: ListedTask): boolean {
  return state === "dead" && crashes >= DEADLY_CRASHES;
}

/** Tasks of one name or idempotency key of which there are two. */
function keptTwice({ acknowledged, listed }: History): string[] {
  const idOf = new Map<number, string>();
  const wrong: string[] = [];
  for (const { id, n } of [...acknowledged.map((one) => ({ id: one.id, n: one.plan.n })), ...listed]) {
    const other = idOf.get(n);
    if (other === undefined) idOf.set(n, id);
    else if (other !== id) wrong.push(`${other} and ${id} are both task ${n} of its client`);
  }
  return wrong;
}
