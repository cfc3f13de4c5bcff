/** The checks themselves: each finds what it is there for in a history made by hand, and nothing in a good one. */

import { describe, expect, test } from "bun:test";
import { checkDelivered } from "./checks/delivered.ts";
import { checkDuplicates } from "./checks/duplicates.ts";
import { checkLimits } from "./checks/limits.ts";
import { checkNumbers } from "./checks/numbers.ts";
import { checkOrder } from "./checks/order.ts";
import { checkStalls } from "./checks/stalls.ts";
import { verdictOn } from "./checks/verdict.ts";
import type { Acknowledged, Call, FaultRecord, History, ListedTask, Plan } from "./history.ts";
import { METERED_PER_MINUTE, NARROW_AT_ONCE, PACED_BURST } from "./plans.ts";

function plan(n: number, more: Partial<Plan> = {}): Plan {
  return {
    n,
    kind: "plain",
    client: "wide-1",
    queue: "main",
    priority: "normal",
    delayMs: 0,
    fails: 0,
    attempts: 50,
    answerMs: 10,
    key: null,
    place: 0,
    named: false,
    ...more,
  };
}

/** Asked for at `atMs` and acknowledged 5 ms later. */
function acked(n: number, atMs: number, more: Partial<Plan> = {}): Acknowledged {
  return { plan: plan(n, more), id: `t${n}`, firstSentMs: atMs, sentMs: atMs, ackedMs: atMs + 5, tries: 1 };
}

/** Ends as it should after 10 ms. */
function call(n: number, arrivedMs: number, more: Partial<Call> = {}): Call {
  return {
    n,
    id: `t${n}`,
    attempt: 1,
    fence: 1,
    client: "wide-1",
    queue: "main",
    arrivedMs,
    endedMs: arrivedMs + 10,
    end: "ok",
    ...more,
  };
}

function listed(n: number, more: Partial<ListedTask> = {}): ListedTask {
  const well = { state: "succeeded", client: "wide-1", queue: "main", attempts: 1, crashes: 0, releases: 0 };
  return { id: `t${n}`, n, ...well, ...more };
}

function fault(beganMs: number, healedMs: number, more: Partial<FaultRecord> = {}): FaultRecord {
  return {
    kind: "kill primary",
    subject: "redis1",
    harms: ["primary"],
    beganMs,
    healedMs,
    wellMs: healedMs,
    acceptedAfterMs: 1,
    deliveredAfterMs: 1,
    ...more,
  };
}

function history(more: Partial<History> = {}): History {
  const tasks = more.listed ?? [];
  const states = Map.groupBy(tasks, ({ state }) => state);
  return {
    seed: 1,
    leaseMs: 3_000,
    beganMs: 0,
    endedMs: 1_000_000,
    acknowledged: [],
    unknown: [],
    limited: 0,
    odd: [],
    calls: [],
    faults: [],
    switchedMs: [],
    listed: [],
    told: {
      tasks: Object.fromEntries([...states].map(([state, list]) => [state, list.length])),
      running: {},
    },
    broken: [],
    ...more,
  };
}

const good = { acknowledged: [acked(1, 100)], calls: [call(1, 110)], listed: [listed(1)] };

describe("the checks of a chaos run", () => {
  test("find nothing in a run in which everything went well", () => {
    expect(verdictOn(history(good), 10_000).violations).toEqual([]);
  });

  test("find a task that nobody was told of and that is gone, unless a full store let go of it when it had ended", () => {
    const unpromised = { ...good, calls: [...good.calls, call(2, 300_000)] };
    const full = [fault(500_000, 501_000, { kind: "memory full", harms: ["primary", "memory"] })];
    expect(checkDelivered(history(unpromised)).wrong).toHaveLength(1);
    expect(checkDelivered(history({ ...unpromised, faults: full })).wrong).toEqual([]);
    const failed = { ...unpromised, calls: [...good.calls, call(2, 300_000, { end: "failed" })] };
    expect(checkDelivered(history({ ...failed, faults: full })).wrong).toHaveLength(1);
  });

  test("find a task that was never delivered, one that is gone, and one that is not over", () => {
    expect(checkDelivered(history({ ...good, calls: [] })).lost).toHaveLength(1);
    expect(checkDelivered(history({ ...good, listed: [] })).lost).toHaveLength(1);
    expect(checkDelivered(history({ ...good, listed: [listed(1, { state: "ready" })] })).wrong).toHaveLength(
      1,
    );
  });

  test("find a success that no target gave, and a task that died without having to", () => {
    const failed = { ...good, calls: [call(1, 110, { end: "failed" })] };
    expect(checkDelivered(history(failed)).wrong).toHaveLength(1);
    expect(checkDelivered(history({ ...good, listed: [listed(1, { state: "dead" })] })).wrong).toHaveLength(
      1,
    );
  });

  test("let a full store forget what has ended, and nothing else", () => {
    const full = [fault(0, 50, { kind: "memory full", harms: ["memory"] })];
    expect(checkDelivered(history({ ...good, listed: [], faults: full })).lost).toEqual([]);
    expect(checkDelivered(history({ ...good, listed: [], calls: [], faults: full })).lost).toHaveLength(1);
  });

  test("find two tasks of one idempotency key", () => {
    const twice = { ...good, listed: [listed(1), listed(1, { id: "other" })] };
    expect(checkDelivered(history(twice)).wrong).toHaveLength(1);
  });

  test("find a task that was called and is gone, but where a failover explains it", () => {
    const stray = { ...good, calls: [...good.calls, call(2, 500_000)] };
    expect(checkDelivered(history(stray)).wrong).toHaveLength(1);
    expect(checkDelivered(history({ ...stray, faults: [fault(499_000, 501_000)] })).wrong).toEqual([]);
  });

  test("explain a repeated delivery by the failure, the lease or the failover before it, and find any other", () => {
    const repeated = (second: Partial<Call>, more: Partial<History> = {}) =>
      checkDuplicates(history({ ...good, calls: [call(1, 110), call(1, 500, second)], ...more }));
    const crashed = { listed: [listed(1, { crashes: 1 })] };
    expect(repeated({ fence: 2 }).unexplained).toHaveLength(1);
    expect(repeated({ fence: 2 }, crashed).repeated["its lease ran out"]).toBe(1);
    expect(
      repeated({ fence: 2 }, { listed: [listed(1, { releases: 1 })] }).repeated["it was given back"],
    ).toBe(1);
    // A fence that comes twice, whatever the task's own counts say.
    expect(repeated({}, crashed).unexplained).toHaveLength(1);
    expect(repeated({}, { faults: [fault(90, 200)] }).unexplained).toEqual([]);
    expect(repeated({}, { switchedMs: [2_000] }).unexplained).toEqual([]);
    expect(repeated({}, { switchedMs: [90_000] }).unexplained).toHaveLength(1);
    // The target was content, and nothing could have kept its answer from the worker.
    expect(repeated({ attempt: 2, fence: 2 }).unexplained).toHaveLength(1);
    const failed = [call(1, 110, { end: "failed" }), call(1, 500, { attempt: 2, fence: 2 })];
    const after = checkDuplicates(history({ ...good, calls: failed }));
    expect(after.repeated["the attempt before failed"]).toBe(1);
    expect(after.unexplained).toEqual([]);
  });

  test("find one task more at once than a limit allows, and count no call whose lease was over", () => {
    const n = NARROW_AT_ONCE + 1;
    const tasks = Array.from({ length: n }, (_, at) => acked(at, 0, { kind: "narrow", client: "narrow" }));
    const calls = Array.from({ length: n }, (_, at) => call(at, 100, { client: "narrow", endedMs: 200 }));
    const over = checkLimits(history({ acknowledged: tasks, calls }));
    expect(over.exceeded).toHaveLength(1);
    expect(over.narrow.most).toBe(n);
    // The first of them was delivered again, by a later lease, without having been judged.
    const again = call(0, 900, { client: "narrow", fence: 2 });
    const stale = checkLimits(history({ acknowledged: tasks, calls: [...calls, again] }));
    expect(stale.exceeded).toEqual([]);
    expect(stale.narrow).toEqual({ most: NARROW_AT_ONCE, withStale: n });
    // A judged attempt held its lease to the end, whatever came later.
    const retried = call(0, 900, { client: "narrow", attempt: 2, fence: 2 });
    expect(checkLimits(history({ acknowledged: tasks, calls: [...calls, retried] })).exceeded).toHaveLength(
      1,
    );
  });

  test("let a call come in the millisecond in which another ends", () => {
    const tasks = Array.from({ length: 40 }, (_, at) => acked(at, 0, { client: "narrow" }));
    const calls = tasks.map((_, at) =>
      call(at, 100 + Math.floor(at / NARROW_AT_ONCE) * 10, { client: "narrow" }),
    );
    expect(checkLimits(history({ acknowledged: tasks, calls })).narrow.most).toBe(NARROW_AT_ONCE);
  });

  test("find a request too many in a minute, by what is sure", () => {
    const metered = { kind: "metered", client: "metered" } as const;
    const within = (count: number, spreadMs: number) =>
      checkLimits(
        history({
          acknowledged: Array.from({ length: count }, (_, at) => acked(at, (at * spreadMs) / count, metered)),
        }),
      ).exceeded;
    expect(within(METERED_PER_MINUTE, 59_000)).toEqual([]);
    expect(within(METERED_PER_MINUTE + 1, 59_000)).toHaveLength(1);
    expect(within(METERED_PER_MINUTE + 1, 61_500)).toEqual([]);
  });

  test("find tasks that begin faster than their queue's rate, and allow for a fault's length", () => {
    const paced = (perSec: number, faults: readonly FaultRecord[] = []) => {
      const count = perSec * 20;
      const atMs = (at: number) => 10_000 + (at * 1_000) / perSec;
      return checkLimits(
        history({
          acknowledged: Array.from({ length: count }, (_, at) => acked(at, 0, { queue: "paced" })),
          calls: Array.from({ length: count }, (_, at) => call(at, atMs(at), { queue: "paced" })),
          faults,
        }),
      ).exceeded;
    };
    expect(paced(PACED_BURST)).toEqual([]);
    expect(paced(PACED_BURST * 3)).toHaveLength(1);
    expect(paced(PACED_BURST * 3, [fault(9_000, 35_000)])).toEqual([]);
  });

  test("find a task of an ordering key that did not wait for the one before it", () => {
    const keyed = (place: number) => acked(place, 0, { kind: "ordered", key: "k", place });
    const acknowledged = [keyed(0), keyed(1)];
    expect(checkOrder(history({ acknowledged, calls: [call(0, 100), call(1, 110)] }))).toEqual([]);
    expect(checkOrder(history({ acknowledged, calls: [call(0, 100), call(1, 109)] }))).toHaveLength(1);
    const failedFirst = [
      call(0, 100, { end: "failed" }),
      call(0, 300, { attempt: 2, fence: 2 }),
      call(1, 200),
    ];
    expect(checkOrder(history({ acknowledged, calls: failedFirst }))).toHaveLength(1);
  });

  test("measure how long nothing is delivered after a fault, though something is due", () => {
    const faults = [fault(1_000, 5_000)];
    const idle = history({ acknowledged: [acked(1, 100)], calls: [call(1, 110)], faults });
    expect(checkStalls(idle).longestMs).toBe(0);
    // Due since before the fault's end, which is where the time begins.
    const late = history({ acknowledged: [acked(1, 2_000)], calls: [call(1, 17_000)], faults });
    expect(checkStalls(late).longestMs).toBe(12_000);
    expect(verdictOn({ ...late, listed: [listed(1)] }, 10_000).violations.join()).toContain("for 12000 ms");
    // A task with a delay is not due before it is over.
    const delayed = [acked(1, 2_000, { kind: "delayed", delayMs: 10_000 })];
    expect(checkStalls(history({ acknowledged: delayed, calls: [call(1, 12_500)], faults })).longestMs).toBe(
      495,
    );
  });

  test("find numbers that are not those of the tasks", () => {
    const told = { tasks: { succeeded: 2 }, running: { "client wide-1": 1 } };
    expect(checkNumbers(history({ listed: [listed(1)], told }))).toHaveLength(2);
  });
});
